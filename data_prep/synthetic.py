"""Makes the built-in data set: parametric, coloured objects of everyday classes, with captions.

    python -m data_prep.synthetic --output=DIR

writes GLB files and `manifest.json`, laid out as a user's own folder of assets is.  Shape alone
tells the class: colours, size, position and heading are drawn alike for all classes
(`data_prep.shape_bias` measures what they give away).
"""

import argparse
import dataclasses
import difflib
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import trimesh
from jaxtyping import Float

from data_prep.shapes import CLASSES, SEEN_CLASSES, UNSEEN_CLASSES
from data_prep.shapes.captions import write_captions
from data_prep.shapes.colours import paint_parts
from data_prep.shapes.scene import build_scene
from data_prep.shapes.surfaces import Surface, join, rotation
from mixcon3d_jax.assets.triangles import triangle_areas
from mixcon3d_jax.errors import InputError, exit_on_input_error
from mixcon3d_jax.models.prompts import class_phrase
from mixcon3d_jax.progress import progress

# The natural logarithm of the most that an axis is stretched or shrunk by.
STRETCH = 0.25
# The largest extent of an object, in its file's units.
SIZE_RANGE = (0.05, 20.0)


class SyntheticError(InputError):
    """A class, a count or an output folder that the built-in data cannot be made with."""


@dataclasses.dataclass(frozen=True)
class SyntheticObject:
    """One object of the built-in data.

    Attributes:
      mesh_scene: y-up; its materials, vertex colours or textures as glTF wants them: factors and
        vertex colours in linear light, textures in sRGB.
      class_name: a key of `data_prep.shapes.CLASSES`.
      text: kind and main colour, "a red chair".
      captions: four more sentences.
    """

    mesh_scene: trimesh.Scene
    class_name: str
    text: str
    captions: list[str]


def make_object(class_name: str, seed: int, split: str, index: int) -> SyntheticObject:
    """Makes the object that (`class_name`, `seed`, `split`, `index`) names, always the same one.

    Args:
      class_name: one of `CLASSES`.
      seed: of the data set.
      split: any name; objects of different splits are independent.
      index: 0 and up.

    Raises:
      SyntheticError: there is no such class.
    """
    _check_class(class_name)
    kind = CLASSES[class_name]
    rng = _generator(seed, split, class_name, index)
    shape = kind.build(rng)
    parts = {name: join(surfaces) for name, surfaces in shape.parts.items()}
    transform = np.diag([*np.exp(rng.uniform(-STRETCH, STRETCH, 3))])
    # Assets by different makers face different ways, mostly near an axis.
    heading = 90.0 * rng.integers(4) + rng.uniform(-20, 20)
    transform = rotation("y", heading) @ transform
    parts = {
        name: dataclasses.replace(part, vertices=part.vertices @ transform.T)
        for name, part in parts.items()
    }
    areas = {
        name: float(triangle_areas(part.vertices[part.faces]).sum()) for name, part in parts.items()
    }
    paints = paint_parts(rng, areas)
    noun = class_phrase(class_name)
    text, captions = write_captions(rng, noun, kind.synonyms, shape.features, paints, areas)
    scene = build_scene(rng, parts, paints, _placement(rng, parts.values()))
    return SyntheticObject(scene, class_name, text, captions)


def _placement(rng: np.random.Generator, surfaces: Iterable[Surface]) -> Float[np.ndarray, "4 4"]:
    """Scales to a random size and moves by up to twice that size."""
    extent = np.ptp(np.concatenate([part.vertices for part in surfaces]), axis=0).max()
    size = np.exp(rng.uniform(*np.log(SIZE_RANGE)))
    placement = np.diag([*[size / extent] * 3, 1.0])
    placement[:3, 3] = size * rng.uniform(-2, 2, 3)
    return placement


def _generator(seed: int, split: str, class_name: str, index: int) -> np.random.Generator:
    """A generator of the object's own, so that other counts leave it unchanged."""
    name = f"{seed}/{split}/{class_name}/{index}".encode()
    return np.random.default_rng(int.from_bytes(hashlib.sha256(name).digest()[:16], "big"))


def _check_class(name: str) -> None:
    if name not in CLASSES:
        nearest = difflib.get_close_matches(name, CLASSES, n=1, cutoff=0.0)[0]
        raise SyntheticError(
            f"there is no class {name!r}; did you mean {nearest!r}? Classes: {', '.join(CLASSES)}"
        )


def plan(class_names: list[str], train: int, seen: int, unseen: int) -> list[tuple[str, str, int]]:
    """The (split, class, index) of every object, in the manifest's order."""
    counts = [("train", SEEN_CLASSES, train), ("seen", SEEN_CLASSES, seen)]
    counts.append(("unseen", UNSEEN_CLASSES, unseen))
    return [
        (split, name, index)
        for split, names, count in counts
        for name in names
        if name in class_names
        for index in range(count)
    ]


def write_objects(
    output: Path, seed: int, objects: list[tuple[str, str, int]]
) -> Iterator[dict[str, object]]:
    """Writes the GLB file of each object under `output` and yields its manifest entry."""
    for split, class_name, index in objects:
        item = make_object(class_name, seed, split, index)
        name = f"{split}/{class_name}/{index:04d}"
        path = output / f"{name}.glb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(item.mesh_scene.export(file_type="glb"))
        yield {
            "id": name,
            "path": f"{name}.glb",
            "class": class_name,
            "text": item.text,
            "captions": item.captions,
            "split": split,
        }


def write_data_set(output: Path, seed: int, objects: list[tuple[str, str, int]]) -> None:
    """Writes all objects, then the manifest: where there is one, all its files are complete.

    Raises:
      SyntheticError: the folder cannot be written to.
    """
    manifest = output / "manifest.json"
    try:
        output.mkdir(parents=True, exist_ok=True)
        manifest.unlink(missing_ok=True)
        written = write_objects(output, seed, objects)
        entries = list(progress(written, len(objects), "making objects"))
        unfinished = manifest.with_suffix(".partial")
        unfinished.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
        os.replace(unfinished, manifest)
    except OSError as error:
        raise SyntheticError(
            f"cannot write the data set to {output}: {error.strerror}; "
            "give another --output or free some space, and run the command again"
        ) from error


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m data_prep.synthetic",
        description="Makes the built-in data set: GLB files and manifest.json.",
        epilog="example: python -m data_prep.synthetic --output=/tmp/builtin",
    )
    parser.add_argument("--output", type=Path, required=True, help="the folder to write")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other objects")
    parser.add_argument(
        "--train-per-class", type=int, default=40, help="objects to train on (default 40)"
    )
    parser.add_argument(
        "--seen-per-class",
        type=int,
        default=15,
        help="objects to test on, of the classes trained on (default 15)",
    )
    parser.add_argument(
        "--unseen-per-class",
        type=int,
        default=40,
        help=f"objects of the classes never trained on: {', '.join(UNSEEN_CLASSES)} (default 40)",
    )
    parser.add_argument("--classes", default="all", help="some of the classes, with commas between")
    return parser.parse_args(arguments)


@exit_on_input_error
def main(arguments: list[str] | None = None) -> None:
    """The command."""
    flags = _parse(arguments)
    class_names = list(CLASSES) if flags.classes == "all" else flags.classes.split(",")
    for name in class_names:
        _check_class(name)
    for flag in ("train_per_class", "seen_per_class", "unseen_per_class"):
        if getattr(flags, flag) < 0:
            raise SyntheticError(
                f"--{flag.replace('_', '-')}={getattr(flags, flag)}: give a number from 0 on"
            )
    objects = plan(class_names, flags.train_per_class, flags.seen_per_class, flags.unseen_per_class)
    if not objects:
        raise SyntheticError("these counts and classes make no object; raise a count")
    write_data_set(flags.output, flags.seed, objects)
    print(
        f"{len(objects)} objects of {len({name for _, name, _ in objects})} classes: "
        f"{flags.output / 'manifest.json'}"
    )


if __name__ == "__main__":
    sys.exit(main())
