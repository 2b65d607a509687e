import dataclasses

import pytest

from mixcon3d_jax.exchange.model_from_shapes import fit_model, read_dimensions
from mixcon3d_jax.exchange.pytorch_names import WeightsError
from mixcon3d_jax.exchange.weight_groups import expected_shapes
from mixcon3d_jax.models.mixcon3d import MixCon3DConfig
from mixcon3d_jax.models.pointbert import SCALINGS
from mixcon3d_jax.training.run_config import model_config
from tests.exchange.checkpoints import config_of


def shapes_of(encoder, size=16, head="linear"):
    return expected_shapes(MixCon3DConfig(encoder, size, head=head))


@pytest.mark.parametrize("scaling", SCALINGS)
def test_every_scaling_is_known_by_its_shapes(scaling):
    config = config_of()
    found = fit_model(config, shapes_of(SCALINGS[scaling]), None)
    assert f"scaling {scaling} (" in found
    assert config.model.scaling == scaling
    fitted = model_config(config).encoder
    # What shapes can't tell stays the config's.
    expected = dataclasses.replace(SCALINGS[scaling], patches=16, radius=0.5, neighbors=16)
    assert fitted == expected


@pytest.mark.parametrize("scaling", SCALINGS)
def test_a_named_scaling_that_is_right_is_taken(scaling):
    config = config_of()
    fit_model(config, shapes_of(SCALINGS[scaling]), scaling)
    assert config.model.scaling == scaling


@pytest.mark.parametrize("said", [1, 2, 4, 5, 6])
def test_a_named_scaling_that_is_wrong_is_refused(said):
    with pytest.raises(WeightsError, match=rf"--scaling={said} has .*, scaling 3;"):
        fit_model(config_of(), shapes_of(SCALINGS[3]), said)


def test_dimensions_of_no_scaling_are_taken_over():
    encoder = dataclasses.replace(SCALINGS[3], dim=24, depth=1, heads=3, mlp_dim=10, sa_dim=5)
    config = config_of()
    assert "an encoder of its own" in fit_model(config, shapes_of(encoder), None)
    fitted = model_config(config).encoder
    assert fitted == dataclasses.replace(encoder, patches=16, radius=0.5, neighbors=16)


def test_a_config_that_has_the_dimensions_stays_as_it_is():
    config = config_of()
    before = config.to_dict()
    fit_model(config, expected_shapes(model_config(config)), None)
    assert config.to_dict() == before


@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_the_head_is_known_by_its_names(head):
    config = config_of(head="linear" if head == "mlp" else "mlp")
    fit_model(config, shapes_of(SCALINGS[1], head=head), None)
    assert config.model.head == head


def test_embeddings_of_another_clip_are_refused():
    with pytest.raises(WeightsError, match=r"12 entries.*'generated-clip' 16.*embedding_size=12"):
        fit_model(config_of(), shapes_of(SCALINGS[1], size=12), None)


@pytest.mark.parametrize("wrong", ["ppat.cls_token", "ppat.lift.2.weight", "proj.weight"])
def test_one_wrong_shape_does_not_mislead(wrong):
    shapes = shapes_of(SCALINGS[1])
    shapes["state_dict"][wrong] = (3, 5)
    assert "scaling 1" in fit_model(config_of(), shapes, None)


@pytest.mark.parametrize("shapes", [{}, {"w": (3,)}, {"ppat.cls_token": ()}])
def test_other_weights_are_refused(shapes):
    with pytest.raises(WeightsError, match="no weights of a PointBERT"):
        read_dimensions(shapes)
