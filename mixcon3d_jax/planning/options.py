"""What a plan may change in a config so that a step fits, and the flags that say so."""

import copy
import dataclasses
from typing import Any

from ml_collections import ConfigDict

# Field of `Options` -> key of the config.
KEYS = {
    "batch_size": "optim.batch_size",
    "accum_steps": "optim.accum_steps",
    "negatives": "optim.negatives",
    "remat": "model.remat",
    "dtype": "model.dtype",
    "fsdp": "mesh.fsdp",
}


@dataclasses.dataclass(frozen=True)
class Options:
    """The settings that decide what a step keeps in memory; `KEYS` says where they stand."""

    batch_size: int
    accum_steps: int
    negatives: str
    remat: bool
    dtype: str
    fsdp: int

    def rows(self, chips: int) -> int:
        """Rows that a chip has in memory at once: its part of a micro-batch."""
        return self.batch_size // chips // self.accum_steps

    def changes(self, other: "Options") -> dict[str, Any]:
        """Keys of the config whose values differ from another's, with the values here."""
        return {
            key: getattr(self, field)
            for field, key in KEYS.items()
            if getattr(self, field) != getattr(other, field)
        }


def options_of(config: ConfigDict) -> Options:
    """A config's options."""
    return Options(**{field: _get(config, key) for field, key in KEYS.items()})


def with_options(config: ConfigDict, options: Options) -> ConfigDict:
    """A copy of a config with these options."""
    config = copy.deepcopy(config)
    for field, key in KEYS.items():
        if _get(config, key) != getattr(options, field):
            config.update_from_flattened_dict({key: getattr(options, field)})
    return config


def _get(config: ConfigDict, key: str) -> Any:
    for part in key.split("."):
        config = config[part]
    return config
