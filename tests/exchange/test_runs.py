import dataclasses
import json

import jax
import numpy as np
import pytest
from flax import nnx

from mixcon3d_jax.exchange.runs import ExistsError, check_free, make_run, read_run
from mixcon3d_jax.exchange.snapshot import About
from mixcon3d_jax.exchange.train_state import fill_state
from mixcon3d_jax.files import WriteError
from mixcon3d_jax.models.mixcon3d import MixCon3D
from mixcon3d_jax.models.variables import flatten, split_module
from mixcon3d_jax.training.checkpoint import CheckpointError
from mixcon3d_jax.training.optimizer import make_optimizer
from mixcon3d_jax.training.run_config import step_config
from mixcon3d_jax.training.state import new_state
from mixcon3d_jax.training.workdir import WorkdirError
from tests.exchange.checkpoints import assert_same_arrays, config_of, random_snapshot


def without(snapshot, module):
    """The snapshot without a module's arrays."""

    def kept(arrays):
        return {path: array for path, array in arrays.items() if not path.startswith(module)}

    return dataclasses.replace(
        snapshot,
        about=dataclasses.replace(snapshot.about, missing=(module,)),
        raw=kept(snapshot.raw),
        ema=kept(snapshot.ema),
        moments=kept(snapshot.moments),
    )


@pytest.fixture(scope="module")
def snapshot():
    return random_snapshot(config_of())


def test_a_run_is_made_and_read_again(snapshot, tmp_path):
    make_run(tmp_path / "run", snapshot)
    found = read_run(tmp_path / "run")
    assert (found.step, found.about) == (3, snapshot.about)
    assert_same_arrays(found.raw, snapshot.raw)
    assert_same_arrays(found.ema, snapshot.ema)
    assert_same_arrays(found.moments, snapshot.moments)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["seed"] == 0
    assert {path.name for path in tmp_path.iterdir()} == {"run"}


def test_what_is_missing_starts_at_random_and_is_left_out_again(snapshot, tmp_path):
    part = without(snapshot, "fusion")
    make_run(tmp_path / "run", part)
    found = read_run(tmp_path / "run")
    assert found.about.missing == ("fusion",)
    assert_same_arrays(found.raw, part.raw)
    assert_same_arrays(found.moments, part.moments)


def test_the_counts_of_the_optimiser_go_on_with_the_step(snapshot):
    config = step_config(config_of(), 1)
    _, params, stats = split_module(MixCon3D(config.model, rngs=nnx.Rngs(0)))
    empty = new_state(params, stats, make_optimizer(config.optimizer))
    whole = fill_state(empty, snapshot)
    counts = [leaf for leaf in jax.tree.leaves(whole.opt_state) if not leaf.shape]
    assert int(whole.step) == 3
    assert 3 in counts
    fresh = fill_state(empty, dataclasses.replace(snapshot, moments={}))
    assert int(fresh.step) == 0
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(fresh.opt_state))
    assert_same_arrays(flatten(fresh.params) | flatten(fresh.stats), snapshot.raw)


def test_an_array_of_another_shape_is_no_array_of_the_state(snapshot, tmp_path):
    wrong = dataclasses.replace(snapshot, raw=snapshot.raw | {"encoder/proj/bias": np.zeros(3)})
    with pytest.raises(ValueError, match=r"\(3,\) where \(16,\)"):
        make_run(tmp_path / "run", wrong)
    assert not list(tmp_path.iterdir())


def test_an_existing_workdir_is_refused(snapshot, tmp_path):
    check_free(tmp_path / "new")
    check_free(tmp_path)  # empty
    (tmp_path / "file").write_text("")
    for taken in (tmp_path, tmp_path / "file"):
        with pytest.raises(ExistsError, match="exists already"):
            make_run(taken, snapshot)


def test_a_workdir_that_cannot_be_made_is_named(snapshot, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match=r"file/.* can't be written"):
        make_run(tmp_path / "file" / "run", snapshot)


def test_other_folders_and_steps_are_refused(snapshot, tmp_path):
    with pytest.raises(WorkdirError, match="is not a workdir"):
        read_run(tmp_path)
    make_run(tmp_path / "run", snapshot)
    with pytest.raises(CheckpointError, match="has no step 4; it has 3"):
        read_run(tmp_path / "run", 4)


def test_epochs_are_counted_by_shapes_or_taken_over():
    config = config_of().to_dict()  # batches of 16
    assert [About(config, "c", num_records=64).epoch_at(step) for step in (0, 3, 4, 9)] == [
        0, 0, 1, 2,
    ]  # fmt: skip
    assert About(config, "c", epoch=7).epoch_at(100) == 7
