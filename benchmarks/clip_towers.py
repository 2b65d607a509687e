"""Speed of CLIP's towers against transformers' PyTorch ones, on this machine's CPU.

    python -m benchmarks.clip_towers [--clip=openai/clip-vit-base-patch32] [--json]

Needs the extra `torch` and transformers.  Both sides have the same sizes (those of a published
CLIP), random weights, float32, pixels and ids that are ready, and all cores; batches take turns.
Prints medians of the runs and the ratio of JAX to PyTorch, and how far bfloat16 is from float32.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from mixcon3d_jax.models.clip import BFLOAT16, FLOAT32, Clip, ClipConfig
from mixcon3d_jax.models.clip_variants import VARIANTS
from mixcon3d_jax.models.layers import normalize


def pytorch_towers(config: ClipConfig) -> dict[str, Callable[[np.ndarray], object]]:
    """transformers' towers of these sizes."""
    import torch
    from transformers import CLIPConfig, CLIPModel

    torch.set_num_threads(os.cpu_count())

    def transformer(tower) -> dict:
        return {
            "hidden_size": tower.width,
            "num_hidden_layers": tower.layers,
            "num_attention_heads": tower.heads,
            "intermediate_size": tower.mlp_width,
            "hidden_act": tower.activation,
        }

    vision = {"image_size": config.vision.image_size, "patch_size": config.vision.patch_size}
    model = CLIPModel(
        CLIPConfig(
            projection_dim=config.embedding_size,
            text_config=transformer(config.text),
            vision_config=transformer(config.vision) | vision,
        )
    ).eval()

    def run(method: Callable, rows: np.ndarray) -> None:
        with torch.no_grad():
            method(torch.from_numpy(rows))

    return {
        "images": lambda rows: run(model.get_image_features, rows.transpose(0, 3, 1, 2).copy()),
        "texts": lambda rows: run(model.get_text_features, rows),
    }


def jax_towers(clip: Clip) -> dict[str, Callable[[np.ndarray], jax.Array]]:
    """This package's towers, compiled."""
    towers = {}
    for name, tower in (("images", clip.vision), ("texts", clip.text)):
        graph, weights = nnx.split(tower)
        run = jax.jit(lambda weights, rows, graph=graph: nnx.merge(graph, weights)(rows))
        towers[name] = lambda rows, run=run, weights=weights: jax.block_until_ready(
            run(weights, rows)
        )
    return towers


def seconds(run: Callable[[np.ndarray], object], rows: np.ndarray) -> float:
    """What one batch takes."""
    began = time.perf_counter()
    run(rows)
    return time.perf_counter() - began


def main() -> None:
    """Prints a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clip", default="openai/clip-vit-base-patch32", choices=VARIANTS)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    config = VARIANTS[args.clip]
    side = config.vision.image_size
    rng = np.random.default_rng(0)
    rows = {
        "images": rng.normal(size=(args.batch, side, side, 3)).astype(np.float32),
        "texts": rng.integers(1, 49000, (args.batch, config.text.context_length)),
    }
    full = jax_towers(Clip(config, rngs=nnx.Rngs(0), numerics=FLOAT32))
    half = jax_towers(Clip(config, rngs=nnx.Rngs(0), numerics=BFLOAT16))
    theirs = pytorch_towers(config)
    figures: dict[str, object] = {
        "clip": args.clip,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, jax {jax.__version__}",
    }
    for name, batch in rows.items():
        ours, others = full[name], theirs[name]
        for run in (ours, others):
            run(batch)  # compiles, fills caches
        turns = [(seconds(ours, batch), seconds(others, batch)) for _ in range(args.runs)]
        found, expected = (
            args.batch / statistics.median(side) for side in zip(*turns, strict=True)
        )
        cosines = jnp.sum(
            normalize(ours(batch)) * normalize(half[name](batch).astype(jnp.float32)), axis=-1
        )
        figures[name] = {
            "jax_per_second": found,
            "pytorch_per_second": expected,
            "ratio": found / expected,
            "lowest_bfloat16_cosine": float(cosines.min()),
        }
    if args.json:
        print(json.dumps(figures, indent=2))
        return
    print(f"{args.clip}, batches of {args.batch}, {figures['machine']}")
    for name in rows:
        row = figures[name]
        print(
            f"{name:<8}{row['jax_per_second']:8.1f}/s, PyTorch {row['pytorch_per_second']:8.1f}/s, "
            f"ratio {row['ratio']:.2f}; lowest cosine of bfloat16 to float32 "
            f"{row['lowest_bfloat16_cosine']:.5f}"
        )


if __name__ == "__main__":
    main()
