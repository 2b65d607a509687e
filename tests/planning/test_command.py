"""The command as a user types it, where the TPU compiler is missing."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# As on a machine without the `tpu` extra.
WITHOUT_LIBTPU = """
import runpy, sys
sys.modules["libtpu"] = None
runpy.run_module("mixcon3d_jax.plan", run_name="__main__", alter_sys=True)
"""


def plan(*arguments):
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_LIBTPU, "--config=configs/ensembled.py", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--topology=v5e:16x16"], "pip install 'mixcon3d-jax[tpu]'"),
        (["--topology=v5e:16x17"], "did you mean v5e:16x16"),
        (["--topology=v5e:2x2", "--efficiency=40"], "--efficiency=40.0 must be more than 0"),
        (["--topology=v5e:2x2", "--records=0"], "--records=0 must be 1 or more"),
    ],
)
def test_errors_say_what_to_do(arguments, message):
    done = plan(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
