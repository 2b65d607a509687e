"""Trains the small CLIP that ships with the package, on renders and texts of built-in objects.

    python -m data_prep.train_small_clip --output=DIR

writes a CLIP folder in Hugging Face layout.  `data_prep.small_clip_accuracy` measures it.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
from flax import nnx

from data_prep.small_clip_data import RenderedObjects, render_objects
from data_prep.small_clip_folder import small_clip_config, write_settings, write_weights
from data_prep.small_clip_objective import train_step
from data_prep.small_clip_texts import TextSampler, made_up_words
from mixcon3d_jax.errors import exit_on_input_error
from mixcon3d_jax.models.clip import Clip
from mixcon3d_jax.models.clip_config import import_transformers, read_config
from mixcon3d_jax.progress import progress

OBJECTS_PER_STEP, VIEWS_PER_OBJECT, WORDS_PER_STEP = 48, 3, 8
# Texts longer than this are cut in training; few are, and attention over less is cheaper.
TRAINING_CONTEXT = 48
# Half of the patches are read, until the last part of the training reads them all.
KEPT_SHARE, WHOLE_IMAGES_FROM = 0.5, 0.9
MUON_LEARNING_RATE, ADAM_LEARNING_RATE, WEIGHT_DECAY, WARM_UP_STEPS = 5e-3, 1.5e-3, 0.05, 100


def batches(objects: RenderedObjects, tokenizer, seed: int) -> Iterator[dict[str, np.ndarray]]:
    """Batches without end: objects in random order, three views and one text of each."""
    rng = np.random.default_rng(seed)
    sampler = TextSampler.of(objects.classes, objects.texts)
    count, views = objects.renders.shape[:2]
    size = min(OBJECTS_PER_STEP, count)
    while True:
        order = rng.permutation(count)
        for start in range(0, count - size + 1, size):
            chosen = order[start : start + size]
            texts, keys = sampler.sample(chosen, rng)
            first, second = made_up_words(WORDS_PER_STEP, rng)
            shown = np.repeat(chosen, VIEWS_PER_OBJECT)
            yield {
                "images": objects.renders[shown, rng.integers(views, size=len(shown))],
                "ids": token_ids(tokenizer, [*texts, *first, *second]),
                "true": sampler.true_of(shown, keys),
            }


def token_ids(tokenizer, texts: list[str]) -> np.ndarray:
    """Ids, each row filled up with its end, (texts, TRAINING_CONTEXT)."""
    return np.array(
        tokenizer(texts, truncation=True, max_length=TRAINING_CONTEXT, padding="max_length")[
            "input_ids"
        ],
        np.int32,
    )


def make_optimizer(steps: int) -> optax.GradientTransformation:
    """Muon for the matrices of the transformers, AdamW for the rest; warm-up, cosine to zero.

    Muon (https://kellerjordan.github.io/posts/muon) gets as far as AdamW in two thirds of the
    steps here, measured over the first hundred.
    """

    def schedule(peak: float) -> optax.Schedule:
        return optax.warmup_cosine_decay_schedule(0.0, peak, min(WARM_UP_STEPS, steps // 2), steps)

    def hidden_matrices(params: dict) -> dict:
        return jax.tree_util.tree_map_with_path(
            lambda path, x: (
                optax.contrib.MuonDimensionNumbers()
                if x.ndim == 2 and "blocks" in jax.tree_util.keystr(path)
                else None
            ),
            params,
        )

    return optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.contrib.muon(
            schedule(MUON_LEARNING_RATE),
            # Updates of the size of Adam's: https://arxiv.org/abs/2502.16982.
            consistent_rms=0.2,
            weight_decay=WEIGHT_DECAY,
            muon_weight_dimension_numbers=hidden_matrices,
            adam_learning_rate=schedule(ADAM_LEARNING_RATE),
            adam_b2=0.98,
        ),
    )


def train(output: Path, objects: RenderedObjects, steps: int, seed: int) -> None:
    """Trains from scratch and writes the folder."""
    write_settings(output, small_clip_config())
    config = read_config(output)
    tokenizer = import_transformers().AutoTokenizer.from_pretrained(output)
    graph, state = nnx.split(Clip(config, rngs=nnx.Rngs(seed)))
    params = {"clip": state, "logit_scale": jnp.float32(np.log(1 / 0.07))}
    optimizer = make_optimizer(steps)
    moments = optimizer.init(params)
    key, patches = jax.random.key(seed), config.vision.patches
    loss_sum, report = 0.0, max(1, steps // 40)
    source = batches(objects, tokenizer, seed)
    for step in progress(range(steps), steps, "training the small CLIP"):
        whole = step >= WHOLE_IMAGES_FROM * steps
        params, moments, loss = train_step(
            params,
            moments,
            next(source),
            jax.random.fold_in(key, step),
            graph=graph,
            optimizer=optimizer,
            keep=patches if whole else int(KEPT_SHARE * patches),
        )
        loss_sum += float(loss)
        if (step + 1) % report == 0:
            scale = float(jnp.exp(params["logit_scale"]))
            print(f"step {step + 1}: loss {loss_sum / report:.3f}, scale {scale:.1f}", flush=True)
            loss_sum = 0.0
    write_weights(output, nnx.merge(graph, params["clip"]), float(params["logit_scale"]))


@exit_on_input_error
def main(arguments: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m data_prep.train_small_clip",
        description="Trains the small CLIP on renders and texts of built-in objects.",
        epilog="example: python -m data_prep.train_small_clip --output=/tmp/small_clip",
    )
    parser.add_argument("--output", type=Path, required=True, help="the CLIP folder to write")
    parser.add_argument("--cache", type=Path, help="renders are kept here (default OUTPUT.renders)")
    parser.add_argument("--objects-per-class", type=int, default=120, help="default 120")
    parser.add_argument("--steps", type=int, default=2600, help="default 2600")
    parser.add_argument("--seed", type=int, default=0, help="another seed, another CLIP")
    flags = parser.parse_args(arguments)
    if flags.objects_per_class < 1 or flags.steps < 1:
        parser.error("--objects-per-class and --steps: give 1 or more")
    cache = flags.cache or flags.output.with_name(f"{flags.output.name}.renders")
    objects = render_objects(cache, flags.seed, range(flags.objects_per_class))
    train(flags.output, objects, flags.steps, flags.seed)
    print(f"wrote {flags.output}")


if __name__ == "__main__":
    sys.exit(main())
