"""Flat exports; tests/parity has those for PyTorch."""

import dataclasses
import json
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict
from safetensors import safe_open
from safetensors.numpy import save_file

from mixcon3d_jax.errors import InputError
from mixcon3d_jax.exchange.file_contents import snapshot_of_file
from mixcon3d_jax.exchange.own_export import write_export
from mixcon3d_jax.exchange.pytorch_names import WeightsError, tree_to_pytorch
from mixcon3d_jax.exchange.safetensors_file import SafetensorsFileError
from mixcon3d_jax.exchange.weights_file import read_weights
from mixcon3d_jax.files import WriteError
from tests.exchange.checkpoints import (
    assert_same_arrays,
    config_of,
    random_groups,
    random_snapshot,
)
from tests.exchange.test_runs import without

VARIANTS = [{}, {"share_proj": False}, {"head": "mlp", "view_pooling": "max_proj"}]


def read_again(path, scaling=None):
    file = read_weights(path)
    return snapshot_of_file(file, ConfigDict(file.about.config), scaling)


@pytest.mark.parametrize("model", VARIANTS)
@pytest.mark.parametrize("weights", ["ema", "raw"])
def test_one_set_of_weights_comes_back_bit_for_bit(model, weights, tmp_path):
    snapshot = random_snapshot(config_of(**model))
    write_export(tmp_path / "a.safetensors", snapshot, weights)
    found = read_again(tmp_path / "a.safetensors")
    expected = getattr(snapshot, weights)
    assert_same_arrays(found.raw, expected)
    assert_same_arrays(found.ema, expected)
    assert (found.about, found.step, found.moments) == (snapshot.about, 3, {})
    assert f"one set of weights ({weights})" in found.notes[-1]


def test_the_file_says_what_it_is(tmp_path):
    snapshot = random_snapshot(config_of())
    write_export(tmp_path / "a.safetensors", snapshot, "ema")
    with safe_open(tmp_path / "a.safetensors", framework="numpy") as file:
        header = file.metadata()
        names = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert (header["clip_id"], header["up_axis"]) == ("generated-clip", "y")
    assert (header["step"], header["weights"]) == ("3", "ema")
    assert "0.4 grey" in header["color_rule"]
    assert json.loads(header["about"])["config"]["model"]["scaling"] == 3
    for key, array in tree_to_pytorch(snapshot.ema).items():
        np.testing.assert_array_equal(names.pop(key.replace("/", ".", 1)), array)
    # What strict loading there asks for beside the weights.
    assert {name.split(".")[0] for name in names} == {"state_dict", "image_proj"}
    assert all("image_proj" in name or "num_batches_tracked" in name for name in names)


def test_the_file_may_be_read_by_others(tmp_path):
    write_export(tmp_path / "a.safetensors", random_snapshot(config_of()), "ema")
    (tmp_path / "plain").write_text("")
    assert os.stat(tmp_path / "a.safetensors").st_mode == os.stat(tmp_path / "plain").st_mode


def test_a_missing_module_is_left_out_and_still_missing(tmp_path):
    part = without(random_snapshot(config_of()), "fusion")
    write_export(tmp_path / "a.safetensors", part, "raw")
    found = read_again(tmp_path / "a.safetensors")
    assert found.about.missing == ("fusion",)
    assert_same_arrays(found.raw, part.raw)


def test_a_file_without_a_header_is_read_as_a_checkpoint(tmp_path):
    groups = random_groups(config_of(), 0)
    flat = {f"{g}.{name}": array for g, arrays in groups.items() for name, array in arrays.items()}
    save_file(flat, tmp_path / "a.safetensors")
    file = read_weights(tmp_path / "a.safetensors")
    assert file.about is None
    found = snapshot_of_file(file, config_of(), None)
    np.testing.assert_array_equal(found.raw["encoder/proj/bias"], groups["state_dict"]["proj.bias"])
    np.testing.assert_array_equal(
        found.ema["encoder/proj/bias"], groups["state_dict_ema"]["proj.bias"]
    )


def test_a_lost_weight_is_named(tmp_path):
    snapshot = random_snapshot(config_of())
    raw = {path: array for path, array in snapshot.raw.items() if "fused_text" not in path}
    write_export(tmp_path / "a.safetensors", dataclasses.replace(snapshot, raw=raw), "raw")
    with pytest.raises(WeightsError, match=r"missing:\n  pc_img_to_text_logit_scale/logit_scale"):
        read_again(tmp_path / "a.safetensors")


def test_a_wrong_scaling_is_refused(tmp_path):
    write_export(tmp_path / "a.safetensors", random_snapshot(config_of()), "raw")
    with pytest.raises(WeightsError, match=r"a\.safetensors: --scaling=3 has"):
        read_again(tmp_path / "a.safetensors", scaling=3)


@pytest.mark.parametrize("kept", [0, 7, 100, 0.5, 0.999])
def test_a_truncated_file_is_named(kept, tmp_path):
    path = tmp_path / "a.safetensors"
    write_export(path, random_snapshot(config_of()), "raw")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if 0 < kept < 1 else kept])
    with pytest.raises(SafetensorsFileError, match=r"a\.safetensors is no safetensors file"):
        read_weights(path)


def test_other_files_are_named(tmp_path):
    path = tmp_path / "a.safetensors"
    with pytest.raises(SafetensorsFileError, match="there is no such file"):
        read_weights(path)
    path.write_text("hello, this is no such file")
    with pytest.raises(SafetensorsFileError, match="is no safetensors file"):
        read_weights(path)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"version": "2"}, "version '2', while this program reads version 1"),
        ({}, "version None"),
        ({"version": "1", "about": "{"}, "can't be read"),
        ({"version": "1"}, "can't be read"),
        ({"version": "1", "about": "{}", "step": "x"}, "step is 'x'"),
    ],
)
def test_a_damaged_header_is_named(header, message, tmp_path):
    save_file({"a.b": np.zeros(2)}, tmp_path / "a.safetensors", {"format": "mixcon3d_jax"} | header)
    with pytest.raises(WeightsError, match=message):
        read_weights(tmp_path / "a.safetensors")


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match=r"a\.safetensors can't be written"):
        write_export(tmp_path / "file" / "a.safetensors", random_snapshot(config_of()), "raw")


@settings(max_examples=40, deadline=None)
@given(start=st.integers(0, 3000), noise=st.binary(min_size=1, max_size=40))
def test_noise_in_a_file_is_an_input_error_or_other_numbers(start, noise, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp()
    whole = folder / "whole.safetensors"
    if not whole.exists():
        write_export(whole, random_snapshot(config_of()), "raw")
    content = bytearray(whole.read_bytes())
    content[start : start + len(noise)] = noise
    (folder / "noise.safetensors").write_bytes(content)
    said = "noise.safetensors"
    try:
        snapshot_of_file(read_weights(folder / said), config_of(), None)
    except InputError as error:
        said = str(error)
    assert "noise.safetensors" in said
