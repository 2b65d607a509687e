"""Speed of CLIP's towers against transformers' PyTorch ones.

    python -m benchmarks.clip_towers [--clip=openai/clip-vit-base-patch32] [--batch=32] [--json]

Needs the extra `torch` and transformers.  Both sides have the same sizes (those of a published
CLIP), random weights, float32, pixels and ids that are ready, and take turns, each with all cores
in a process of its own.  On a CPU, this project keeps freed memory (`mixcon3d_jax.host_memory`);
PyTorch is measured without that, as it comes, and with it.  The last column is how far bfloat16 is
from float32 here.
"""

import argparse
import functools
import os
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks.timing import in_own_process, report, take_turns
from mixcon3d_jax.models.clip import BFLOAT16, FLOAT32, Clip, ClipConfig, Numerics
from mixcon3d_jax.models.clip_variants import VARIANTS
from mixcon3d_jax.models.layers import normalize

TOWERS = ("images", "texts")


def make_rows(config: ClipConfig, batch: int) -> dict[str, np.ndarray]:
    """Pixels and ids, as the processors give them."""
    rng = np.random.default_rng(0)
    side = config.vision.image_size
    return {
        "images": rng.normal(size=(batch, side, side, 3)).astype(np.float32),
        "texts": rng.integers(1, 49000, (batch, config.text.context_length)),
    }


def our_towers(
    config: ClipConfig, rows: dict[str, np.ndarray], numerics: Numerics = FLOAT32
) -> Callable[[str], jax.Array]:
    """Runs a tower by this project."""
    clip = Clip(config, rngs=nnx.Rngs(0), numerics=numerics)
    runs = {}
    for name, tower in zip(TOWERS, (clip.vision, clip.text), strict=True):
        graph, weights = nnx.split(tower)
        run = jax.jit(lambda weights, rows, graph=graph: nnx.merge(graph, weights)(rows))
        runs[name] = functools.partial(run, weights, jax.device_put(rows[name]))
    return lambda name: runs[name]()


def their_towers(config: ClipConfig, rows: dict[str, np.ndarray]) -> Callable[[str], object]:
    """Runs a tower by transformers."""
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
    pixels = torch.from_numpy(rows["images"].transpose(0, 3, 1, 2).copy())
    ids = torch.from_numpy(rows["texts"])
    runs = {
        "images": lambda: model.get_image_features(pixels),
        "texts": lambda: model.get_text_features(ids),
    }

    def run(name: str) -> None:
        with torch.no_grad():
            runs[name]()

    return run


def lowest_cosine(a: jax.Array, b: jax.Array) -> float:
    """Of the rows of both."""
    return float(jnp.sum(normalize(a) * normalize(b), axis=-1).min())


def main() -> None:
    """Prints a row for each tower."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clip", default="openai/clip-vit-base-patch32", choices=VARIANTS)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    config = VARIANTS[args.clip]
    inputs = make_rows(config, args.batch)
    took = {}
    with (
        in_own_process(our_towers, config, inputs, keeps_memory=True) as ours,
        in_own_process(their_towers, config, inputs, keeps_memory=False) as theirs,
        in_own_process(their_towers, config, inputs, keeps_memory=True) as theirs_keeping,
    ):
        for name in TOWERS:
            sides = {"this project": ours, "PyTorch": theirs, "keeping": theirs_keeping}
            of_tower = {side: functools.partial(run, name) for side, run in sides.items()}
            took[name] = take_turns(of_tower, args.rounds)
    full, half = (our_towers(config, inputs, numerics) for numerics in (FLOAT32, BFLOAT16))
    rows = [
        {
            f"{args.clip}, batch {args.batch}": name,
            "this project, ms (quartiles)": turns["this project"],
            "PyTorch": turns["PyTorch"],
            "ratio": turns["PyTorch"].median / turns["this project"].median,
            "PyTorch, freed memory kept": turns["keeping"],
            "its ratio": turns["keeping"].median / turns["this project"].median,
            "bfloat16, lowest cosine": f"{lowest_cosine(full(name), half(name)):.5f}",
        }
        for name, turns in took.items()
    ]
    report(rows, as_json=args.json)


if __name__ == "__main__":
    main()
