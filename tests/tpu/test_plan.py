"""Plans by the real TPU compiler, of a reduced model, so that a compilation takes seconds."""

import functools
import json
import subprocess
import sys
from pathlib import Path

import pytest

from configs import base
from mixcon3d_jax.planning.compiler import topology_devices
from mixcon3d_jax.planning.parts import OTHER, PARTS, part_of
from mixcon3d_jax.planning.programs import clip_sizes, compile_training_step
from mixcon3d_jax.planning.report import targets_to_json, targets_to_text
from mixcon3d_jax.planning.targets import plan_targets
from mixcon3d_jax.planning.topology import parse_topology

ROWS = 64  # a chip: of fewer, most temporaries would fit into memory on the chip
ROOT = Path(__file__).resolve().parents[2]
REDUCED = {
    "clip.embedding_size": 256,
    "data.num_points": 256,
    "model.dtype": "bfloat16",
    "model.encoder.dim": 128,
    "model.encoder.depth": 1,
    "model.encoder.heads": 2,
    "model.encoder.mlp_dim": 512,
    "model.encoder.sa_dim": 64,
    "model.encoder.patches": 16,
    "model.encoder.neighbors": 128,
}


def reduced_config(**changes):
    config = base.get_config()
    config.update_from_flattened_dict(REDUCED | changes)
    return config


@functools.cache
def with_a_ring(name):
    """The reduced model's step with negatives that travel around a ring of chips."""
    topology = parse_topology(name)
    config = reduced_config(
        **{
            "optim.batch_size": ROWS * topology.chips,
            "optim.negatives": "ring",
            "mesh.replica": topology.slices,
        }
    )
    return compile_training_step(config, topology_devices(topology))


def flops_by_hand(config, chips):
    """Of forward and backward pass of everything that multiplies, for one chip.

    Two for each multiply-add; the backward pass multiplies twice as often as the forward pass,
    except where the input needs no gradient.
    """
    encoder, size, points = config.model.encoder, config.clip.embedding_size, 9
    tokens = encoder.patches + 1
    inner = 64 * encoder.heads
    block = tokens * (4 * encoder.dim * inner + 2 * encoder.dim * encoder.mlp_dim)
    block += 2 * tokens**2 * inner
    grouped = encoder.patches * encoder.neighbors
    forward = 3 * encoder.depth * block
    forward += grouped * (2 * points * 64 + 3 * 64 * 64 + 3 * 64 * encoder.sa_dim)
    forward += 3 * encoder.patches * (3 + encoder.sa_dim) * encoder.dim + 3 * encoder.dim * size
    views, text, fusion = config.data.num_views, 1, 2
    forward += 2 * (views + text) * size * size + 3 * fusion * size * size
    # Four terms: logits forward and again backward, and the gradients of both their factors.
    logits = 4 * (1 + 3) * ROWS * chips * size
    return 2 * ROWS * (forward + logits)


@pytest.mark.parametrize(("name", "chips"), [("v5e:2x4", 8), ("v5e:16x16", 256)])
def test_flops_are_those_of_a_count_by_hand(name, chips):
    """Most of them in loops: the ring turns once for each chip."""
    cost = with_a_ring(name).cost()
    assert cost.unknown_loops == []
    expected = flops_by_hand(reduced_config(), chips)
    assert cost.flops == pytest.approx(expected, rel=0.04)
    assert cost.products["bfloat16"].flops > 0
    assert cost.products["float32 (highest)"].passes == 6


def test_every_part_has_its_name_in_the_step_and_bytes_by_part_are_all_bytes():
    step = with_a_ring("v5e:2x4")
    cost = step.cost()
    assert sum(cost.part_bytes.values()) == cost.hbm_bytes
    named = {
        part_of(instruction, computation)
        for computation in step.program.computations.values()
        for instruction in computation.instructions.values()
    }
    assert named == {*PARTS, OTHER} - {"towers"}
    assert cost.part_bytes[OTHER] <= 0.01 * cost.hbm_bytes


def test_the_update_and_the_average_move_every_array_once():
    step = with_a_ring("v5e:2x4")
    moved = step.cost().part_bytes
    # Parameters, gradients, two moments and the average are read, all but the gradients written.
    assert moved["optimizer"] + moved["ema"] <= 1.05 * 9 * step.memory.parameters


def test_memory_is_what_the_state_needs():
    memory = with_a_ring("v5e:2x4").memory
    assert memory.moments == pytest.approx(2 * memory.parameters, rel=0.01)
    assert memory.average == memory.parameters
    assert memory.batch >= ROWS * 256 * 3 * (2 + 1)
    assert memory.temporaries > 0


def test_messages_of_a_ring():
    """A block of candidates turns once forward; backward, it takes its gradient along."""
    block = ROWS * 256 * 4
    for name, chips in (("v5e:2x4", 8), ("v5e:16x16", 256)):
        sent = with_a_ring(name).cost().messages["collective-permute"]
        # Two rounds for the texts' candidates of three terms, two for the images' of one.
        assert sent.payload == pytest.approx(2 * 3 * chips * block, rel=0.05)
        assert sent.sent == sent.payload


def test_slices_send_each_other_sums_and_the_ring_that_crosses():
    messages = with_a_ring("4*v5e:16x16").cost().messages
    ring = messages["collective-permute"].payload
    assert messages["collective-permute between slices"].payload == ring
    # A chip sends a 256th of each large matrix, as sums in the slice are scattered first; what it
    # sends whole are the small arrays, which are a sixth of this small model.
    sums = messages["all-reduce between slices"].payload
    assert 0 < sums < with_a_ring("v5e:16x16").cost().messages["all-reduce"].payload / 5


def test_memory_with_a_ring_does_not_grow_with_the_chips():
    """Chips and batch grow together, from 8 chips to 256, and from 4 slices of 8 to 1,024 chips."""
    for slices in ("", "4*"):
        few, many = (with_a_ring(f"{slices}v5e:{grid}").memory for grid in ("2x4", "16x16"))
        assert many.peak - many.code == pytest.approx(few.peak - few.code, rel=0.1)
        # Of the full model's gigabytes, little: the program's part that sends and receives.
        assert many.code < few.code + 16 * 2**20


def test_the_command_for_an_accelerator_type():
    arguments = [f"--config.{key}={value}" for key, value in REDUCED.items()]
    done = subprocess.run(
        [sys.executable, "-m", "mixcon3d_jax.plan", "--config=configs/ensembled.py", "--json",
         "--topology=v4-32", "--batch=256", "--nolargest", "--efficiency=0.5", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["fits"]
    assert plan["flags"] == ["--config.optim.batch_size=256"]
    assert (plan["topology"]["chips"], plan["topology"]["chip"]["hbm_bytes"]) == (16, 32 * 2**30)
    assert plan["mesh"] == {"replica": 1, "data": 16, "fsdp": 1}
    floor, training = plan["step"]["floor"], plan["training"]
    assert training["steps"] == round(200 * 874_402 / 256)
    expected = max(floor["seconds"] / 0.5, floor["schedule"])
    assert training["step_seconds"] == pytest.approx(expected)
    assert training["hours"] == pytest.approx(training["steps"] * expected / 3600)
    assert plan["step"]["memory"]["peak"] == sum(
        size for name, size in plan["step"]["memory"].items() if name != "peak"
    )


def small_clip_config():
    return reduced_config(
        **{
            "clip.id": "mixcon3d-jax/small-clip",
            "clip.path": "small",
            "clip.embedding_size": 128,
            "optim.batch_size": ROWS * 8,
            "targets": "towers",
        }
    )


def tower_flops(tower, tokens: int, embedding_size: int, patch_values: int = 0) -> int:
    """Of one image or text: two for each multiply-add."""
    block = tokens * (4 * tower.width**2 + 2 * tower.width * tower.mlp_width)
    block += 2 * tokens**2 * tower.width
    return 2 * (
        tower.layers * block
        + (tokens - 1) * patch_values * tower.width
        + tower.width * embedding_size
    )


def test_a_step_with_towers_has_their_weights_and_work():
    config, topology = small_clip_config(), parse_topology("v5e:2x4")
    step = compile_training_step(config, topology_devices(topology))
    sizes = clip_sizes(config)
    size = sizes.vision.image_size
    # Weights are bfloat16, an eighth of the large ones on each chip.
    assert 0 < step.memory.clip < 2 * 1.4e6 / 2
    assert step.memory.batch >= ROWS * 4 * size**2 * 3
    vision = tower_flops(
        sizes.vision, sizes.vision.patches + 1, 128, sizes.vision.patch_size**2 * 3
    )
    text = tower_flops(sizes.text, sizes.text.context_length, 128)
    config.targets = "shards"
    alone = compile_training_step(config, topology_devices(topology)).cost().flops
    assert step.cost().flops - alone == pytest.approx(ROWS * (4 * vision + text), rel=0.05)


def test_embedding_ahead():
    topology = parse_topology("v5e:2x4")
    plan = plan_targets(small_clip_config(), topology, 8 * 32, lambda line: None)
    sizes = clip_sizes(small_clip_config())
    vision = tower_flops(
        sizes.vision, sizes.vision.patches + 1, 128, sizes.vision.patch_size**2 * 3
    )
    assert plan.towers["images"].cost.flops == pytest.approx(32 * vision, rel=0.05)
    text = tower_flops(sizes.text, sizes.text.context_length, 128)
    assert plan.towers["texts"].cost.flops == pytest.approx(32 * text, rel=0.05)
    images, texts = (plan.towers[name].memory for name in ("images", "texts"))
    assert images.clip == pytest.approx(texts.clip, rel=0.05)
    assert targets_to_json(plan)["fits"]
    told = targets_to_text(plan)
    assert "small on v5e:2x4: 8 chips of v5e, batches of 256" in told
    assert "images: FITS; at most" in told
