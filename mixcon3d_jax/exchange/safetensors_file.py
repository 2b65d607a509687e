"""`.safetensors` files: one set of weights as `GROUP.NAME`, and what they are in the header."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from mixcon3d_jax.errors import InputError
from mixcon3d_jax.exchange.weight_groups import Groups
from mixcon3d_jax.files import write_whole


class SafetensorsFileError(InputError):
    """A `.safetensors` file can't be read."""


def read_safetensors(path: Path) -> tuple[Groups, dict[str, str]]:
    """Groups of weights, and what the header says about them.

    Raises:
      SafetensorsFileError: if the file is missing, damaged or no such file.
    """
    if not Path(path).is_file():
        raise SafetensorsFileError(f"{path}: there is no such file")
    groups: Groups = {}
    try:
        with safe_open(path, framework="numpy") as file:
            about = file.metadata() or {}
            for key in file.keys():  # noqa: SIM118 - a safetensors handle is no dict
                group, _, name = key.partition(".")
                groups.setdefault(group, {})[name] = file.get_tensor(key)
    # TypeError: a number format that NumPy lacks, bfloat16 for one.
    except (SafetensorError, OSError, TypeError) as error:
        raise SafetensorsFileError(
            f"{path} is no safetensors file, or is damaged or truncated ({error}); copy or "
            "download it again"
        ) from error
    return groups, about


def write_safetensors(path: Path, groups: Groups, about: Mapping[str, str]) -> None:
    """Writes groups of weights with a header.

    Raises:
      WriteError: if it can't be written; nothing is left of the file.
    """
    flat = {
        f"{group}.{name}": np.require(array, requirements="C")
        for group, arrays in groups.items()
        for name, array in arrays.items()
    }
    # As bytes: safetensors' own writing lets nobody else read the file.
    write_whole(path, save(flat, dict(about)))
