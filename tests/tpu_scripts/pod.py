"""The real scripts on one side, the stand-in of gcloud on the other."""

import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.tpu_scripts import gcloud_stand_in
from tests.tpu_scripts.gcloud_stand_in import FOLDER, Cloud

SCRIPTS = Path(__file__).resolve().parents[2] / "tpu_scripts"
FAKE_PROJECT = Path(__file__).with_name("fake_project")
NAMES = ("create", "setup", "launch", "status", "logs", "stop", "delete", "supervise")
# What the workers' image has: a Python with the packages of this one, and a pip that fetches none.
IMAGE = {
    "PATH_BEFORE": f"{Path(sys.executable).parent}:",
    "PYTHONPATH": ":".join(path for path in sys.path if path.endswith("site-packages")),
    "PIP_NO_INDEX": "1",
    "PIP_NO_DEPS": "1",
    "PIP_NO_BUILD_ISOLATION": "0",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
}


class Pod:
    """An operator's machine with the scripts, and a cloud.

    Args:
      folder: for both.
      settings: variables of `tpu_scripts/env.sh`, over those of a pod that tests have patience for.
    """

    def __init__(self, folder: Path, **settings: object):
        self.cloud = Cloud(folder / "cloud")
        self.cloud.configure(environment=IMAGE)
        self.workdir = folder / "runs" / "first"
        self._home = folder / "operator"
        programs = self._home / "bin"
        programs.mkdir(parents=True)
        program = programs / "gcloud"
        program.write_text(
            f'#!/bin/sh\nexec {sys.executable} -I -S {gcloud_stand_in.__file__} "$@"\n'
        )
        program.chmod(0o755)
        self.environment = {
            "PATH": f"{programs}:/usr/bin:/bin",
            "HOME": str(self._home),
            FOLDER: str(self.cloud.folder),
            "PROJECT_ID": "project",
            "ZONE": "zone-a",
            "TPU_NAME": "pod",
            "CONFIG": "configs/some.py",
            "WORKDIR": str(self.workdir),
        }
        patience = dict.fromkeys(
            ("WATCH_SECONDS", "CREATE_SECONDS", "RELAUNCH_SECONDS", "PEER_SECONDS"), 0.3
        )
        self.set(**(patience | {"GRACE_SECONDS": 20} | settings))

    def set(self, **settings: object) -> None:
        """Sets variables of the scripts' environment."""
        self.environment |= {name: str(value) for name, value in settings.items()}

    def start(self, script: str, *arguments: str, **settings: object) -> subprocess.Popen:
        """Starts a script; its output and errors come in one stream."""
        return subprocess.Popen(
            [SCRIPTS / f"{script}.sh", *arguments],
            env=self.environment | {name: str(value) for name, value in settings.items()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, script: str, *arguments: str, status: int = 0, **settings: object) -> str:
        """Runs a script, which has to end with `status`; its output and errors."""
        process = self.start(script, *arguments, **settings)
        output, _ = process.communicate(timeout=300)
        assert process.returncode == status, output
        return output

    def ready(self) -> "Pod":
        """Makes the TPU and sets it up."""
        self.run("create")
        self.run("setup")
        return self

    def log(self, node: str = "pod", worker: int = 0, run: str = "first") -> str:
        """The log of a run on a worker so far."""
        path = self.cloud.home(node, worker) / "mixcon3d_logs" / run / "train.log"
        return path.read_text() if path.exists() else ""

    def wait_for_step(self, step: int, node: str = "pod") -> None:
        """Waits until the first worker's training has come to a step."""
        wait_until(lambda: any(int(found) >= step for found in _steps(self.log(node))))


def _steps(log: str) -> list[str]:
    return re.findall(r"\bstep (\d+)", log)


def wait_until(condition: Callable[[], object], seconds: float = 120) -> None:
    """Waits until a condition holds; fails if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def git(folder: Path, *arguments: str) -> None:
    """Runs git in a folder, as somebody."""
    who = ("-c", "user.name=test", "-c", "user.email=test@example.com")
    subprocess.run(["git", "-C", folder, *who, *arguments], check=True, capture_output=True)
