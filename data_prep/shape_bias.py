"""Measures how much colours and bounding boxes alone tell of an object's class.

    python -m data_prep.shape_bias --data=DIR

A nearest-centroid classifier is fitted on the `train` objects and tested on the `seen` ones.  Far
above chance it would mean that a model can pass the benchmarks without looking at shape.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from mixcon3d_jax.assets import load_asset, sample_points
from mixcon3d_jax.assets.manifest import Entry, read_manifest
from mixcon3d_jax.errors import InputError, exit_on_input_error
from mixcon3d_jax.progress import progress

COLOUR_LEVELS = 4


class ShapeBiasError(InputError):
    """A folder in which the two splits cannot be compared."""


def colour_histogram(colors: UInt8[np.ndarray, "points 3"]) -> Float[np.ndarray, "bins"]:
    """The share of points in each cell of a `COLOUR_LEVELS`-cubed grid over sRGB."""
    levels = colors.astype(int) * COLOUR_LEVELS // 256
    cells = levels @ (COLOUR_LEVELS**2, COLOUR_LEVELS, 1)
    return np.bincount(cells, minlength=COLOUR_LEVELS**3) / len(colors)


def bounding_box(points: Float[np.ndarray, "points 3"]) -> Float[np.ndarray, "3"]:
    """The extents along x, y and z after training's normalisation: mean 0, largest norm 1."""
    centred = points - points.mean(axis=0)
    return np.ptp(centred, axis=0) / np.linalg.norm(centred, axis=1).max()


def nearest_centroid_accuracy(
    train_features: Float[np.ndarray, "train features"],
    train_classes: list[str],
    test_features: Float[np.ndarray, "test features"],
    test_classes: list[str],
) -> float:
    """Percent of the test objects whose nearest class mean (Euclidean) is their class's."""
    names = sorted(set(train_classes))
    labels = np.array(train_classes)
    centroids = np.stack([train_features[labels == name].mean(axis=0) for name in names])
    distances = np.linalg.norm(test_features[:, None] - centroids[None], axis=-1)
    predicted = np.array(names)[distances.argmin(axis=1)]
    return 100.0 * float(np.mean(predicted == np.array(test_classes)))


def measure(folder: Path, num_points: int = 1000) -> dict[str, float]:
    """Percent right on the `seen` split: by colours, by boxes, and by chance.

    Args:
      folder: holds `manifest.json`, with the splits `train` and `seen`.
      num_points: points sampled from each object.

    Returns:
      `colours`, `boxes` (the better of extents by axis and extents by size) and `chance`.

    Raises:
      ManifestError: the manifest is missing or wrong.
      ShapeBiasError: it lacks one of the splits.
    """
    entries = _read_splits(folder)
    classes: dict[str, list[str]] = {"train": [], "seen": []}
    histograms: dict[str, list[np.ndarray]] = {"train": [], "seen": []}
    boxes: dict[str, list[np.ndarray]] = {"train": [], "seen": []}
    rng = np.random.default_rng(0)
    for entry in progress(entries, len(entries), "sampling objects"):
        split = entry.split
        points, colors, _ = sample_points(load_asset(entry.path, "y"), num_points, rng)
        classes[split].append(entry.class_name)
        histograms[split].append(colour_histogram(colors))
        boxes[split].append(bounding_box(points))

    def accuracy(features: dict[str, np.ndarray]) -> float:
        return nearest_centroid_accuracy(
            features["train"], classes["train"], features["seen"], classes["seen"]
        )

    by_axis = {split: np.stack(values) for split, values in boxes.items()}
    by_size = {split: np.sort(values, axis=1) for split, values in by_axis.items()}
    return {
        "colours": accuracy({split: np.stack(values) for split, values in histograms.items()}),
        "boxes": max(accuracy(by_axis), accuracy(by_size)),
        "chance": 100.0 / len(set(classes["train"])),
    }


def _read_splits(folder: Path) -> list[Entry]:
    path = folder / "manifest.json"
    entries = [entry for entry in read_manifest(path) if entry.split in ("train", "seen")]
    present = {entry.split for entry in entries}
    for split in ("train", "seen"):
        if split not in present:
            raise ShapeBiasError(
                f"{path} has no object of the split {split!r}; "
                "make some with python -m data_prep.synthetic"
            )
    return entries


@exit_on_input_error
def main(arguments: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m data_prep.shape_bias",
        description="Measures how much colours and bounding boxes alone tell of the class.",
        epilog="example: python -m data_prep.shape_bias --data=/tmp/builtin",
    )
    parser.add_argument("--data", type=Path, required=True, help="a folder with manifest.json")
    parser.add_argument("--num-points", type=int, default=1000, help="points an object")
    flags = parser.parse_args(arguments)
    if flags.num_points < 1:
        raise ShapeBiasError(f"--num-points={flags.num_points}: give a number from 1 on")
    figures = measure(flags.data, flags.num_points)
    print("nearest centroid, fitted on train, tested on seen (percent right)")
    for name, label in (("colours", "colour histogram"), ("boxes", "bounding box")):
        print(f"  {label:<18}{figures[name]:6.1f}")
    print(f"  {'chance':<18}{figures['chance']:6.1f}")


if __name__ == "__main__":
    sys.exit(main())
