"""Packaging of a project that stands in for the real one where only the scripts are tested."""

from setuptools import setup

setup(
    name="mixcon3d-jax",
    version="0",
    packages=["mixcon3d_jax"],
    extras_require={"tpu": [], "gcs": []},
)
