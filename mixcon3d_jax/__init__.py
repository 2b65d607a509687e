"""MixCon3D in JAX: contrastive pre-training that ties point clouds, images and text together."""

__version__ = "0.1.0"
