"""Training commands as real processes, one or several of them that make up a run."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

CONFIG_FILE = """
from pathlib import Path
from tests.generated import small_config

def get_config():
    return small_config(Path({data!r}))
"""


def write_config_file(folder: Path, data: Path) -> Path:
    """A config file of a small run on the data set in `data`."""
    path = folder / "config.py"
    path.write_text(CONFIG_FILE.format(data=str(data)))
    return path


def free_port() -> int:
    """A port that nothing listens on just now."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


class Run:
    """One run of a command by `count` processes with `devices` devices each.

    Args:
      config: file; None where the workdir knows it.
      workdir: of the run.
      flags: further ones, of all processes.
      count: processes.
      devices: virtual CPU devices a process.
      own_flags: of each process.
      logs: folder for the output of each process, `0.log` and so on.
      environment: added to this one's.
      module: of the command.
    """

    def __init__(
        self,
        config: Path | None,
        workdir: Path | str,
        flags: Sequence[str] = (),
        *,
        count: int = 1,
        devices: int = 2,
        own_flags: Sequence[Sequence[str]] = (),
        logs: Path,
        environment: dict[str, str] | None = None,
        module: str = "mixcon3d_jax.train",
    ):
        logs.mkdir(parents=True, exist_ok=True)
        self._logs = logs
        port = free_port()
        self.processes = []
        for index in range(count):
            command = [
                *(sys.executable, "-m", module),
                *([f"--config={config}"] if config else []),
                f"--workdir={workdir}",
                f"--config.virtual_cpu_devices={devices}",
                *flags,
                *(own_flags[index] if own_flags else ()),
            ]
            if count > 1:
                command += [
                    f"--config.distributed.coordinator=localhost:{port}",
                    f"--config.distributed.num_processes={count}",
                    f"--config.distributed.process_id={index}",
                ]
            with (logs / f"{index}.log").open("wb") as log:
                self.processes.append(
                    subprocess.Popen(
                        command,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        cwd=ROOT,
                        env=os.environ | {"PYTHONUNBUFFERED": "1"} | (environment or {}),
                        start_new_session=True,
                    )
                )

    def wait(self, seconds: float = 300) -> list[int]:
        """The exit status of each process."""
        return [process.wait(seconds) for process in self.processes]

    def log(self, index: int = 0) -> str:
        """What a process has printed so far."""
        return (self._logs / f"{index}.log").read_text(errors="replace")

    def logs(self) -> str:
        """What all processes have printed, for the message of a failed assertion."""
        return "\n".join(f"== {i}\n{self.log(i)}" for i in range(len(self.processes)))

    def signal(self, index: int, number: signal.Signals) -> None:
        """Sends a signal to one process."""
        self.processes[index].send_signal(number)

    def end(self) -> None:
        """Kills what is still there, with all its children."""
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextlib.contextmanager
def run(*arguments, **settings) -> Iterator[Run]:
    """A `Run` that leaves no process behind."""
    started = Run(*arguments, **settings)
    try:
        yield started
    finally:
        started.end()
