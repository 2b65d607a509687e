"""Reads NumPy's `.npy` files without running anything that they say.

An `.npy` file of Python objects is a pickle, and a pickle is a program: it names functions and
their arguments.  Here only the names with which NumPy stores arrays, data types and scalars are
known, and none of them leads to NumPy itself: they stand for the classes of
`data_prep.openshape.pickled_arrays`, which check what they are told before an array is made of it.
Opcodes that make or change any other object are not known at all.
"""

import io
import pickle
import struct
from collections.abc import Callable
from typing import Any, BinaryIO, ClassVar

import numpy as np

from data_prep.openshape.pickled_arrays import (
    NDARRAY,
    PickledArray,
    PickledDtype,
    RefusedValueError,
    array_of_buffer,
    build_arrays,
    check_hashed,
    reconstruct,
    scalar,
)
from mixcon3d_jax.errors import InputError

_MAGIC = np.lib.format.MAGIC_PREFIX


class PickleError(InputError):
    """A file is damaged, or holds something else than arrays, containers, strings and numbers."""


class _ForbiddenGlobalError(Exception):
    """A pickle names something that is not admitted."""


def load_npy(file: BinaryIO | bytes, name: str) -> Any:
    """Reads an `.npy` file, or a pickle without NumPy's header, from a source that is not trusted.

    Args:
      file: an open binary file, or the file's content.
      name: how messages call the file.

    Returns:
      The array; if it is a 0-d array of objects, what it holds.  NumPy scalars come as Python's own
      numbers and strings.  Arrays can't be written to.

    Raises:
      PickleError: if the file is damaged, or holds anything but arrays, plain containers, strings
        and numbers.  Nothing that the file says has been run then.
    """
    if isinstance(file, bytes | bytearray | memoryview):
        file = io.BytesIO(file)
    try:
        value = _read(file)
        while isinstance(value, np.ndarray) and value.dtype.kind == "O" and value.shape == ():
            value = value.item()
        return value
    except _ForbiddenGlobalError as error:
        raise PickleError(
            f"{name}: names {error}, which is no array, container, string or number.  Reading it "
            "would run code that the file brings, so it is not read: get the file from its "
            "publisher again, and if it is the same, leave it out"
        ) from error
    except InputError:
        raise
    except Exception as error:  # whatever the bytes of a damaged or forged file provoke
        what = str(error) or type(error).__name__
        raise PickleError(
            f"{name}: can't be read as an .npy file of arrays, containers, strings and numbers "
            f"({what}); it is damaged or something else: get it again"
        ) from error


def _read(file: BinaryIO) -> Any:
    start = file.read(len(_MAGIC))
    if start != _MAGIC:
        return _Unpickler(_Continued(start, file)).load_plain()
    version = file.read(2)
    shape, fortran_order, dtype = _read_header(file, tuple(version))
    if dtype.kind == "O":
        value = _Unpickler(file).load_plain()
        if not isinstance(value, np.ndarray):
            raise RefusedValueError(f"a {type(value).__name__} where the header promises an array")
        return value.reshape(shape)
    if dtype.hasobject:
        raise RefusedValueError(f"an array of type {dtype}")
    data = file.read()
    count = PickledArray.count(shape)
    if count * dtype.itemsize > len(data):
        raise EOFError(f"{len(data)} bytes of data instead of {count * dtype.itemsize}")
    array = np.frombuffer(data, dtype, count)
    return array.reshape(shape, order="F" if fortran_order else "C")


def _read_header(file: BinaryIO, version: tuple[int, ...]) -> tuple[tuple, bool, np.dtype]:
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    # Version 3 differs from 2 by the header's encoding, which matters for names of fields only.
    if version in ((2, 0), (3, 0)):
        return np.lib.format.read_array_header_2_0(file)
    raise RefusedValueError(f"an .npy header of version {version}")


class _Continued:
    """A file whose first bytes were read already; has what an unpickler calls."""

    def __init__(self, start: bytes, file: BinaryIO):
        self._start, self._file = io.BytesIO(start), file

    def read(self, size: int) -> bytes:
        start = self._start.read(size)
        return start + self._file.read(size - len(start)) if len(start) < size else start

    def readline(self) -> bytes:
        start = self._start.readline()
        return start if start.endswith(b"\n") else start + self._file.readline()


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """How pickles of protocols 0 to 2 spell bytes."""
    if encoding not in ("latin1", "latin-1"):
        raise RefusedValueError(f"bytes in the encoding {encoding!r}")
    return text.encode("latin1")


def _bytes(content: bytes | str = b"", encoding: str = "latin1") -> bytes:
    # `bytes(10**12)` would be a number of zeros; only content is taken.
    return _encode(content, encoding) if isinstance(content, str) else b"" + content


def _complex(real: float, imaginary: float) -> complex:
    return complex(real, imaginary)


def _set(items: list) -> set:
    if not isinstance(items, list):
        raise RefusedValueError("a set that is not made of a list")
    check_hashed(items)
    return set(items)


_MULTIARRAY: dict[str, Any] = {"_reconstruct": reconstruct, "scalar": scalar}
_NUMERIC: dict[str, Any] = {"_frombuffer": array_of_buffer}
_BUILTINS: dict[str, Any] = {"bytes": _bytes, "bytearray": _bytes, "complex": _complex}
_BUILTINS |= {"set": _set, "frozenset": _set}
_ADMITTED: dict[str, dict[str, Any]] = {
    "numpy": {"ndarray": NDARRAY, "dtype": PickledDtype},
    # NumPy 2 renamed its inner modules.
    "numpy.core.multiarray": _MULTIARRAY,
    "numpy._core.multiarray": _MULTIARRAY,
    "numpy.core.numeric": _NUMERIC,
    "numpy._core.numeric": _NUMERIC,
    "_codecs": {"encode": _encode},
    "builtins": _BUILTINS,
    # Protocols 0 to 2 keep Python 2's name.
    "__builtin__": _BUILTINS,
}
_CALLABLE = {id(value) for names in _ADMITTED.values() for value in names.values()} - {id(NDARRAY)}

# What follows an object's class; admitted are REDUCE and BUILD alone, each with its own check.
_OBJECT_OPCODES = (
    pickle.INST,
    pickle.OBJ,
    pickle.NEWOBJ,
    pickle.NEWOBJ_EX,
    pickle.PERSID,
    pickle.BINPERSID,
    pickle.EXT1,
    pickle.EXT2,
    pickle.EXT4,
    pickle.NEXT_BUFFER,
    pickle.READONLY_BUFFER,
)


class _Unpickler(pickle._Unpickler):
    """Python's own unpickler in Python, with the opcodes that could reach an object replaced.

    The one in C is faster, but calls whatever a BUILD or REDUCE finds, and sets aside as much
    memory as a forged memo index asks for.
    """

    dispatch: ClassVar = dict(pickle._Unpickler.dispatch)

    def load_plain(self) -> Any:
        """What the pickle holds."""
        return build_arrays(self.load())

    def find_class(self, module: str, name: str) -> Any:
        """One of the admitted globals."""
        try:
            return _ADMITTED[module][name]
        except KeyError:
            raise _ForbiddenGlobalError(f"{module}.{name}") from None

    def _load_reduce(self) -> None:
        arguments = self.stack.pop()
        function: Callable = self.stack[-1]
        if id(function) not in _CALLABLE or not isinstance(arguments, tuple):
            raise RefusedValueError("a call of something that is no function")
        self.stack[-1] = function(*arguments)

    def _load_build(self) -> None:
        state = self.stack.pop()
        built = self.stack[-1]
        if not isinstance(built, PickledArray | PickledDtype) or not isinstance(state, tuple):
            raise RefusedValueError(f"a state for a {type(built).__name__}")
        built.set_state(state)

    def _load_setitem(self) -> None:
        check_hashed(self.stack[-2:-1])
        self.load_setitem()

    def _load_setitems(self) -> None:
        check_hashed(self.stack[::2])  # what lies above the mark
        self.load_setitems()

    def _load_dict(self) -> None:
        check_hashed(self.stack[::2])
        self.load_dict()

    def _load_additems(self) -> None:
        check_hashed(self.stack)
        self.load_additems()

    def _load_frozenset(self) -> None:
        check_hashed(self.stack)
        self.load_frozenset()

    def _load_bytearray8(self) -> None:
        # Python's own would make as many zeros as it is told before it looks whether they follow.
        (size,) = struct.unpack("<Q", self.read(8))
        self.append(bytearray(self.read(size)))

    def _refuse(self) -> None:
        raise RefusedValueError("objects of a class")

    dispatch[pickle.REDUCE[0]] = _load_reduce
    dispatch[pickle.BUILD[0]] = _load_build
    dispatch[pickle.BYTEARRAY8[0]] = _load_bytearray8
    dispatch[pickle.SETITEM[0]] = _load_setitem
    dispatch[pickle.SETITEMS[0]] = _load_setitems
    dispatch[pickle.DICT[0]] = _load_dict
    dispatch[pickle.ADDITEMS[0]] = _load_additems
    dispatch[pickle.FROZENSET[0]] = _load_frozenset
    for _opcode in _OBJECT_OPCODES:
        dispatch[_opcode[0]] = _refuse
