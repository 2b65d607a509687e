import subprocess
import sys

import jax
import numpy as np
import pytest

from mixcon3d_jax.sharding import make_mesh
from mixcon3d_jax.training import run_config
from mixcon3d_jax.training.checkpoint import CheckpointError, Checkpoints
from mixcon3d_jax.training.optimizer import make_optimizer
from mixcon3d_jax.training.state import abstract_state, initial_state
from tests.generated import small_config


def optimizer_of(config):
    return make_optimizer(run_config.step_config(config, 64).optimizer)


def state_on(mesh, config):
    return initial_state(run_config.model_config(config), optimizer_of(config), mesh, seed=1)


@pytest.fixture(scope="module")
def config():
    return small_config("nowhere")


def test_a_state_comes_back_bit_for_bit_on_another_mesh(tmp_path, config):
    state = state_on(make_mesh(1, 4, 2), config)
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        checkpoints.save(state, {"clip_id": "x"})
    for sizes in [(1, 8, 1), (1, 1, 1)]:
        mesh = make_mesh(*sizes, jax.devices()[: int(np.prod(sizes))])
        abstract = abstract_state(run_config.model_config(config), optimizer_of(config), mesh)
        with Checkpoints(tmp_path, keep=2) as checkpoints:
            restored = checkpoints.restore(abstract)
            assert checkpoints.meta() == {"clip_id": "x"}
        for ours, theirs in zip(jax.tree.leaves(restored), jax.tree.leaves(state), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_no_checkpoint_and_unknown_steps_are_named(tmp_path, config):
    mesh = make_mesh(1, -1, 1)
    state = state_on(mesh, config)
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        with pytest.raises(CheckpointError, match="holds no finished checkpoint"):
            checkpoints.restore(state)
        checkpoints.save(state, {})
        checkpoints.wait()
        with pytest.raises(CheckpointError, match="no step 7; it has 0"):
            checkpoints.restore(state, step=7)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Orbax's futures
def test_a_model_of_other_shapes_is_refused(tmp_path, config):
    mesh = make_mesh(1, -1, 1)
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        checkpoints.save(state_on(mesh, config), {})
    other = small_config("nowhere")
    other.model.encoder.dim = 48
    abstract = abstract_state(run_config.model_config(other), optimizer_of(other), mesh)
    with (
        Checkpoints(tmp_path, keep=2) as checkpoints,
        pytest.raises(CheckpointError, match=r"can't be restored .*of another model"),
    ):
        checkpoints.restore(abstract)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Orbax's futures
def test_a_damaged_checkpoint_is_named(tmp_path, config):
    mesh = make_mesh(1, -1, 1)
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        checkpoints.save(state_on(mesh, config), {})
    for path in (tmp_path / "checkpoints" / "0" / "state").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    abstract = abstract_state(run_config.model_config(config), optimizer_of(config), mesh)
    with (
        Checkpoints(tmp_path, keep=2) as checkpoints,
        pytest.raises(CheckpointError, match=r"checkpoints/0 can't be restored"),
    ):
        checkpoints.restore(abstract)


# A file-size limit makes writes fail as a full disk does, without root or a disk of one's own.
FULL_DISK = """
import resource, signal, sys
import jax
jax.config.update("jax_num_cpu_devices", 1)
from mixcon3d_jax.errors import exit_on_input_error
from mixcon3d_jax.training.checkpoint import Checkpoints
from tests.training.test_checkpoint import make_mesh, small_config, state_on

@exit_on_input_error
def main():
    state = state_on(make_mesh(1, 1, 1), small_config("nowhere"))
    with Checkpoints(sys.argv[1], keep=3) as checkpoints:
        checkpoints.save(state, {})
        checkpoints.wait()
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
        checkpoints.save(state.replace(step=state.step + 5), {})
        checkpoints.wait()

main()
"""


def test_a_failed_save_is_loud_and_keeps_the_earlier_one(tmp_path, config):
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
    assert "could not save a checkpoint" in done.stderr
    assert "earlier ones are whole" in done.stderr
    with Checkpoints(tmp_path, keep=3) as checkpoints:
        assert checkpoints.newest_sound() == 0
        mesh = make_mesh(1, 1, 1, jax.devices()[:1])
        checkpoints.restore(
            abstract_state(run_config.model_config(config), optimizer_of(config), mesh)
        )
