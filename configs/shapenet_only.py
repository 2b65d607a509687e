"""ShapeNet alone."""

import ml_collections

from configs import openshape, recipes


def get_config(argument: str = "") -> ml_collections.ConfigDict:
    """Give the data with `--config.data.root=ROOT`; `argument` is a recipe (`recipe=paper`)."""
    config = openshape.get_config("train_shapenet_only", argument)
    if recipes.chosen(argument) == "released_code":
        config.optim.batch_size = 1024  # as in the command that came with it
    return config
