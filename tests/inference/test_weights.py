import re

import numpy as np
import pytest
from safetensors.numpy import save_file

from mixcon3d_jax.errors import InputError
from mixcon3d_jax.exchange.runs import make_run
from mixcon3d_jax.inference.weights import ModelError, read_model
from mixcon3d_jax.training.workdir import write_config
from tests.exchange.checkpoints import config_of
from tests.inference.conftest import initial_snapshot


@pytest.mark.parametrize("place", ["", "checkpoints", "checkpoints/0"])
def test_a_run_and_its_export_are_one_model(workdir, export, snapshot, place):
    found = read_model(workdir / place)
    for name, array in snapshot.ema.items():
        np.testing.assert_array_equal(found.arrays[name], array)
    assert found.fingerprint == read_model(export).fingerprint
    assert (
        found.description == f"{workdir / place} (ema weights of step 0, {found.fingerprint[:12]})"
    )


def test_the_fingerprint_changes_with_the_weights(workdir, tmp_path):
    known = {read_model(workdir).fingerprint, read_model(workdir, "raw").fingerprint}
    make_run(tmp_path / "run", initial_snapshot(seed=1))
    known.add(read_model(tmp_path / "run").fingerprint)
    assert len(known) == 3


def test_the_other_weights_of_a_flat_file_are_refused(export):
    with pytest.raises(ModelError, match=r"holds ema weights alone.*say --weights=ema"):
        read_model(export, "raw")


def test_what_is_no_model(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / "notes.txt", tmp_path / "no.pt"):
        with pytest.raises(ModelError, match=f"{re.escape(str(path))} is no model: neither a wor"):
            read_model(path)
    save_file({"a.b": np.zeros(3, np.float32)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match=r"other\.safetensors was not exported by this project"):
        read_model(tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match="weights 'best': say 'ema' or 'raw'"):
        read_model(tmp_path, "best")


def test_a_workdir_without_a_finished_checkpoint(tmp_path):
    write_config(tmp_path, config_of())
    with pytest.raises(InputError, match="holds no finished checkpoint; train first"):
        read_model(tmp_path)


def test_an_unknown_axis(tmp_path):
    make_run(tmp_path / "run", initial_snapshot(up_axis="x"))
    with pytest.raises(ModelError, match="was trained with up axis 'x'"):
        read_model(tmp_path / "run")
