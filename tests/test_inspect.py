import json
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from mixcon3d_jax.errors import InputError
from mixcon3d_jax.evaluation.report import write_figures
from mixcon3d_jax.exchange.own_export import write_export
from mixcon3d_jax.exchange.pytorch_names import WeightsError
from mixcon3d_jax.exchange.runs import make_run, read_run
from mixcon3d_jax.inspect import describe
from mixcon3d_jax.sharding import make_mesh
from mixcon3d_jax.training.best import BEST_FOLDER, BestCheckpoint
from mixcon3d_jax.training.optimizer import make_optimizer
from mixcon3d_jax.training.run_config import step_config
from mixcon3d_jax.training.state import initial_state
from mixcon3d_jax.training.workdir import write_config
from tests.exchange.checkpoints import config_of, random_groups, random_snapshot
from tests.exchange.test_runs import without
from tests.generated import make_dataset

ROOT = Path(__file__).resolve().parents[1]
FIGURES = {
    "ema/held_out/point/top1": 12.34,
    "ema/held_out/point/top3": 99.0,
    "ema/held_out/sum/top1": 100.0,
    "raw/held_out/point/top1": 5.0,
}


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A run with one checkpoint, and evaluations of two steps."""
    workdir = tmp_path_factory.mktemp("inspect") / "run"
    make_run(workdir, random_snapshot(config_of(), step=12))
    write_figures(workdir, 12, FIGURES, {})
    write_figures(workdir, 4, {"ema/held_out/point/top1": 1.0}, {})
    return workdir


def rows(text):
    """Label -> what stands beside it."""
    return dict(re.findall(r"^  (\S[\w ]*?)  +(.+)$", text.split("\n\n")[0], re.MULTILINE))


def test_a_workdir(workdir):
    text = describe(workdir)
    assert text.startswith(f"{workdir}, a workdir\n")
    found = rows(text)
    assert found["checkpoints"] == "12"
    assert found["encoder"].startswith("an encoder of its own: dim 32, depth 2")
    assert found["heads"] == "linear; images through text_proj; views pooled by avg"
    assert found["parameters"] == "encoder 48,864 + heads 804 = 49,668"
    assert found["CLIP"] == "generated-clip, embeddings of 16"
    assert found["up axis"] == "y"
    assert found["colours"].startswith("sRGB uint8; 0.4 grey")
    assert found["split"] == "train, 64 shapes"
    assert "batch_size 16" in found["optim"]
    assert "missing" not in found


def test_evaluations_stand_below_one_another(workdir):
    table = describe(workdir).split("\n\n")[1]
    assert table == (
        "zero-shot top-1 in percent\n"
        "  step  benchmark  weights  point    sum\n"
        "     4  held_out   ema        1.0      -\n"
        "    12  held_out   ema       12.3  100.0\n"
        "    12  held_out   raw        5.0      -"
    )


def test_what_stands_beside_a_label_stands_below_what_stands_beside_another(workdir):
    lines = describe(workdir).split("\n\n")[0].splitlines()[1:]
    starts = {re.match(r"  \S+( \S+)*  +", line).end() for line in lines}
    assert len(starts) == 1


def test_a_checkpoint_has_its_own_evaluations(workdir):
    text = describe(workdir / "checkpoints" / "12")
    assert text.startswith(f"{workdir}, checkpoints, step 12\n")
    assert "raw" in text
    assert "  4  held_out" not in text


def test_a_best_checkpoint(tmp_path):
    config = config_of()
    make_run(tmp_path, random_snapshot(config))
    (tmp_path / "best").mkdir()
    assert "best" not in rows(describe(tmp_path))
    steps = step_config(config, 1)
    mesh = make_mesh(1, 1, 1, jax.devices()[:1])
    state = initial_state(steps.model, make_optimizer(steps.optimizer), mesh, 0)
    meta = {"config": config.to_dict(), "clip_id": "of the best"}
    best = BestCheckpoint(tmp_path, "ema/held_out/point/top1", {"num_views": 4})
    best.offer(state.replace(step=jnp.int32(7)), FIGURES, meta)
    found = rows(describe(tmp_path))
    assert found["best"] == "7, by ema/held_out/point/top1: 12.3"
    assert "generated-clip" in found["CLIP"]
    text = describe(tmp_path / "best" / "7")
    assert text.startswith(f"{tmp_path}, best, step 7\n")
    assert "of the best" in rows(text)["CLIP"]
    assert read_run(tmp_path, folder=BEST_FOLDER).step == 7


def test_a_workdir_without_checkpoints_stays_as_it_is(tmp_path):
    write_config(tmp_path, config_of())
    text = describe(tmp_path)
    assert rows(text)["checkpoints"] == "none yet"
    assert text.endswith("no evaluations yet")
    assert {path.name for path in tmp_path.iterdir()} == {"version.json", "config.json"}


def test_what_is_missing_is_said(tmp_path):
    make_run(tmp_path / "run", without(random_snapshot(config_of()), "fusion"))
    assert rows(describe(tmp_path / "run"))["missing"].startswith("fusion")


def test_an_export(tmp_path):
    path = tmp_path / "a.safetensors"
    write_export(path, random_snapshot(config_of(), step=12), "ema")
    found = rows(describe(path))
    assert found["kind"] == "an export of this project, ema weights in front"
    assert found["step"] == "12, epoch 3"
    assert found["parameters"] == "encoder 48,864 + heads 804 = 49,668"
    assert found["CLIP"] == "generated-clip, embeddings of 16"


def test_a_checkpoint_of_others(tmp_path):
    groups = random_groups(config_of(), 0)
    flat = {f"{g}.{name}": array for g, arrays in groups.items() for name, array in arrays.items()}
    save_file(flat, tmp_path / "a.safetensors")
    found = rows(describe(tmp_path / "a.safetensors"))
    assert found["kind"] == "a PyTorch checkpoint"
    assert found["encoder"].startswith("an encoder of its own: dim 32")
    # Both projections are there, and two temperatures.
    heads = 2 * (16 * 16 + 16) + (32 * 16 + 16) + 2
    assert found["parameters"] == f"encoder 48,864 + heads {heads:,} = {48_864 + heads:,}"
    assert found["EMA of"] == "state_dict"
    assert "CLIP" in found["not said"]


def test_data_sets(tmp_path):
    for name in ("a", "b"):
        make_dataset(tmp_path / name, train=3, test=2)
    assert rows(describe(tmp_path / "a"))["splits"] == "test 2, train 3"
    both = describe(tmp_path)
    assert both.count(", a data set") == 2
    assert rows(both)["classes"] == "4"


def test_other_things_are_refused(tmp_path, workdir):
    (tmp_path / "a.safetensors").write_text("hello")
    (tmp_path / "notes.txt").write_text("hello")
    for path in (tmp_path / "nowhere", tmp_path / "notes.txt", tmp_path, workdir / "eval"):
        with pytest.raises(InputError, match="is no workdir"):
            describe(path)
    with pytest.raises(InputError, match=r"a\.safetensors is no safetensors file"):
        describe(tmp_path / "a.safetensors")
    save_file({"a.b": np.zeros(3, np.float32)}, tmp_path / "b.safetensors")
    with pytest.raises(WeightsError, match=r"b\.safetensors: these are no weights"):
        describe(tmp_path / "b.safetensors")


def test_damaged_figures_are_named(tmp_path):
    write_config(tmp_path, config_of())
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval" / "3.json").write_text(json.dumps([1]))
    with pytest.raises(InputError, match=r"3\.json is damaged"):
        describe(tmp_path)


def test_the_command(workdir):
    def run(path):
        return subprocess.run(
            [sys.executable, "-m", "mixcon3d_jax.inspect", str(path)],
            capture_output=True,
            text=True,
            cwd=ROOT,
        )

    done = run(workdir)
    assert done.returncode == 0, done.stderr
    assert done.stdout == describe(workdir) + "\n"
    done = run("/nowhere")
    assert done.returncode == 2
    assert done.stderr.startswith("error: /nowhere is no workdir")


def test_an_evaluation_with_settings_of_its_own_is_named(workdir):
    path = workdir / "eval" / "12-num_views=8.json"
    path.write_text(json.dumps({"ema/held_out/point/top1": 50.0}))
    try:
        for place in (workdir, workdir / "checkpoints" / "12"):
            lines = [line.split() for line in describe(place).splitlines()]
            assert ["12-num_views=8", "held_out", "ema", "50.0", "-"] in lines
    finally:
        path.unlink()
