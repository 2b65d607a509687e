"""`.pt` files, with arrays in place of tensors.  Nothing in a file is ever executed.

PyTorch is imported when a file is read or written, and only then.
"""

import re
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from mixcon3d_jax.errors import InputError
from mixcon3d_jax.files import WriteError, whole_file


class PyTorchFileError(InputError):
    """A `.pt` file can't be read."""


class _NumberType:
    """Stands for `numpy.dtype` in a file, and knows numbers only."""

    def __init__(self, code: str, align: bool = False, copy: bool = False):
        if not re.fullmatch(r"[fiu][1248]|b1", code):
            raise ValueError(f"a NumPy value of type {code!r}")
        self._code, self._order = code, "="

    def __setstate__(self, state: tuple) -> None:
        self._order = {">": ">", "<": "<"}.get(state[1], "=")

    def number(self, data: bytes) -> float | int | bool:
        """The number that NumPy stored as `data`."""
        return np.frombuffer(data, np.dtype(self._code).newbyteorder(self._order), 1)[0].item()


def _number(kind: _NumberType, data: bytes) -> float | int | bool:
    """Stands for the function that NumPy's scalars are unpickled with."""
    return kind.number(data)


# Accuracies may have been saved as NumPy scalars.  No function of NumPy itself is let in.
_STAND_INS = [
    (_NumberType, "numpy.dtype"),
    (_number, "numpy.core.multiarray.scalar"),
    (_number, "numpy._core.multiarray.scalar"),
]


def read_pytorch_file(path: Path) -> dict[str, Any]:
    """The dict in a `.pt` file; tensors become arrays, floating ones float32.

    Read by PyTorch's own restricted unpickler: a file that asks for anything but tensors, plain
    containers and numbers is refused, and what it asks for does not run.

    Raises:
      PyTorchFileError: if it is missing, damaged, no such file, or wants to run something.
    """
    if not Path(path).is_file():
        raise PyTorchFileError(f"{path}: there is no such file")
    torch = _import_torch()
    try:
        with torch.serialization.safe_globals(_STAND_INS):
            content = torch.load(
                path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
            )
    # PyTorch lets through whatever its readers come upon, KeyError and OSError included.
    except Exception as error:
        raise _refused(path, error) from error
    if not isinstance(content, dict):
        raise PyTorchFileError(
            f"{path} holds a {type(content).__name__} where a checkpoint is a dict; give the file "
            "that training saved"
        )
    try:
        return {str(key): _to_arrays(value, torch) for key, value in content.items()}
    except (RuntimeError, TypeError, NotImplementedError) as error:
        raise PyTorchFileError(
            f"{path} holds a tensor that is no plain array of numbers ({error})"
        ) from error


def write_pytorch_file(path: Path, content: dict[str, Any]) -> None:
    """Writes a dict whose arrays become tensors; one array in two places is stored once.

    Raises:
      WriteError: if it can't be written; nothing is left of the file.
    """
    torch = _import_torch()
    tensors = _to_tensors(content, torch, {})
    with whole_file(path) as temporary:
        try:
            # To a file, not a path: PyTorch would write the temporary name into it.
            with temporary.open("wb") as file:
                torch.save(tensors, file)
        except RuntimeError as error:  # PyTorch's writer says so when a disk is full
            raise WriteError.of(path, OSError(str(error))) from error


def adamw_groups(parameters: int, **settings: Any) -> list[dict[str, Any]]:
    """`param_groups` of a `torch.optim.AdamW` over so many parameters, as it saves them."""
    torch = _import_torch()
    numbers = [torch.zeros(1) for _ in range(parameters)]
    return torch.optim.AdamW(numbers, **settings).state_dict()["param_groups"]


def _import_torch() -> ModuleType:
    try:
        import torch
    except ImportError as error:
        raise PyTorchFileError(
            "reading and writing .pt needs PyTorch: pip install 'mixcon3d-jax[torch]'; "
            ".safetensors works without"
        ) from error
    return torch


def _refused(path: Path, error: Exception) -> PyTorchFileError:
    forbidden = re.search(r"GLOBAL (\S+)", str(error))
    if forbidden:
        return PyTorchFileError(
            f"{path} wants {forbidden[1]} to be called while it is loaded; it was not.  A "
            "checkpoint holds tensors, plain containers and numbers: don't trust this file"
        )
    reason = str(error).strip().splitlines()
    return PyTorchFileError(
        f"{path} is no PyTorch checkpoint, or is damaged or truncated "
        f"({type(error).__name__}: {reason[0] if reason else 'no details'}); copy or download it "
        "again"
    )


def _to_arrays(value: Any, torch: ModuleType) -> Any:
    if isinstance(value, torch.Tensor):
        value = value.detach()
        return (value.to(torch.float32) if value.is_floating_point() else value).numpy()
    if isinstance(value, dict):
        return {key: _to_arrays(item, torch) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_arrays(item, torch) for item in value]
    return value


def _to_tensors(value: Any, torch: ModuleType, made: dict[int, Any]) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        if id(value) not in made:
            writable = np.require(value, requirements=["C", "W"])
            made[id(value)] = value, torch.from_numpy(writable)
        return made[id(value)][1]
    if isinstance(value, dict):
        return {key: _to_tensors(item, torch, made) for key, item in value.items()}
    if isinstance(value, list):
        return [_to_tensors(item, torch, made) for item in value]
    return value
