"""The command, and what is done with the workdir that it makes."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from mixcon3d_jax.exchange.own_export import write_export
from mixcon3d_jax.exchange.runs import make_run, read_run
from mixcon3d_jax.sharding import make_mesh
from mixcon3d_jax.training.loop import train
from mixcon3d_jax.training.workdir import WorkdirError, read_config
from tests.exchange.checkpoints import (
    assert_same_arrays,
    config_of,
    random_groups,
    random_snapshot,
)
from tests.generated import make_dataset, small_config
from tests.test_export import run

CONFIG_FILE = """
from tests.exchange.checkpoints import config_of

def get_config():
    return config_of()
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a config, a flat export, and a file like the original's."""
    folder = tmp_path_factory.mktemp("import")
    (folder / "config.py").write_text(CONFIG_FILE)
    write_export(folder / "export.safetensors", random_snapshot(config_of()), "ema")
    groups = random_groups(config_of(), 0)
    flat = {f"{g}.{name}": array for g, arrays in groups.items() for name, array in arrays.items()}
    save_file(flat, folder / "original.safetensors")
    return folder


def test_an_export_brings_its_config_along(place, tmp_path):
    workdir = tmp_path / "w"
    done = run("import_torch", f"--input={place / 'export.safetensors'}", f"--workdir={workdir}",
               "--config.seed=5")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "an encoder of its own (dim 32" in done.stdout
    assert f"{workdir} is ready" in done.stdout
    assert read_config(workdir).seed == 5
    found = read_run(workdir)
    assert_same_arrays(found.raw, random_snapshot(config_of()).ema)
    assert found.step == 0


def test_another_file_needs_a_config_for_what_it_does_not_say(place, tmp_path):
    done = run("import_torch", f"--input={place / 'original.safetensors'}",
               f"--workdir={tmp_path / 'w'}", f"--config={place / 'config.py'}",
               "--config.model.view_pooling=max")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "views pooled by max" in done.stdout
    assert read_config(tmp_path / "w").model.view_pooling == "max"


@pytest.mark.parametrize(
    ("file", "arguments", "message"),
    [
        ("export.safetensors", ["--config=configs/base.py"], "leave --config out"),
        ("export.safetensors", ["--scaling=4"], "--scaling=4 has dim 512"),
        ("original.safetensors", ["--config=configs/base.py"], "have 16 entries"),
        ("no_such.pt", [], "no_such.pt: there is no such file"),
    ],
)
def test_bad_input_is_one_message_without_a_traceback(place, tmp_path, file, arguments, message):
    workdir = tmp_path / "w"
    done = run("import_torch", f"--input={place / file}", f"--workdir={workdir}", *arguments)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_an_existing_workdir_is_refused(place, tmp_path):
    (tmp_path / "precious").write_text("")
    done = run("import_torch", f"--input={place / 'export.safetensors'}", f"--workdir={tmp_path}")
    assert done.returncode == 2
    assert "exists already" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


# --- what a made workdir is good for


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def mesh():
    return make_mesh(1, 1, 2, jax.devices()[:2])


def train_alone(config, workdir, mesh):
    return train(config, workdir, mesh, lambda state, missing: {})


def test_training_goes_on_from_an_imported_step_as_if_nothing_had_been(data, mesh, tmp_path):
    config = small_config(data)
    config.optim.epochs, config.checkpoint.every_steps = 2.0, 4  # 8 steps
    whole = train_alone(config, tmp_path / "whole", mesh)
    make_run(tmp_path / "imported", read_run(tmp_path / "whole", 4))
    again = train_alone(config, tmp_path / "imported", mesh)
    for ours, theirs in zip(jax.tree.leaves(again), jax.tree.leaves(whole), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    steps = [json.loads(line)["step"] for line in (tmp_path / "imported/metrics.jsonl").open()]
    assert steps == [8]
    config.optim.learning_rate = 0.5
    with pytest.raises(WorkdirError, match="learning_rate"):  # it is a run like any other now
        train_alone(config, tmp_path / "imported", mesh)


def test_weights_without_moments_are_evaluated_and_trained_from_step_0(data, mesh, tmp_path):
    config = small_config(data)
    snapshot = dataclasses.replace(random_snapshot(config), moments={})
    make_run(tmp_path / "w", snapshot)
    done = run("evaluate", f"--workdir={tmp_path / 'w'}")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "w" / "eval" / "0.json").exists()
    config.optim.epochs, config.optim.learning_rate = 0.5, 1e-9  # of its own
    state = train_alone(config, tmp_path / "w", mesh)
    assert int(state.step) == 2
    np.testing.assert_allclose(
        state.params["encoder"]["proj"]["kernel"], snapshot.raw["encoder/proj/kernel"], atol=1e-6
    )
