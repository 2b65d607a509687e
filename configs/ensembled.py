"""The whole training set: Objaverse, ShapeNet, ABO, 3D-FUTURE (874,402 shapes)."""

import ml_collections

from configs import openshape


def get_config(argument: str = "") -> ml_collections.ConfigDict:
    """Give the data with `--config.data.root=ROOT`; `argument` is a recipe (`recipe=paper`)."""
    return openshape.get_config("train_all", argument)
