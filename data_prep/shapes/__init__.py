"""The classes of the built-in data set: how each is built, what it is called, who sees it.

To add a class: write a builder (a function from a random generator to a `Shape`) in the module
that it belongs to, and a line in `CLASSES`.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from data_prep.shapes import (
    buildings,
    furniture,
    kitchen,
    nature,
    seating,
    storage,
    tools,
    vehicles,
)
from data_prep.shapes.parts import Shape


@dataclasses.dataclass(frozen=True)
class ShapeClass:
    """A class of objects.

    Attributes:
      build: makes one object's form, without colour, scale or position.
      trained_on: False for the classes that only CLIP knows: the encoder never sees them.
      synonyms: other nouns that captions use.
    """

    build: Callable[[np.random.Generator], Shape]
    trained_on: bool = True
    synonyms: tuple[str, ...] = ()


def _unseen(build: Callable[[np.random.Generator], Shape], *synonyms: str) -> ShapeClass:
    return ShapeClass(build, trained_on=False, synonyms=synonyms)


CLASSES: dict[str, ShapeClass] = {
    "airplane": ShapeClass(vehicles.airplane, synonyms=("plane", "aeroplane")),
    "armchair": _unseen(seating.armchair, "easy chair"),
    "axe": ShapeClass(tools.axe, synonyms=("hatchet",)),
    "barrel": ShapeClass(kitchen.barrel, synonyms=("cask",)),
    "bed": ShapeClass(seating.bed),
    "boat": ShapeClass(vehicles.boat),
    "book": ShapeClass(storage.book),
    "bookshelf": ShapeClass(storage.bookshelf, synonyms=("bookcase",)),
    "bottle": ShapeClass(kitchen.bottle),
    "bowl": ShapeClass(kitchen.bowl),
    "bush": _unseen(nature.bush, "shrub"),
    "cabinet": _unseen(storage.cabinet, "cupboard"),
    "cactus": ShapeClass(nature.cactus),
    "car": ShapeClass(vehicles.car, synonyms=("automobile",)),
    "chair": ShapeClass(seating.chair),
    "chest": ShapeClass(storage.chest, synonyms=("treasure chest",)),
    "cup": ShapeClass(kitchen.cup, synonyms=("mug",)),
    "fence": ShapeClass(buildings.fence),
    "fish": ShapeClass(nature.fish),
    "guitar": ShapeClass(tools.guitar),
    "house": ShapeClass(buildings.house, synonyms=("home", "cottage")),
    "key": ShapeClass(tools.key),
    "ladder": ShapeClass(tools.ladder),
    "lamp": ShapeClass(furniture.lamp),
    "mushroom": ShapeClass(nature.mushroom, synonyms=("toadstool",)),
    "pan": ShapeClass(kitchen.pan, synonyms=("frying pan", "skillet")),
    "plate": ShapeClass(kitchen.plate, synonyms=("dish",)),
    "sink": ShapeClass(furniture.sink, synonyms=("washbasin",)),
    "sofa": ShapeClass(seating.sofa, synonyms=("couch",)),
    "stool": _unseen(seating.stool),
    "street_light": _unseen(buildings.street_light, "street lamp", "lamp post"),
    "sword": ShapeClass(tools.sword),
    "table": ShapeClass(furniture.table),
    "tree": ShapeClass(nature.tree),
    "truck": _unseen(vehicles.truck, "lorry"),
    "umbrella": ShapeClass(tools.umbrella, synonyms=("parasol",)),
}
SEEN_CLASSES = tuple(name for name, kind in CLASSES.items() if kind.trained_on)
UNSEEN_CLASSES = tuple(name for name, kind in CLASSES.items() if not kind.trained_on)
