import json

import pytest

from mixcon3d_jax.errors import InputError
from mixcon3d_jax.inference.inputs import AssetFile, find_assets


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("b.glb", "a.GLTF", "deep/c.glb", "notes.txt", "a.png"):
        (tmp_path / name).touch()
    return tmp_path


def test_files_and_folders(folder):
    found = find_assets([folder / "b.glb", folder], None)
    names = ["b.glb", "a.GLTF", "b.glb", "deep/c.glb"]
    assert found == [AssetFile(str(folder / name), folder / name, "y") for name in names]


def test_a_manifest(folder):
    entries = [{"path": "deep/c.glb", "class": "chair", "text": "a chair", "id": "7"}]
    (folder / "manifest.json").write_text(json.dumps(entries))
    (found,) = find_assets([folder / "manifest.json"], "z")
    assert found == AssetFile("7", folder / "deep/c.glb", "z", folder, "chair")


@pytest.mark.parametrize("name", ["a.ply", "a.npy", "a.npz", "a.obj", "a.stl", "a.off"])
def test_an_axis_that_no_one_knows_has_to_be_said(name):
    with pytest.raises(InputError, match=rf"{name}: files of this kind don't say which axis"):
        find_assets(["b.glb", name], None)
    assert [file.up_axis for file in find_assets(["b.glb", name], "z")] == ["z", "z"]


def test_what_is_refused(tmp_path):
    with pytest.raises(InputError, match="no mesh or point cloud in it"):
        find_assets([tmp_path], "y")
    with pytest.raises(InputError, match="no files were given"):
        find_assets([], "y")
    with pytest.raises(InputError, match=r"gs://a/b\.glb: copy it to this machine"):
        find_assets(["gs://a/b.glb"], "y")
    with pytest.raises(InputError, match="up axis 'x'"):
        find_assets(["b.glb"], "x")
