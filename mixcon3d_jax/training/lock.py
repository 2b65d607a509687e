"""One run at a time in a workdir, on a disk or in a bucket."""

import dataclasses
import datetime
import json
import os
import sys
import threading
import time
import uuid

from mixcon3d_jax.buckets import AnyPath, as_path
from mixcon3d_jax.errors import InputError
from mixcon3d_jax.training.process import host_name, is_running, machine, start_time
from mixcon3d_jax.training.versioned_file import VersionedFile

LOCK_FILE = "lock.json"
_HEARTBEAT_SECONDS = 10.0
# Six heartbeats: a host that only stumbles is not taken for dead.
_STALE_SECONDS = 60.0


class WorkdirError(InputError):
    """A workdir is none, is damaged, or belongs to another run."""


@dataclasses.dataclass(frozen=True)
class _Holder:
    """Who has a workdir; the content of the lock's file.

    `machine` tells apart hosts of the same name, and a host before and after it was started anew:
    only within one of them does a process id mean anything.
    """

    host: str
    machine: str
    pid: int
    process_start: int
    token: str
    since: str
    heartbeat: str

    @classmethod
    def this_process(cls) -> "_Holder":
        now, pid = _now(), os.getpid()
        token = uuid.uuid4().hex
        return cls(host_name(), machine(), pid, start_time(pid) or 0, token, now, now)

    @classmethod
    def of_content(cls, content: bytes) -> "_Holder | None":
        """None for what no run has written."""
        try:
            return cls(**json.loads(content))
        except (ValueError, TypeError):
            return None

    def to_content(self) -> bytes:
        return json.dumps(dataclasses.asdict(self), indent=1).encode()

    def is_dead(self) -> bool:
        """Whether it is known that the process has ended."""
        return self.machine == machine() and not is_running(self.pid, self.process_start)

    def is_elsewhere(self) -> bool:
        """Whether only its heartbeat can tell that it lives."""
        return self.machine != machine()

    def __str__(self) -> str:
        return f"process {self.pid} on host {self.host}, since {self.since}"


class WorkdirLock:
    """Keeps other runs out of a workdir while it is entered.

    The lock of a process of this host that has ended is taken at once.  That of another host is
    taken when its heartbeat has not changed for a minute as seen from here: clocks may differ.

    Args:
      workdir: made if missing.
      heartbeat_seconds: a thread says so often that this process lives.
      stale_seconds: so long without a heartbeat is a dead host.

    Raises:
      WorkdirError: on entering, if another run is alive in the workdir.
      WriteError: on entering, if the workdir can't be written.
    """

    def __init__(
        self,
        workdir: AnyPath,
        *,
        heartbeat_seconds: float = _HEARTBEAT_SECONDS,
        stale_seconds: float = _STALE_SECONDS,
    ):
        self._workdir = workdir
        self._path = as_path(workdir) / LOCK_FILE
        self._heartbeat, self._stale = heartbeat_seconds, stale_seconds
        self._file = VersionedFile(self._path)
        self._guard = threading.Lock()  # of what follows, against the heartbeat's thread
        self._taken_by = ""
        self._ended = threading.Event()

    def __enter__(self) -> "WorkdirLock":
        self._me = _Holder.this_process()
        self._version = self._acquire()
        self._thread = threading.Thread(target=self._beat, name="workdir-lock", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()
        if self._taken_by:
            return
        try:
            self._file.write(None, self._version)
        except InputError as error:  # the next run of this host takes it anyway
            print(f"{self._path} could not be removed: {error}", file=sys.stderr)

    @property
    def token(self) -> str:
        """What tells this lock from any other."""
        return self._me.token

    def check(self) -> None:
        """Renews the lock; called before anything is written that another run would miss.

        Raises:
          WorkdirError: if another run has taken the workdir.
          WriteError: if the lock can't be renewed.
        """
        with self._guard:
            self._renew()
            if self._taken_by:
                raise WorkdirError(
                    f"{self._workdir} was taken by another run ({self._taken_by}): this process "
                    f"did not renew {LOCK_FILE} for {self._stale:.0f} s, or somebody removed it.  "
                    "It stops without writing more"
                )

    def _acquire(self) -> bytes:
        """Returns the version of the lock's file once it is ours."""
        while True:
            content, seen = self._file.read()
            if content is not None:
                self._wait_for_end(content, seen)
                content, now = self._file.read()
                if now != seen:
                    continue  # somebody else was faster, or it was released
            version = self._file.write(self._me.to_content(), seen)
            if version is not None:
                return version

    def _wait_for_end(self, content: bytes, seen: bytes) -> None:
        """Returns when the holder has ended or let go.

        Raises:
          WorkdirError: if it is alive.
        """
        holder = _Holder.of_content(content)
        if holder is not None and holder.is_dead():
            return
        if holder is None or holder.is_elsewhere():
            print(
                f"{self._path} is held by {holder or 'an unknown run'}; without a sign of life for "
                f"{self._stale:.0f} s this run takes over",
                flush=True,
            )
            deadline = time.monotonic() + self._stale
            while time.monotonic() < deadline:
                time.sleep(min(2.0, self._stale / 10))
                content, now = self._file.read()
                if content is None:
                    return
                if now != seen:
                    holder = _Holder.of_content(content)
                    break
            else:
                return
        raise WorkdirError(
            f"{self._workdir} is in use by another run: {holder or 'an unknown one'}.  Wait for "
            "its end, stop it, or use another --workdir"
        )

    def _beat(self) -> None:
        while not self._ended.wait(self._heartbeat):
            try:
                with self._guard:
                    self._renew()
                    if self._taken_by:
                        print(f"{self._path} was taken by {self._taken_by}", file=sys.stderr)
                        return
            except InputError as error:  # the next heartbeat tries again
                print(f"{self._path} could not be renewed: {error}", file=sys.stderr)

    def _renew(self) -> None:
        if self._taken_by:
            return
        me = dataclasses.replace(self._me, heartbeat=_now())
        version = self._file.write(me.to_content(), self._version)
        if version is None:
            content, version = self._file.read()
            holder = content and _Holder.of_content(content)
            # Our own write counts even if its answer was lost.
            if not holder or holder.token != self._me.token:
                self._taken_by = str(holder or "nobody known")
        self._version = version


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
