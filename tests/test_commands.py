"""The commands as a user types them: exit status and messages."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.generated import CLIP_ID, EMBEDDING_SIZE, make_dataset

ROOT = Path(__file__).resolve().parents[1]

CONFIG_FILE = """
from pathlib import Path
from tests.generated import small_config

def get_config():
    config = small_config(Path({data!r}))
    config.virtual_cpu_devices = 2
    config.optim.epochs = 2.0
    return config
"""


def run(module, *arguments):
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"WANDB_SILENT": "true"},
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a data set, a config and a finished run."""
    folder = tmp_path_factory.mktemp("commands")
    make_dataset(folder / "data")
    (folder / "config.py").write_text(CONFIG_FILE.format(data=str(folder / "data")))
    done = run(
        "mixcon3d_jax.train",
        f"--config={folder / 'config.py'}",
        f"--workdir={folder / 'run'}",
        "--config.log.wandb=offline",
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_training_reports_progress_and_leaves_an_offline_wandb_run(place):
    assert (place / "run" / "eval" / "8.json").exists()
    assert list((place / "run" / "wandb").glob("offline-run-*"))


def test_evaluation_is_deterministic_and_takes_other_views(place):
    before = json.loads((place / "run" / "eval" / "8.json").read_text())
    done = run("mixcon3d_jax.evaluate", f"--workdir={place / 'run'}")
    assert done.returncode == 0, done.stderr
    assert "held_out, 24 shapes" in done.stdout
    assert json.loads((place / "run" / "eval" / "8.json").read_text()) == before
    done = run(
        "mixcon3d_jax.evaluate",
        f"--workdir={place / 'run'}",
        "--config.eval.num_views=12",
        "--config.eval.view_choice=spread",
        "--config.eval.batch_size=6",
        f"--benchmark=again={place / 'data'}",
        f"--benchmark=seen={place / 'data'}:train",
    )
    assert done.returncode == 0, done.stderr
    for block in ("held_out, 24 shapes", "again, 24 shapes", "seen, 64 shapes"):
        assert block in done.stdout
    name = "8-num_views=12,view_choice=spread,on=again+held_out+seen.json"
    assert (place / "run" / "eval" / name).exists()
    assert json.loads((place / "run" / "eval" / "8.json").read_text()) == before
    evaluate = ("mixcon3d_jax.evaluate", f"--workdir={place / 'run'}")
    for flag, message in (
        ("--only=nothing", "there is no benchmark 'nothing', only held_out"),
        ("--benchmark=a/b=c", "say NAME=FOLDER or NAME=FOLDER:SPLIT"),
        ("--best", "holds no finished checkpoint"),
        ("--config.model.encoder.dim=64", "config.model.encoder.dim: 32 there, 64 here"),
    ):
        done = run(*evaluate, flag)
        assert done.returncode == 2
        assert message in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config.optim.learning_rat=1"], 'Did you mean "learning_rate"'),
        (["--config.modle.dim=1"], 'Did you mean "model"'),
        (["--config.optim.learning_rate=abc"], "config.optim.learning_rate=abc"),
        (["--config.model.scaling=9"], "config.model.scaling is 9; it must be one of 1, 2"),
        (["--config.model.dtype=int8"], "config.model.dtype is 'int8'"),
        (["--config.mesh.fsdp=3"], "does not divide the 2 devices"),
        (["--config.optim.batch_size=7"], "config.optim.batch_size is 7"),
        (["--config.data.root=/nowhere"], "/nowhere holds no finished data set"),
        (["--config.data.split=trian"], "has no split 'trian'; it has test, train"),
        (["--config.clip.embedding_size=99"], f"{CLIP_ID!r} of size {EMBEDDING_SIZE}"),
        (["--config.optim.ema_decay=0.5"], "config.optim.ema_decay: 0.8 there, 0.5 here"),
        (["--config.optim.frozen=fusoin/.*"], "freezes no parameter; it has to match whole paths"),
        (["--config.optim.frozen=.*"], "freezes every parameter"),
        (["--config.optim.frozen=("], "config.optim.frozen is '(', no regular expression"),
        (["--config.data.neighbor_group=3"], "which does not divide config.optim.batch_size (16)"),
        (["--config.checkpoint.best_by=top1"], "for example 'ema/held_out/point/top1'"),
        (["--config.checkpoint.best_by=ema/held_out/pointt/top1"], "for example 'ema/held_out"),
        (["--config.checkpoint.best_by=ema/other/point/top1"], "for example 'ema/held_out"),
        (["--config.data.root="], "config.data.root is empty"),
        (["--config.optim.batch_size=0"], "config.optim.batch_size is 0; it must be 1 or more"),
        (["--config.log.wandb=sometimes"], "config.log.wandb is 'sometimes'"),
        (["--config.eval.batch_size=7"], "config.eval.batch_size is 7"),
        (["--config.eval.view_choice=best"], "config.eval.view_choice is 'best'"),
        (["--config.eval.benchmarks.held_out.split=tets"], "has no split 'tets'"),
        (["--confg=3"], "Unknown command line flag 'confg'"),
        (["stray"], "unexpected argument 'stray'"),
    ],
)
def test_bad_input_is_one_message_without_a_traceback(place, arguments, message):
    done = run(
        "mixcon3d_jax.train",
        f"--config={place / 'config.py'}",
        f"--workdir={place / 'run'}",
        *arguments,
    )
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("module", "arguments", "message"),
    [
        ("mixcon3d_jax.train", ["--workdir=w"], "--config"),
        ("mixcon3d_jax.train", ["--config=nowhere.py", "--workdir=w"], "nowhere.py"),
        ("mixcon3d_jax.evaluate", [], "--workdir"),
        ("mixcon3d_jax.evaluate", ["--workdir=/nowhere"], "/nowhere is not a workdir"),
    ],
)
def test_missing_input_is_named(module, arguments, message):
    done = run(module, *arguments)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
