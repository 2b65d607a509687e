"""Checkpoints that this project did not write; tests/parity reads real files of them."""

from string import ascii_letters

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcon3d_jax.exchange.file_contents import snapshot_of_file
from mixcon3d_jax.exchange.pytorch_names import WeightsError, tree_from_pytorch
from mixcon3d_jax.exchange.pytorch_optimizer import optimizer_slots, optimizer_state
from mixcon3d_jax.exchange.weight_groups import find_groups
from mixcon3d_jax.training.run_config import model_config
from tests.exchange.checkpoints import config_of, random_arrays, random_groups, weights_file


def flat(groups, *names):
    return tree_from_pytorch(
        {f"{group}/{name}": a for group in names for name, a in groups[group].items()}
    )


def read(groups, config=None, **fields):
    return snapshot_of_file(weights_file(groups, **fields), config or config_of(), None)


def optimizer(config, trains_image_proj):
    """A state in which every parameter's moments are random."""
    config.model.share_proj = False
    model = model_config(config)
    slots = optimizer_slots(model)
    arrays = random_arrays(model, 7)
    moments = {
        slot.path: (arrays[slot.path], arrays[slot.path] ** 2)
        for slot in slots
        if trains_image_proj or not slot.path.startswith("image_proj/")
    }
    state = optimizer_state(slots, moments, 5)
    return {"state": state, "param_groups": [{"params": list(range(len(slots)))}]}, moments


def test_the_encoder_has_its_average_and_the_heads_are_raw():
    groups = random_groups(config_of(), 0)
    found = read(groups, step=5, epoch=2)
    heads = flat(groups, "text_proj", "pc_img_proj", "image_logit_scale", "text_logit_scale")
    raw = flat(groups, "state_dict") | heads
    averages = tree_from_pytorch(
        {f"state_dict/{name}": array for name, array in groups["state_dict_ema"].items()}
    )
    for arrays, expected in ((found.raw, raw), (found.ema, averages | heads)):
        assert arrays.keys() == expected.keys()
        for path, array in expected.items():
            np.testing.assert_array_equal(arrays[path], array, err_msg=path)
    assert (found.step, found.about.epoch, found.about.missing) == (5, 2, ())
    told = "\n".join(found.notes)
    assert "none of text_proj" in told
    assert "no img_text_logit_scale, pc_img_to_text_logit_scale: at their start, 2.6" in told
    assert "step 0 with fresh moments" in told


@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize("said", [True, False])
def test_moments_tell_which_projection_images_went_through(trained, said):
    state, moments = optimizer(config_of(), trained)
    groups = random_groups(config_of(), 0)
    found = read(groups, config_of(share_proj=said), optimizer=state, step=5)
    assert found.about.config["model"]["share_proj"] == (not trained)
    assert ("image_proj/kernel" in found.raw) == trained
    assert found.moments.keys() == moments.keys()
    for path, pair in moments.items():
        np.testing.assert_array_equal(found.moments[path], pair)
    assert "training continues at step 5; " in found.notes[-1]


@pytest.mark.parametrize("said", [True, False])
def test_without_moments_the_config_says_which(said):
    found = read(random_groups(config_of(), 0), config_of(share_proj=said))
    assert found.about.config["model"]["share_proj"] == said
    assert ("image_proj/kernel" in found.raw) != said


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda state: state["param_groups"][0]["params"].pop(0), None),  # one is allowed: below
        (lambda state: state["param_groups"][0].update(params=[0, 1]), "of 2 parameters where"),
        (lambda state: state.pop("state"), "no state of an optimiser"),
        (lambda state: state.update(state={}), "made no step"),
        (lambda state: state["state"].update({0: {"step": 1}}), "no moments of AdamW"),
    ],
)
def test_moments_that_do_not_fit_are_left_out_and_said(change, told):
    state, _ = optimizer(config_of(), False)
    change(state)
    groups = random_groups(config_of(), 0)
    if told is None:  # as many as without the image-text temperature, but others
        with pytest.raises(WeightsError, match="moments don't fit"):
            read(groups, optimizer=state, step=5)
        return
    found = read(groups, optimizer=state, step=5)
    assert found.moments == {}
    assert told in found.notes[-1]
    assert "training begins at step 0" in found.notes[-1]


def test_an_optimiser_without_the_image_text_temperature():
    state, moments = optimizer(config_of(), False)
    last = state["param_groups"][0]["params"].pop()
    del state["state"][last]
    found = read(random_groups(config_of(), 0), optimizer=state, step=5)
    assert moments.keys() - found.moments.keys() == {"logit_scales/image_text"}


def test_moments_without_a_step_are_of_no_use():
    state, _ = optimizer(config_of(), False)
    found = read(random_groups(config_of(), 0), optimizer=state)
    assert found.moments == {}
    assert "at which step" in found.notes[-1]


def test_moments_of_another_shape_are_listed():
    state, _ = optimizer(config_of(), False)
    state["state"][0]["exp_avg"] = np.zeros(3, np.float32)
    with pytest.raises(WeightsError, match=r"state_dict/ppat\.cls_token, exp_avg: \(3,\) where"):
        read(random_groups(config_of(), 0), optimizer=state, step=5)


def test_a_layer_behind_the_views_that_is_not_there_is_missing():
    found = read(random_groups(config_of(), 0), config_of(view_pooling="avg_proj"))
    assert found.about.missing == ("multi_view_proj",)
    assert not any(path.startswith("multi_view_proj") for path in found.raw)
    assert any("all modes with views mean nothing" in note for note in found.notes)


@pytest.mark.parametrize("where", ["group", "array", "among the weights"])
def test_openshape_has_one_temperature_and_no_heads(where):
    encoder = random_groups(config_of(), 0)["state_dict"]
    content = {"state_dict": {f"module.{name}": array for name, array in encoder.items()}}
    content |= {"text_proj": None, "image_proj": None}
    scale = np.float32([3.25])
    if where == "group":
        content["logit_scale"] = {"module.logit_scale": scale}
    elif where == "array":
        content["logit_scale"] = scale
    else:
        content["state_dict"]["logit_scale"] = scale
    found = read(find_groups(content, ()), config_of(head="mlp"))
    assert found.about.missing == ("fusion",)
    assert found.about.config["model"]["head"] == "linear"
    assert found.raw["logit_scales/point_text"] == found.raw["logit_scales/point_image"] == 3.25
    np.testing.assert_array_equal(found.raw["text_proj/kernel"], np.eye(16))
    assert found.ema.keys() == found.raw.keys()
    assert not any(path.startswith(("fusion", "image_proj")) for path in found.raw)


def test_a_head_without_the_texts_projection_is_refused():
    groups = random_groups(config_of(), 0)
    del groups["text_proj"]
    with pytest.raises(WeightsError, match=r"missing:\n  text_proj/weight\n  text_proj/bias"):
        read(groups)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_names_are_taken_with_and_without_prefix(prefix):
    groups = random_groups(config_of(), 0)
    content = {
        group: {prefix + name: array for name, array in arrays.items()}
        for group, arrays in groups.items()
    }
    content |= {"best_lvis_acc": np.float32(3), "scheduler": None, "config": {"lr": 3}}
    found = find_groups(content, ["best_lvis_acc"])
    assert found.keys() == groups.keys()
    assert all(found[group].keys() == groups[group].keys() for group in groups)


def test_all_wrong_names_and_shapes_are_listed_at_once():
    groups = random_groups(config_of(), 0)
    groups["state_dict"]["ppat.more"] = groups["state_dict"].pop("ppat.lift.2.bias")
    groups["state_dict_ema"]["proj.bias"] = np.zeros(7, np.float32)
    groups["pc_img_proj"]["fc3.weight"] = np.zeros(7, np.float32)
    groups["moer"] = {"w": np.zeros(2, np.float32)}
    with pytest.raises(WeightsError) as caught:
        read(groups)
    assert str(caught.value).endswith(
        "weights that the model has no place for:\n"
        "  state_dict/ppat.more\n  pc_img_proj/fc3.weight\n  moer/w\n"
        "weights that are missing:\n  state_dict/ppat.lift.2.bias\n"
        "weights of another shape:\n  state_dict_ema/proj.bias: (7,) where (16,) is expected"
    )
    assert str(caught.value).startswith("a.pt: ")


GROUPS = random_groups(config_of(), 0)
KEYS = [(group, name) for group, arrays in GROUPS.items() for name in arrays]
some_keys = st.sets(st.sampled_from(KEYS), max_size=4)


@settings(max_examples=25, deadline=None)
@given(
    lost=some_keys, bent=some_keys, added=st.sets(st.text(ascii_letters, min_size=1), max_size=3)
)
def test_whatever_is_wrong_is_listed_and_nothing_else(lost, bent, added):
    groups = {group: dict(arrays) for group, arrays in GROUPS.items()}
    for group, name in lost | bent:
        array = groups[group].pop(name)
        if (group, name) not in lost:
            groups[group][name] = np.zeros((*array.shape, 2), np.float32)
    groups["text_proj"] |= {f"more.{name}": np.zeros(1, np.float32) for name in added}
    # A group of one weight that is lost is no group any more.
    groups = {group: arrays for group, arrays in groups.items() if arrays}
    lost = {f"  {group}/{name}" for group, name in lost if group in groups}
    bent = {f"  {group}/{name}: " for group, name in bent if group in groups} - {
        f"{line}: " for line in lost
    }
    try:
        read(groups)
    except WeightsError as error:
        lines = [line for line in str(error).split("\n") if line.startswith("  ")]
    else:
        lines = []
    found = {line.split(": ")[0] + ": " if ": " in line else line for line in lines}
    assert len(lines) == len(lost | bent) + len(added)
    assert lost | bent <= found


def test_both_kinds_of_names_at_once_are_refused():
    groups = random_groups(config_of(), 0)
    content = {"state_dict": groups["state_dict"] | {"module.proj.bias": np.zeros(16)}}
    with pytest.raises(WeightsError, match=r"no place for:\n  state_dict/module\.proj\.bias"):
        read(find_groups(content, ()))
