"""The TPU compiler without a TPU: libtpu is told which machine to compile for."""

import os

import jax

# What is compiled for a TPU can't be run, nor read back, here.
jax.config.update("jax_compilation_cache_dir", None)

os.environ |= {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "JAX_PLATFORMS": "cpu",
}
