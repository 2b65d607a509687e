"""Measures the small CLIP on objects that it never saw.

    python -m data_prep.small_clip_accuracy --clip=small --cache=DIR

Zero-shot accuracy among all built-in classes, whose names are embedded as benchmarks embed them
(the mean over the prompt templates); how well colours are told; and how alike the embeddings of
different classes and of unknown words are.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from data_prep.shapes import CLASSES
from data_prep.shapes.colours import NAMED_COLOURS
from data_prep.small_clip_data import RenderedObjects, render_objects
from data_prep.small_clip_texts import made_up_words
from mixcon3d_jax.errors import exit_on_input_error
from mixcon3d_jax.models.clip_folder import ClipFolder
from mixcon3d_jax.models.layers import normalize
from mixcon3d_jax.models.prompts import class_phrase, prompts

# Training draws the objects of each class from index 0 on.
HELD_OUT_FROM = 10_000


def class_embeddings(clip: ClipFolder, names: list[str]) -> Float[np.ndarray, "names embedding"]:
    """The mean over the prompt templates of each name's embeddings, of length 1."""
    templated = [prompts(class_phrase(name)) for name in names]
    rows = clip.embed_texts([prompt for group in templated for prompt in group])
    means = rows.reshape(len(names), -1, rows.shape[-1]).mean(axis=1)
    return np.asarray(normalize(means))


def zero_shot(
    images: Float[np.ndarray, "objects views embedding"],
    classes: Float[np.ndarray, "names embedding"],
    labels: Int[np.ndarray, " objects"],
) -> dict[str, float]:
    """Accuracy, in percent, of single views and of the mean of an object's views."""
    single = (images @ classes.T).argmax(axis=-1) == labels[:, None]
    mean = (images.mean(axis=1) @ classes.T).argmax(axis=-1) == labels
    return {"view": 100 * float(single.mean()), "mean of views": 100 * float(mean.mean())}


def colour_accuracy(
    images: Float[np.ndarray, "objects views embedding"], clip: ClipFolder, objects: RenderedObjects
) -> float:
    """Percent of objects whose main colour is told, among all colours of an object of its class.

    An object's first text is "a COLOUR NOUN".
    """
    names = list(CLASSES)
    right = 0
    for label, pictures, (text, *_) in zip(objects.classes, images, objects.texts, strict=True):
        noun = class_phrase(names[label])
        options = [f"{colour} {noun}" for colour in NAMED_COLOURS]
        rows = clip.embed_texts([f"a {option}" for option in options], batch_size=len(options))
        best = options[int((rows @ pictures.mean(axis=0)).argmax())]
        right += text.split(" ", 1)[1] == best
    return 100 * right / len(objects.texts)


def cosines(rows: Float[np.ndarray, "rows embedding"]) -> dict[str, float]:
    """Mean and largest cosine of different rows."""
    others = (rows @ rows.T)[~np.eye(len(rows), dtype=bool)]
    return {"mean": float(others.mean()), "largest": float(others.max())}


def measure(clip: ClipFolder, objects: RenderedObjects) -> dict[str, float]:
    """All figures: accuracies in percent, cosines as they are."""
    count, views = objects.renders.shape[:2]
    pictures = (picture for own in objects.renders for picture in own)
    images = clip.embed_images(pictures).reshape(count, views, -1)
    classes = class_embeddings(clip, list(CLASSES))
    words, in_other_prompts = made_up_words(100, np.random.default_rng(0))
    first, second = clip.embed_texts(words), clip.embed_texts(in_other_prompts)
    return {
        **{
            f"zero-shot among {len(CLASSES)} classes, {name} (%)": value
            for name, value in zero_shot(images, classes, objects.classes).items()
        },
        f"main colour among {len(NAMED_COLOURS)} (%)": colour_accuracy(images, clip, objects),
        **{f"cosine of class names, {name}": value for name, value in cosines(classes).items()},
        **{f"cosine of unknown words, {name}": value for name, value in cosines(first).items()},
        "unknown word known again in another prompt (%)": 100
        * float(((first @ second.T).argmax(axis=1) == np.arange(len(first))).mean()),
    }


@exit_on_input_error
def main(arguments: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m data_prep.small_clip_accuracy",
        description="Measures the small CLIP on built-in objects that it never saw.",
        epilog="example: python -m data_prep.small_clip_accuracy --clip=small --cache=/tmp/renders",
    )
    parser.add_argument(
        "--clip", default="small", help="a CLIP folder, or `small` (the shipped one)"
    )
    parser.add_argument("--cache", type=Path, required=True, help="renders are kept here")
    parser.add_argument("--objects-per-class", type=int, default=20, help="default 20")
    parser.add_argument("--seed", type=int, default=0, help="of the objects")
    flags = parser.parse_args(arguments)
    clip = ClipFolder.load(flags.clip)
    indices = range(HELD_OUT_FROM, HELD_OUT_FROM + flags.objects_per_class)
    for name, value in measure(clip, render_objects(flags.cache, flags.seed, indices)).items():
        print(f"{name}: {value:.3g}")


if __name__ == "__main__":
    sys.exit(main())
