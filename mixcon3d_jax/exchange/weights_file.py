"""A file of weights, read, before it is known which model it holds."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mixcon3d_jax.exchange.checkpoint_keys import NO_WEIGHTS, OWN_KEY, OWN_VERSION
from mixcon3d_jax.exchange.pytorch_file import read_pytorch_file
from mixcon3d_jax.exchange.pytorch_names import WeightsError
from mixcon3d_jax.exchange.safetensors_file import read_safetensors
from mixcon3d_jax.exchange.snapshot import About
from mixcon3d_jax.exchange.weight_groups import Groups, find_groups

SAFETENSORS = ".safetensors"
# What files of weights end in.
SUFFIXES = (".pt", ".pth", SAFETENSORS)


@dataclasses.dataclass(frozen=True)
class WeightsFile:
    """What a file holds.

    Attributes:
      path: of the file.
      groups: of weights; names without `module.`.
      step: updates done, 0 if it does not say so.
      epoch: counted from 0, 0 if it does not say so.
      optimizer: a PyTorch optimiser's state, or None.
      about: what an export of this project says about itself; None for any other file.
      own: what else such an export has.
    """

    path: Path
    groups: Groups
    step: int = 0
    epoch: int = 0
    optimizer: Any = None
    about: About | None = None
    own: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def read_weights(path: Path) -> WeightsFile:
    """Reads a `.safetensors`, or a `.pt` of any other name; nothing in it is run.

    Raises:
      InputError: if it is damaged, no such file, or wants to run something.
    """
    path = Path(path)
    if path.suffix == SAFETENSORS:
        groups, header = read_safetensors(path)
        own = header if header.get("format") == OWN_KEY else {}
        return WeightsFile(
            path, groups, _number(path, header, "step"), about=_about(path, own), own=own
        )
    content = read_pytorch_file(path)
    own = content.get(OWN_KEY, {})
    return WeightsFile(
        path,
        find_groups(content, NO_WEIGHTS),
        _number(path, content, "step"),
        _number(path, content, "epoch"),
        content.get("optimizer"),
        _about(path, own),
        own,
    )


def _about(path: Path, own: Any) -> About | None:
    if own == {}:
        return None
    version = own.get("version") if isinstance(own, Mapping) else None
    if str(version) != str(OWN_VERSION):
        raise WeightsError(
            f"{path} is an export ({OWN_KEY}) of version {version!r}, while this program reads "
            f"version {OWN_VERSION}; export it again with this version"
        )
    try:
        return About.of_text(str(own.get("about")))
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error


def _number(path: Path, content: Mapping[str, Any], key: str) -> int:
    value = content.get(key)
    try:
        number = 0 if value is None else int(np.asarray(value).item())
    except (TypeError, ValueError, OverflowError) as error:
        raise WeightsError(f"{path}: {key} is {value!r}, which is no count") from error
    if not 0 <= number < 2**31:
        raise WeightsError(f"{path}: {key} is {number}, which is no count of steps or epochs")
    return number
