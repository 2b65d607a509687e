"""The PyTorch mirror's weights in this project's model, and two sets of arrays compared."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from mixcon3d_jax.exchange.pytorch_names import tree_from_pytorch
from mixcon3d_jax.models.mixcon3d import MixCon3D
from mixcon3d_jax.models.variables import Tree, model_structure, unflatten_like
from tests.parity.pytorch_mirror import Mirror
from tests.parity.pytorch_training import named_weights


def jax_weights(model: Mirror) -> tuple[nnx.GraphDef, Tree, Tree]:
    """The same model here: structure, parameters and running statistics."""
    structure, params, stats = model_structure(model.config)
    flat = tree_from_pytorch(named_weights(model.used_groups()))
    params, stats = unflatten_like(params, flat), unflatten_like(stats, flat)
    return structure, *jax.tree.map(jnp.asarray, (params, stats))


def jax_model(model: Mirror) -> MixCon3D:
    """The same model here."""
    return nnx.merge(*jax_weights(model))


def assert_close(
    found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], relative: float
) -> None:
    """Every array within `relative` of the expected one in the L2 norm; the same names.

    Biases before a BatchNorm are left out: their true gradient is zero, PyTorch's is rounding
    noise, which Adam makes steps of full size of.
    """
    assert found.keys() == expected.keys()
    for path, array in expected.items():
        if "set_abstraction/convs" in path and path.endswith("/bias"):
            continue
        error, size = np.linalg.norm(found[path] - array), np.linalg.norm(array)
        assert error <= relative * size, f"{path}: an error of {error:.2g} in {size:.2g}"
