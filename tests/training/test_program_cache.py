"""Compiled programs in the workdir: found again, mended, and never in the way."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

from mixcon3d_jax.distributed.compilation import CompiledTogether
from mixcon3d_jax.sharding import make_mesh
from mixcon3d_jax.training.loop import train
from mixcon3d_jax.training.program_cache import program_cache
from tests.generated import make_dataset, small_config


@pytest.fixture(autouse=True)
def no_other_cache(monkeypatch):
    """Without the folder that all tests share; programs of any length are kept."""
    before = {
        name: getattr(jax.config, name)
        for name in ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    }
    jax.config.update("jax_compilation_cache_dir", None)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    compilation_cache.reset_cache()
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def compiled():
    """A program as a process that starts anew compiles it."""
    jax.clear_caches()
    program = CompiledTogether(jax.jit(lambda x: jnp.sin(x) @ x))
    compilation = program.compile(jnp.eye(7))
    np.testing.assert_allclose(program(jnp.eye(7)), np.sin(1) * np.eye(7), atol=1e-6)
    return compilation


def programs(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*-cache")}


def test_a_second_start_of_a_run_compiles_nothing(tmp_path, capsys):
    """The same weights, bit for bit; the messages say where the step came from."""
    config = small_config(make_dataset(tmp_path / "data"))
    config.optim.epochs, config.model.encoder.depth = 0.5, 1
    mesh = make_mesh(1, 1, 1, jax.devices()[:1])
    first = train(config, tmp_path / "run", mesh, lambda state, missing: {})
    kept = programs(tmp_path / "run" / "compilation_cache")
    assert any(name.startswith("jit_train_step") for name in kept)
    told = capsys.readouterr().out
    assert "compiled in " in told
    assert "(from" not in told
    for path in (tmp_path / "run" / "checkpoints").iterdir():
        path.rename(tmp_path / path.name)
    jax.clear_caches()
    second = train(config, tmp_path / "run", mesh, lambda state, missing: {})
    assert f"(from {tmp_path / 'run' / 'compilation_cache'})" in capsys.readouterr().out
    assert programs(tmp_path / "run" / "compilation_cache") == kept
    jax.tree.map(np.testing.assert_array_equal, first, second)
    assert jax.config.jax_compilation_cache_dir is None


def test_a_program_that_was_left_half_written_is_replaced(tmp_path):
    with program_cache(tmp_path, enabled=True):
        compiled()
        assert compiled().from_cache
    (path,) = (tmp_path / "compilation_cache").glob("jit__lambda*-cache")
    whole = path.read_bytes()
    for broken in (whole[: len(whole) // 2], b""):
        path.write_bytes(broken)
        with warnings.catch_warnings(), program_cache(tmp_path, enabled=True):
            warnings.simplefilter("error")
            assert not compiled().from_cache
            assert compiled().from_cache


def test_a_folder_that_cannot_be_written_is_only_warned_of(tmp_path):
    (tmp_path / "compilation_cache").write_text("no folder")
    with program_cache(tmp_path, enabled=True), pytest.warns(UserWarning, match="cache entry"):
        assert not compiled().from_cache


def test_a_disk_without_room_is_only_warned_of(tmp_path, monkeypatch):
    def full(self, key, value):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("jax._src.lru_cache.LRUCache.put", full)
    with program_cache(tmp_path, enabled=True), pytest.warns(UserWarning, match="No space left"):
        assert not compiled().from_cache


def test_a_bucket_keeps_programs(bucket, cloud_storage):
    with program_cache(f"{bucket}/run", enabled=True) as folder:
        assert folder == f"{bucket}/run/compilation_cache"
        assert not compiled().from_cache
        assert compiled().from_cache
    names = cloud_storage.files("run/compilation_cache/", bucket.removeprefix("gs://"))
    assert any("jit__lambda" in name for name in names)


def test_a_folder_of_the_users_counts_instead(tmp_path):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "mine"))
    with program_cache(tmp_path / "run", enabled=True) as folder:
        assert folder == str(tmp_path / "mine")
        compiled()
    assert programs(tmp_path / "mine")
    assert not (tmp_path / "run").exists()


def test_it_can_be_turned_off(tmp_path):
    with program_cache(tmp_path, enabled=False) as folder:
        assert folder == ""
        compiled()
        assert not compiled().from_cache
    assert not list(tmp_path.iterdir())
