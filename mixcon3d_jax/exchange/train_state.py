"""Training states as plain arrays, and back."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mixcon3d_jax.exchange.snapshot import About, Arrays, Snapshot
from mixcon3d_jax.models.variables import Tree, flatten
from mixcon3d_jax.training.state import TrainState

# What AdamW's first and second moments are called in optax.
_MOMENTS = ("mu", "nu")


def snapshot_of(state: TrainState, about: About) -> Snapshot:
    """The arrays of a state, without those of modules that `about` says are missing."""
    state = jax.device_get(state)
    moments: dict[str, dict[str, np.ndarray]] = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(state.opt_state)[0]:
        which, parameter = _moment(path)
        if which:
            moments.setdefault(parameter, {})[which] = leaf
    both = {path: (found["mu"], found["nu"]) for path, found in moments.items()}
    step = int(state.step)
    return Snapshot(
        about=about,
        step=step,
        raw=_without(about.missing, flatten(state.params) | flatten(state.stats)),
        ema=_without(about.missing, flatten(state.ema_params) | flatten(state.ema_stats)),
        moments=_without(about.missing, both) if step else {},
    )


def fill_state(state: TrainState, snapshot: Snapshot) -> TrainState:
    """The state with the snapshot's arrays; what the snapshot lacks stays as it is.

    Training continues from the snapshot's step if it has moments; without them it begins at 0.
    """
    step = snapshot.step if snapshot.moments else 0

    def fill_optimizer(path: tuple, leaf: jax.Array) -> jax.Array:
        which, parameter = _moment(path)
        if which and parameter in snapshot.moments:
            return _like(leaf, snapshot.moments[parameter][_MOMENTS.index(which)])
        return jnp.full_like(leaf, step) if _key(path[-1]) == "count" else leaf

    return TrainState(
        step=jnp.full_like(state.step, step),
        params=_filled(state.params, snapshot.raw),
        stats=_filled(state.stats, snapshot.raw),
        opt_state=jax.tree_util.tree_map_with_path(fill_optimizer, state.opt_state),
        ema_params=_filled(state.ema_params, snapshot.ema),
        ema_stats=_filled(state.ema_stats, snapshot.ema),
    )


def _filled(tree: Tree, arrays: Arrays) -> Tree:
    def pick(path: tuple, leaf: jax.Array) -> jax.Array:
        name = "/".join(map(_key, path))
        return _like(leaf, arrays[name]) if name in arrays else leaf

    return jax.tree_util.tree_map_with_path(pick, tree)


def _like(leaf: jax.Array, array: np.ndarray) -> jax.Array:
    if leaf.shape != array.shape:
        raise ValueError(f"an array of shape {array.shape} where {leaf.shape} is expected")
    return jax.device_put(array.astype(leaf.dtype, copy=False), leaf.sharding)


def _moment(path: tuple) -> tuple[str | None, str]:
    """`mu` or `nu` and the path of the parameter, for a leaf of the optimiser's state."""
    keys = [_key(key) for key in path]
    for which in _MOMENTS:
        if which in keys:
            return which, "/".join(keys[keys.index(which) + 1 :])
    return None, ""


def _key(key: Any) -> str:
    return str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key))))


def _without(modules: tuple[str, ...], arrays: Mapping[str, Any]) -> dict[str, Any]:
    return {path: array for path, array in arrays.items() if path.split("/")[0] not in modules}
