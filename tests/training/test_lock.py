"""The lock on a workdir, with real processes, on a disk and in a bucket."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mixcon3d_jax.buckets import as_path
from mixcon3d_jax.files import WriteError
from mixcon3d_jax.training import lock as lock_module
from mixcon3d_jax.training.lock import LOCK_FILE, WorkdirError, WorkdirLock
from mixcon3d_jax.training.versioned_file import VersionedFile

ROOT = Path(__file__).resolve().parents[2]

# With every line on its standard input it takes the lock or, having it, checks it and lets go.
HOLDER = """
import sys
from mixcon3d_jax.training.lock import WorkdirLock
print("ready", flush=True)
for _ in sys.stdin:
    lock = WorkdirLock(sys.argv[1], heartbeat_seconds=float(sys.argv[2]), stale_seconds=1.0)
    try:
        with lock:
            print("held", flush=True)
            sys.stdin.readline()
            lock.check()
        print("let go", flush=True)
    except Exception as error:
        print(f"{type(error).__name__}: {error}", flush=True)
"""


class Holder:
    """A process that takes the lock when told."""

    def __init__(self, workdir, heartbeat):
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(workdir), str(heartbeat)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ,
        )
        assert self.line() == "ready"

    def line(self) -> str:
        return self.process.stdout.readline().strip()

    def tell(self) -> None:
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def ask(self) -> str:
        self.tell()
        return self.line()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(params=["disk", "bucket"])
def workdir(request, tmp_path):
    return as_path(
        f"{request.getfixturevalue('bucket')}/runs/a" if request.param == "bucket" else tmp_path
    )


@pytest.fixture
def holders(workdir):
    """Makes processes for `workdir`, and ends them."""
    made = []

    def make(heartbeat=0.1):
        made.append(Holder(workdir, heartbeat))
        return made[-1]

    yield make
    for holder in made:
        holder.kill()


def lock_of(workdir, **settings):
    return WorkdirLock(workdir, **({"heartbeat_seconds": 0.1, "stale_seconds": 1.0} | settings))


def test_a_second_run_is_told_who_has_the_workdir(workdir, holders):
    holder = holders()
    assert holder.ask() == "held"
    with pytest.raises(WorkdirError) as info, lock_of(workdir):
        pass
    assert f"{workdir} is in use by another run: process {holder.process.pid} on host" in str(
        info.value
    )
    assert holder.ask() == "let go"
    with lock_of(workdir) as lock:
        lock.check()
    assert VersionedFile(workdir / LOCK_FILE).read()[0] is None


def test_a_killed_run_of_this_host_does_not_keep_the_next_waiting(workdir, holders):
    holder = holders()
    assert holder.ask() == "held"
    holder.process.send_signal(signal.SIGKILL)
    began = time.monotonic()
    while True:  # until the system has ended the process, which this one does not wait for
        try:
            with lock_of(workdir, stale_seconds=60.0) as lock:
                lock.check()
                break
        except WorkdirError:
            assert time.monotonic() < began + 5
    assert time.monotonic() < began + 5


def test_of_two_that_start_at_once_one_wins(workdir, holders):
    both = [holders(), holders()]
    for _ in range(20):
        for holder in both:
            holder.tell()
        said = {holder.line(): holder for holder in both}
        lost, won = sorted(said)
        assert lost.startswith("WorkdirError")
        assert won == "held"
        assert said[won].ask() == "let go"


def rewrite(workdir, **changes):
    """The lock's file as another host, or another process, would have written it."""
    file = VersionedFile(workdir / LOCK_FILE)
    content, seen = file.read()
    assert file.write(json.dumps(json.loads(content) | changes).encode(), seen)


def left_behind(workdir, **changes):
    """The lock of a run on another host."""
    held = lock_of(workdir, heartbeat_seconds=60.0)
    held.__enter__()
    rewrite(workdir, machine="another", host="another", pid=1, token="another", **changes)
    held._ended.set()


def test_a_lock_of_another_host_is_taken_when_it_stays_as_it_is(workdir, capsys):
    left_behind(workdir)
    began = time.monotonic()
    with lock_of(workdir) as lock:
        assert time.monotonic() >= began + 1.0
        lock.check()
    assert "is held by process 1 on host another" in capsys.readouterr().out


def test_a_lock_of_another_host_that_lives_is_not_taken(workdir, holders, monkeypatch):
    holder = holders(heartbeat=0.3)
    assert holder.ask() == "held"

    monkeypatch.setattr(lock_module, "machine", lambda: "another host than that of the holder")
    with pytest.raises(WorkdirError, match=f"process {holder.process.pid}"), lock_of(workdir):
        pass


def test_a_run_whose_lock_was_taken_stops(workdir):
    with lock_of(workdir) as lock:
        lock.check()
        rewrite(workdir, token="another", pid=77, host="other-host")
        with pytest.raises(WorkdirError, match="process 77 on host other-host"):
            lock.check()
    assert json.loads(VersionedFile(workdir / LOCK_FILE).read()[0])["pid"] == 77


def test_a_run_that_slept_too_long_stops(workdir, holders):
    holder = holders(heartbeat=60.0)
    assert holder.ask() == "held"
    holder.process.send_signal(signal.SIGSTOP)
    rewrite(workdir, machine="another")
    with lock_of(workdir):
        holder.process.send_signal(signal.SIGCONT)
        assert holder.ask().startswith(f"WorkdirError: {workdir} was taken by another run")


def test_a_lock_that_cannot_be_made_is_named(tmp_path, cloud_storage, bucket):
    (tmp_path / "file").touch()
    with (
        pytest.raises(WriteError, match=r"file/run/lock\.json can't be written"),
        lock_of(tmp_path / "file" / "run"),
    ):
        pass
    cloud_storage.denied.add(bucket.removeprefix("gs://"))
    with pytest.raises(WriteError, match="PERMISSION_DENIED"), lock_of(f"{bucket}/run"):
        pass
    with (
        pytest.raises(WriteError, match="The specified bucket does not exist"),
        lock_of("gs://no-such-bucket/run"),
    ):
        pass
