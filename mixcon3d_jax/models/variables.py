"""A module's variables as plain nested dicts, and as paths."""

from collections.abc import Mapping
from typing import Any

import jax
from flax import nnx, traverse_util

from mixcon3d_jax.models.mixcon3d import MixCon3D, MixCon3DConfig

Tree = dict[Any, Any]


def split_module(module: nnx.Module) -> tuple[nnx.GraphDef, Tree, Tree]:
    """The module's structure, its parameters and its running statistics.

    `nnx.merge(structure, parameters, statistics)` puts them together again.
    """
    structure, params, stats = nnx.split(module, nnx.Param, nnx.BatchStat)
    return structure, nnx.to_pure_dict(params), nnx.to_pure_dict(stats)


def model_structure(config: MixCon3DConfig) -> tuple[nnx.GraphDef, Tree, Tree]:
    """Structure and the shapes of parameters and statistics, without computing any."""
    structure, params, stats = nnx.split(
        nnx.eval_shape(lambda: MixCon3D(config, rngs=nnx.Rngs(0))), nnx.Param, nnx.BatchStat
    )
    return structure, nnx.to_pure_dict(params), nnx.to_pure_dict(stats)


def flatten(tree: Mapping[Any, Any]) -> dict[str, Any]:
    """Nested dicts to `path/of/keys` -> leaf."""
    return {"/".join(map(str, k)): v for k, v in traverse_util.flatten_dict(tree).items()}


def unflatten_like(tree: Tree, flat: Mapping[str, Any]) -> Tree:
    """The tree with each leaf replaced by that of its path in `flat`.

    Raises:
      KeyError: if a path is missing.
      ValueError: if a shape differs.
    """

    def pick(path, leaf):
        name = "/".join(str(key.key) for key in path)
        if flat[name].shape != leaf.shape:
            raise ValueError(f"{name}: shape {flat[name].shape} where {leaf.shape} is expected")
        return flat[name]

    return jax.tree_util.tree_map_with_path(pick, tree)


def parameter_count(tree: Tree) -> int:
    """The number of scalars in a tree of arrays or shapes."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree))
