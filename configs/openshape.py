"""What the three splits of OpenShape's data share: location, benchmarks, intervals.

Data lie under one root, `--config.data.root=ROOT`, as `docs/openshape_data.md` and
`docs/benchmarks.md` lay them out.
"""

import ml_collections

from configs import base, recipes


def get_config(split: str, argument: str) -> ml_collections.ConfigDict:
    """The base with the benchmarks, for one split.

    Args:
      split: its name in `ROOT/splits/`.
      argument: of the config file, `recipe=paper` or `recipe=released_code`.
    """
    config = base.get_config()
    config.data.split = split
    config.log.every_steps = 50
    config.eval.every_steps = 5000
    with config.unlocked():
        for name in ("objaverse_lvis", "modelnet40", "scanobjectnn"):
            # Not required: a part of the data can be trained on without all of Objaverse.
            path = f"benchmarks/{name}"
            config.eval.benchmarks[name] = base.benchmark("test", path=path, required=False)
    recipes.apply(config, argument)
    return config
