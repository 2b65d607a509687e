"""The command; what a file holds is in tests/exchange and tests/parity."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mixcon3d_jax.exchange.runs import make_run
from mixcon3d_jax.exchange.weights_file import read_weights
from tests.exchange.checkpoints import config_of, random_snapshot

ROOT = Path(__file__).resolve().parents[1]


def run(name, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", f"mixcon3d_jax.{name}", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | environment,
    )


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("export") / "run"
    make_run(workdir, random_snapshot(config_of(), step=3))
    return workdir


def test_ema_weights_are_the_default(workdir, tmp_path):
    output = tmp_path / "made" / "a.safetensors"
    done = run("export", f"--workdir={workdir}", f"--output={output}")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{output}: ema weights of step 3\n"
    assert read_weights(output).own["weights"] == "ema"


def test_an_existing_file_is_replaced_only_on_demand(workdir, tmp_path):
    output = tmp_path / "a.safetensors"
    output.write_text("precious")
    arguments = (f"--workdir={workdir}", f"--output={output}", "--weights=raw", "--step=3")
    done = run("export", *arguments)
    assert done.returncode == 2
    assert "a.safetensors exists already; say --overwrite" in done.stderr
    assert output.read_text() == "precious"
    done = run("export", *arguments, "--overwrite")
    assert done.returncode == 0, done.stderr
    assert read_weights(output).own["weights"] == "raw"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weights=rwa"], "value should be one of <ema|raw>"),
        (["--output=a.txt"], "its name must end in .pt, .pth, .safetensors"),
        (["--output=/proc/a.safetensors"], "can't be written"),
        (["--config.seed=3"], "Unknown command line flag"),
    ],
)
def test_bad_input_is_one_message_without_a_traceback(workdir, tmp_path, arguments, message):
    output = tmp_path / "a.safetensors"
    done = run("export", f"--workdir={workdir}", f"--output={output}", *arguments)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not output.exists()


def test_without_pytorch_a_pt_is_refused_and_nothing_is_left(workdir, tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError")
    output = tmp_path / "made" / "a.pt"
    done = run("export", f"--workdir={workdir}", f"--output={output}", PYTHONPATH=str(tmp_path))
    assert done.returncode == 2
    assert "needs PyTorch: pip install 'mixcon3d-jax[torch]'" in done.stderr
    assert not output.parent.exists()
