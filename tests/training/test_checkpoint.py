import functools
import subprocess
import sys

import jax
import numpy as np
import pytest

from mixcon3d_jax.files import WriteError
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


@functools.cache
def one_device():
    """A state on one device, and its shapes."""
    config = small_config("nowhere")
    mesh = make_mesh(1, 1, 1, jax.devices()[:1])
    abstract = abstract_state(run_config.model_config(config), optimizer_of(config), mesh)
    return state_on(mesh, config), abstract


def save_steps(workdir, steps, **settings):
    state, _ = one_device()
    with Checkpoints(workdir, **{"keep": 9} | settings) as checkpoints:
        for step in steps:
            checkpoints.save(state.replace(step=state.step + step), {"saved": step})
        checkpoints.wait()
        return checkpoints.steps()


def data_file(folder):
    """The largest file of a checkpoint, which holds weights."""
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def zero_a_part(path):
    content = bytearray(path.read_bytes())
    content[100:1100] = bytes(1000)
    path.write_bytes(content)


DAMAGES = {
    "zeros in a file": lambda folder: zero_a_part(data_file(folder)),
    "a truncated file": lambda folder: truncate(data_file(folder)),
    "a missing file": lambda folder: data_file(folder).unlink(),
    "other meta": lambda folder: (folder / "meta" / "metadata").write_text('{"saved": 7}'),
    "no checksums": lambda folder: (folder / "SHA256SUMS").unlink(),
    "half a list of checksums": lambda folder: truncate(folder / "SHA256SUMS"),
    "an empty list of checksums": lambda folder: (folder / "SHA256SUMS").write_text(""),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(tmp_path, capsys, damage):
    save_steps(tmp_path, (3, 6, 9))
    for step in ("6", "9"):
        DAMAGES[damage](tmp_path / "checkpoints" / step)
    _, abstract = one_device()
    with Checkpoints(tmp_path, 9, read_only=True) as checkpoints:
        assert int(checkpoints.restore(abstract).step) == 3
        assert checkpoints.meta() == {"saved": 3}
        with pytest.raises(CheckpointError, match=r"checkpoints/6 can't be used: .*leave out"):
            checkpoints.restore(abstract, 6)
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"3", "6", "9"}
    said = capsys.readouterr().out
    for step in ("6", "9"):
        assert f"checkpoints/{step} is damaged" in said
    assert "step 3 is used instead" in said

    with Checkpoints(tmp_path, 9) as checkpoints:
        assert checkpoints.newest_sound() == 3
        assert checkpoints.steps() == [3]
    assert (tmp_path / "damaged" / "checkpoints-9").is_dir()
    assert save_steps(tmp_path, (6,)) == [3, 6]


def test_a_run_does_not_begin_anew_where_all_checkpoints_are_damaged(tmp_path):
    save_steps(tmp_path, (3, 6))
    for step in ("3", "6"):
        DAMAGES["zeros in a file"](tmp_path / "checkpoints" / step)
    with (
        Checkpoints(tmp_path, 9) as checkpoints,
        pytest.raises(CheckpointError, match=r"no checkpoint in .* is sound \(step 6: .*step 3: "),
    ):
        checkpoints.newest_sound()
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"3", "6"}


def test_an_unfinished_checkpoint_is_named_and_removed(tmp_path, capsys):
    save_steps(tmp_path, (3,))
    unfinished = tmp_path / "checkpoints" / "6.orbax-checkpoint-tmp"
    (unfinished / "state").mkdir(parents=True)
    with Checkpoints(tmp_path, 9, read_only=True) as checkpoints:  # another run may be saving
        assert checkpoints.newest_sound() == 3
    assert unfinished.exists()
    assert save_steps(tmp_path, (6,)) == [3, 6]
    assert f"removing {unfinished}: the run ended while it was saved" in capsys.readouterr().out


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "checkpoints").write_text("")
    with pytest.raises(WriteError, match=r"checkpoints can't be written"):
        save_steps(tmp_path, (3,))


def test_the_newest_and_every_so_many_are_kept(tmp_path):
    steps = (2, 4, 5, 6, 8, 9, 10)
    assert save_steps(tmp_path, steps, keep=2, keep_every=4) == [4, 8, 9, 10]


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
