import dataclasses

import numpy as np
import pytest

from mixcon3d_jax.inference.files import EmbeddedFiles
from mixcon3d_jax.inference.index import Index, IndexFileError, read_index, write_index
from mixcon3d_jax.inference.inputs import find_assets
from mixcon3d_jax.inference.weights import read_model


@pytest.fixture(scope="module")
def weights(workdir):
    return read_model(workdir)


@pytest.fixture
def index(weights):
    files = tuple(find_assets(["a.glb", "b.glb"], None))
    rows = np.random.default_rng(0).normal(size=(2, 32)).astype(np.float32)
    return Index.of(weights, "fused", EmbeddedFiles(rows, files, (), ()))


def test_what_is_written_is_read(weights, index, tmp_path):
    write_index(tmp_path / "a.npz", index)
    found = read_index(tmp_path / "a.npz", weights)
    assert found.ids.tolist() == ["a.glb", "b.glb"]
    np.testing.assert_array_equal(found.embeddings, index.embeddings)
    np.testing.assert_allclose(np.linalg.norm(found.embeddings, axis=1), 1, atol=1e-6)
    assert (found.mode, found.clip_id) == ("fused", "tiny-clip")
    assert found.model_fingerprint == weights.fingerprint


def test_an_index_of_another_model_is_refused_with_both_names(workdir, weights, index, tmp_path):
    write_index(tmp_path / "a.npz", index)
    other = read_model(workdir, "raw")
    with pytest.raises(IndexFileError) as caught:
        read_index(tmp_path / "a.npz", other)
    assert f"built by {weights.description}, but --model is {other.description}" in str(
        caught.value
    )


@pytest.mark.parametrize("damage", ["absent", "cut", "text", "cloud", "array", "rows", "types"])
def test_other_files_are_refused(weights, index, tmp_path, damage):
    path = tmp_path / "a.npz"
    write_index(path, index)
    if damage == "absent":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-50])
    elif damage == "text":
        path.write_text("hello")
    elif damage == "cloud":
        np.savez(path, points=np.ones((3, 3)))
    elif damage == "array":
        path = tmp_path / "a.npy"
        np.save(path, np.ones(3))
    elif damage == "rows":
        write_index(path, dataclasses.replace(index, ids=index.ids[:1]))
    else:
        write_index(path, dataclasses.replace(index, embeddings=np.ones((2, 3), int)))
    with pytest.raises(IndexFileError, match=r"a\.np.*make it with `python -m mixcon3d_jax.embed"):
        read_index(path, weights)
