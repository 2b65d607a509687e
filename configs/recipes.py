"""Two ways to train MixCon3D: as the paper says, and as its released code does.

`docs/recipes.md` says where they differ, and why `paper` is the default.
"""

import ml_collections

# The recipes by name: what each changes in `configs/base.py`, which is the paper's.
RECIPES = ("paper", "released_code")


def chosen(argument: str) -> str:
    """The recipe that a config's argument such as `recipe=released_code` names; "" is the paper's.

    Raises:
      ValueError: if the argument is none that is known.
    """
    key, _, recipe = (argument or "recipe=paper").partition("=")
    if key != "recipe" or recipe not in RECIPES:
        raise ValueError(
            f"the config file takes recipe={' or recipe='.join(RECIPES)} behind its colon, "
            f"not {argument!r}"
        )
    return recipe


def apply(config: ml_collections.ConfigDict, argument: str) -> None:
    """Changes a config as its argument says (see `chosen`)."""
    if chosen(argument) == "released_code":
        _released_code(config)


def _released_code(config: ml_collections.ConfigDict) -> None:
    # A plain sum of the four terms.
    for term in config.loss:
        config.loss[term] = 1.0
    # The rate is set after the update: it comes one step late, and the first step's is the highest.
    config.optim.learning_rate = 0.006
    config.optim.min_learning_rate = 0.003
    config.optim.lag_steps = 1
    # What its optimiser leaves out stays at its random start.
    config.optim.frozen = "fusion/.*|multi_view_proj/.*|logit_scales/fused_text"
    config.optim.clamped = "point_.*"
    # The sampler is never told of a new epoch.
    config.data.reshuffle = False
