"""MixCon3D in JAX: contrastive pre-training that ties point clouds, images and text together.

`mixcon3d_jax.load(path)` loads a trained model (see `mixcon3d_jax.inference.model`).
"""

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`load`, imported when it is asked for: importing this package imports nothing else."""
    if name == "load":
        from mixcon3d_jax.inference.model import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
