"""The loss of 65,536 rows, compiled by the real TPU compiler for 256 v5e chips."""

import functools

import jax
import jax.numpy as jnp
from jax.experimental import topologies
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from mixcon3d_jax import losses
from mixcon3d_jax.models.mixcon3d import TEMPERATURES
from mixcon3d_jax.sharding import MESH_AXES, batch_sharding, make_mesh

D = 1280


def temporaries(topology, rows_a_chip, negatives):
    """Bytes a chip of the loss and its gradient, and rows of the batch."""
    devices = topologies.get_topology_desc(topology, platform="tpu").devices
    mesh = make_mesh(1, -1, 1, list(devices))
    batch = rows_a_chip * mesh.size
    terms = jax.shard_map(
        functools.partial(
            losses.mixcon3d_terms, axis_names=MESH_AXES, negatives=negatives, logit_block=256
        ),
        mesh=mesh,
        in_specs=(P(MESH_AXES), P(), P(MESH_AXES)),
        out_specs=P(),
    )

    def total(embeddings, scales, has_text):
        return losses.total_loss(terms(embeddings, scales, has_text), losses.Weights())

    rows = functools.partial(jax.ShapeDtypeStruct, sharding=batch_sharding(mesh))
    scale = jax.ShapeDtypeStruct((), jnp.float32, sharding=NamedSharding(mesh, P()))
    compiled = (
        jax.jit(jax.value_and_grad(total, argnums=(0, 1)))
        .lower(
            {name: rows((batch, D), jnp.float32) for name in ("point", "image", "text", "fused")},
            dict.fromkeys(TEMPERATURES, scale),
            rows((batch,), jnp.bool_),
        )
        .compile()
    )
    return compiled.memory_analysis().temp_size_in_bytes, batch


def test_a_chips_memory_does_not_grow_with_the_pod():
    few, _ = temporaries("v5e:2x4", 256, "ring")
    many, batch = temporaries("v5e:16x16", 256, "ring")
    assert batch == 65_536
    assert 0 < many < 1.1 * few
    # The gathered loss has 65,536 embeddings of one kind alone in 320 MiB.
    assert many < 64 * 2**20


def test_the_gathered_loss_holds_local_x_global_logits():
    ring, batch = temporaries("v5e:2x4", 256, "ring")
    gathered, _ = temporaries("v5e:2x4", 256, "gather")
    assert gathered > ring + 256 * batch * 4
