"""The wandb run of a workdir, offline, with real processes."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from mixcon3d_jax.buckets import as_path
from mixcon3d_jax.training.tracking import tracking_id

ROOT = Path(__file__).resolve().parents[2]

# Starts tracking, logs, says so, and ends with the end of its standard input.
PROGRAM = """
import sys
from configs import base
from mixcon3d_jax.training.tracking import start_tracking
config = base.get_config()
config.log.wandb = "offline"
run = start_tracking(sys.argv[1], config)
run.log({"loss": 1.0}, step=1)
print(f"tracked {run.id} in {run.dir}", flush=True)
sys.stdin.read()
run.finish()
"""


def start(workdir) -> tuple[subprocess.Popen, str]:
    """A process that tracks, and what it says."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(workdir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"WANDB_SILENT": "true"},
    )
    said = ""
    while "tracked" not in said:
        line = process.stdout.readline()
        assert line, "the process ended"
        said += line
    return process, said


@pytest.mark.parametrize("kind", ["disk", "bucket"])
def test_every_start_goes_on_with_the_same_run(kind, tmp_path, bucket):
    workdir = as_path(tmp_path if kind == "disk" else f"{bucket}/run")
    ids = set()
    for killed in (True, False):
        process, said = start(workdir)
        ids.add(said.split("tracked ")[1].split()[0])
        if kind == "disk":
            assert f"in {tmp_path}/wandb/" in said
        else:  # wandb can't write there
            assert "wandb keeps its files in /" in said
        if killed:
            process.kill()
        process.communicate()
    assert ids == {tracking_id(workdir)}
    assert json.loads((workdir / "wandb.json").read_text()) == {"id": ids.pop()}


def test_a_damaged_id_is_replaced(tmp_path):
    (tmp_path / "wandb.json").write_text('{"id')
    found = tracking_id(tmp_path)
    assert tracking_id(tmp_path) == found
    assert tracking_id(tmp_path / "other") != found


def test_its_processes_end_with_a_killed_run(tmp_path):
    process, _ = start(tmp_path)
    children = psutil.Process(process.pid).children(recursive=True)
    assert children, "wandb was to have a process of its own"
    process.kill()
    process.wait()
    deadline = time.monotonic() + 20  # it looks for its parent every few seconds
    while any(child.is_running() and child.status() != "zombie" for child in children):
        assert time.monotonic() < deadline, [child.cmdline() for child in children]
        time.sleep(0.1)
