"""Arrays as pickles describe them, checked before NumPy sees any of it.

NumPy's own way to rebuild an array believes what it is told: a data type of objects whose flags
were forged would take any bytes for addresses.
"""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

# Kinds and sizes of the data types that are admitted; strings and bytes come in any size.
_DTYPES = {"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16"}
_OBJECT_DTYPES = {"O", "O4", "O8"}
_BYTE_ORDERS = "<>=|"
_MAX_DEPTH = 50
# A container that is held twice counts twice, as it does for whoever goes through all of them: a
# file of 200 bytes can hold 2**50.
_MAX_ENTRIES = 1 << 24
_PLAIN = (str, bytes, bytearray, bool, int, float, complex, type(None))
_UNDER_WAY = object()


class RefusedValueError(ValueError):
    """A pickle describes something that is not admitted, or makes no sense."""


class _NdarrayClass:
    """Stands for the class `numpy.ndarray`, which a pickle names to say what it rebuilds."""

    __slots__ = ()


NDARRAY = _NdarrayClass()


class PickledDtype:
    """Stands for a `numpy.dtype`: a number, a string or an object, without fields or metadata."""

    __slots__ = ("dtype",)

    def __init__(self, description: str, align: bool = False, copy: bool = False):
        del align, copy
        if not isinstance(description, str):
            raise RefusedValueError(f"a data type that is a {type(description).__name__}")
        text = description.lstrip(_BYTE_ORDERS)
        is_text = text[:1] in ("U", "S") and (text[1:].isdecimal() or text[1:] == "")
        if text in _OBJECT_DTYPES:
            self.dtype = np.dtype(object)
        elif text in _DTYPES or is_text:
            self.dtype = np.dtype(description)
        else:
            raise RefusedValueError(f"a data type {description!r}")

    def set_state(self, state: tuple) -> None:
        """Takes the byte order; the rest must say that there is nothing beyond the description."""
        # (version, byte order, sub-array, names, fields, size, alignment, flags[, metadata])
        if len(state) < 5 or any(part is not None for part in (*state[2:5], *state[8:])):
            raise RefusedValueError("a data type with fields or metadata")
        order = state[1]
        if not isinstance(order, str) or order not in tuple(_BYTE_ORDERS):
            raise RefusedValueError("an unknown byte order")
        self.dtype = self.dtype.newbyteorder(order)


class PickledArray:
    """Stands for a `numpy.ndarray`."""

    __slots__ = ("_data", "_dtype", "_order", "_shape")

    def __init__(self, shape: Any = (0,), dtype: Any = None, data: Any = b"", order: str = "C"):
        self._shape, self._dtype, self._data, self._order = shape, dtype, data, order

    @staticmethod
    def count(shape: Any) -> int:
        """The number of entries of an array of that shape."""
        if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
            raise RefusedValueError("a shape that is no tuple of whole numbers")
        return math.prod(shape)

    def set_state(self, state: tuple) -> None:
        """Takes `([version,] shape, data type, whether in Fortran order, data)`."""
        if len(state) not in (4, 5):
            raise RefusedValueError("an array's state of unknown form")
        self._shape, self._dtype, fortran_order, self._data = state[-4:]
        self._order = "F" if fortran_order else "C"

    def objects(self) -> list | None:
        """The entries, if this is an array of objects."""
        is_list = isinstance(self._data, list)
        if not isinstance(self._dtype, PickledDtype) or is_list != self._dtype.dtype.hasobject:
            raise RefusedValueError("an array whose data don't fit its type")
        return self._data if is_list else None

    def build(self) -> np.ndarray:
        """The array itself.

        Raises:
          RefusedValueError: if shape, type and data don't fit together.
        """
        objects = self.objects()
        dtype, count = self._dtype.dtype, self.count(self._shape)
        if objects is not None:
            if len(objects) != count:
                raise RefusedValueError(
                    f"{len(objects)} objects for an array of shape {self._shape}"
                )
            array = np.empty(count, object)
            # Assigning the list would make rows of lists that are equally long.
            for index, entry in enumerate(objects):
                array[index] = entry
        elif isinstance(self._data, bytes | bytearray):
            if len(self._data) != count * dtype.itemsize:
                raise RefusedValueError(
                    f"{len(self._data)} bytes for an array of {dtype} of shape {self._shape}"
                )
            # NumPy can't tell how many strings of no length there are in no bytes.
            if not self._data and count > 1:
                raise RefusedValueError(f"no bytes for an array of shape {self._shape}")
            array = np.frombuffer(self._data, dtype) if self._data else np.zeros(count, dtype)
        else:
            raise RefusedValueError(f"an array made of a {type(self._data).__name__}")
        array = array.reshape(self._shape, order=self._order)
        array.flags.writeable = False
        return array


def reconstruct(cls: Any, shape: Any, kind: Any) -> PickledArray:
    """An array that gets its content later."""
    del shape, kind  # of the empty array that NumPy would start with
    if cls is not NDARRAY:
        raise RefusedValueError("an array of a class of its own")
    return PickledArray()


def array_of_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> PickledArray:
    """An array as protocol 5 stores it."""
    if order not in ("C", "F"):
        raise RefusedValueError("an array in an unknown order")
    return PickledArray(shape, dtype, data, order)


def scalar(dtype: Any, data: Any) -> Any:
    """A NumPy scalar, as Python's own number or string."""
    entry = PickledArray((), dtype, data)
    if entry.objects() is not None:
        raise RefusedValueError("a scalar of a list")
    return entry.build().item()


def build_arrays(value: Any) -> Any:
    """`value` with every `PickledArray` in it built."""
    built = _built(value, {}, 0)
    if _count(built, {}) > _MAX_ENTRIES:
        raise RefusedValueError(f"containers with more than {_MAX_ENTRIES} entries in all")
    return built


def _count(value: Any, counts: dict[int, int]) -> int:
    """The entries of all containers in `value`; `counts` holds by id what was counted before."""
    if isinstance(value, dict):
        entries: Iterable[Any] = value.values()
    elif isinstance(value, list | tuple):
        entries = value
    elif isinstance(value, np.ndarray) and value.dtype.hasobject:
        entries = value.flat
    else:
        return 1
    if id(value) not in counts:
        counts[id(value)] = 1 + sum(_count(entry, counts) for entry in entries)
    return counts[id(value)]


def _built(value: Any, met: dict[int, tuple[Any, Any]], depth: int) -> Any:
    """As `build_arrays`; `met` holds by id what was met before: the value, and what came of it."""
    if isinstance(value, _PLAIN):
        return value
    if depth > _MAX_DEPTH:
        raise RefusedValueError(f"containers nested more than {_MAX_DEPTH} deep")
    if id(value) not in met:
        met[id(value)] = (value, _UNDER_WAY)
        met[id(value)] = (value, _build_parts(value, met, depth + 1))
    if met[id(value)][1] is _UNDER_WAY:
        raise RefusedValueError("a container that holds itself")
    return met[id(value)][1]


def _build_parts(value: Any, met: dict[int, tuple[Any, Any]], depth: int) -> Any:
    if isinstance(value, PickledArray):
        objects = value.objects()
        if objects is not None:
            _built(objects, met, depth)
        return value.build()
    if isinstance(value, dict):
        for key in value:
            value[key] = _built(value[key], met, depth)
    elif isinstance(value, list):
        value[:] = [_built(entry, met, depth) for entry in value]
    elif isinstance(value, tuple):
        return tuple(_built(entry, met, depth) for entry in value)
    elif not isinstance(value, set | frozenset):  # their members are plain
        raise RefusedValueError("a type or a function where a value is expected")
    return value


def check_hashed(entries: Iterable[Any]) -> None:
    """Refuses keys and members of sets that are no strings, bytes or numbers, before they are used.

    They could not be replaced by arrays, and a tuple of shared tuples takes forever to hash.
    """
    for entry in entries:
        if not isinstance(entry, _PLAIN):
            raise RefusedValueError(f"a key that is a {type(entry).__name__}")
