import contextlib
import io
import pickle
import pickletools
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from data_prep.openshape.pickles import PickleError, load_npy

_PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
_ARRAYS = arrays.arrays(
    st.sampled_from(["?", "i1", "<i4", ">i4", "u8", "<f2", "f4", ">f8", "c8", "<U3", "S4"]),
    arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)
_VALUES = st.recursive(
    _PLAIN | _ARRAYS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=5), inner, max_size=4)
        | st.tuples(inner, inner)
        | st.sets(st.integers(), max_size=3)
    ),
    max_leaves=10,
)


def saved(value) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array(value) if isinstance(value, np.ndarray) else _wrapped(value))
    return file.getvalue()


def _wrapped(value) -> np.ndarray:
    array = np.empty((), object)
    array[()] = value
    return array


def equal(a, b) -> bool:
    if isinstance(a, np.ndarray):
        same = isinstance(b, np.ndarray) and (a.dtype, a.shape) == (b.dtype, b.shape)
        return same and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(equal, a, b))
    return type(a) is type(b) and (a == b or (a != a and b != b))


@settings(deadline=None)
@given(value=_VALUES, protocol=st.integers(0, 5), fix_imports=st.booleans())
def test_reads_what_pickle_wrote(value, protocol, fix_imports):
    data = pickle.dumps(value, protocol, fix_imports=fix_imports)
    assert equal(value, load_npy(data, "x.npy"))


@given(value=_VALUES)
@settings(deadline=None)
def test_reads_what_numpy_saved(value):
    assert equal(value, load_npy(saved(value), "x.npy"))
    assert equal(value, load_npy(io.BytesIO(saved(value)), "x.npy"))


@pytest.mark.parametrize("spelling", [b"numpy._core.multiarray", b"numpy.core.multiarray"])
def test_both_names_of_numpys_inner_module(spelling):
    data = pickle.dumps({"x": np.arange(3), "y": np.float32(2)}, 2)
    (found,) = {arg for _, arg, _ in pickletools.genops(data) if "multiarray" in str(arg)} - {
        "numpy._core.multiarray scalar",
        "numpy.core.multiarray scalar",
    }
    module = found.split()[0].encode()
    loaded = load_npy(data.replace(module, spelling), "x.npy")
    assert loaded["x"].tolist() == [0, 1, 2]
    assert loaded["y"] == 2.0


def test_scalars_become_pythons_own():
    value = {"s": np.str_("chair"), "f": np.float32(0.5), "i": np.int64(3), "e": np.str_("")}
    loaded = load_npy(saved(value), "x.npy")
    assert loaded == {"s": "chair", "f": 0.5, "i": 3, "e": ""}
    assert [type(entry) for entry in loaded.values()] == [str, float, int, str]


def test_arrays_of_objects_keep_shape_and_entries():
    array = np.empty((2, 2), object)
    array[:] = [["a", None], [{"b": np.arange(2)}, [1]]]
    loaded = load_npy(saved(array), "x.npy")
    assert loaded.shape == (2, 2)
    assert loaded[0, 0] == "a"
    assert loaded[1, 0]["b"].tolist() == [0, 1]


def test_the_same_array_twice_stays_one():
    array = np.arange(3)
    first, second = load_npy(pickle.dumps([array, array]), "x.npy")
    assert first is second


class _Payload:
    def __init__(self, function, *arguments):
        self._reduced = function, arguments

    def __reduce__(self):
        return self._reduced


def _payloads(target: Path) -> list:
    """Objects that would write `target` when a plain `np.load` reads them."""
    import builtins
    import os

    return [
        _Payload(os.system, f"touch {target}"),
        _Payload(builtins.eval, f"open({str(target)!r}, 'w').close()"),
        _Payload(open, str(target), "w"),
        _Payload(np.save, str(target), [1]),
        {"id": "x", "xyz": [_Payload(os.system, f"touch {target}")]},
        np.array([_Payload(os.system, f"touch {target}"), None]),
    ]


@pytest.mark.parametrize("index", range(6))
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_payload_does_not_run(tmp_path, index, protocol):
    target = tmp_path / "ran"
    payload = _payloads(target)[index]
    for data in (saved(payload), pickle.dumps(payload, protocol)):
        with pytest.raises(PickleError, match=r"shape\.npy: names .*(system|eval|open|save)"):
            load_npy(data, "shape.npy")
    assert not target.exists()
    pickle.loads(pickle.dumps(payload, protocol))  # the payload is one
    assert list(tmp_path.iterdir())


def _forged_dtype() -> bytes:
    """An array of objects whose type says that it holds none: its bytes would be addresses."""
    return (
        b"\x80\x02cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
        b"(K\x01(K\x01tcnumpy\ndtype\n(U\x02O8K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tb\x89U\x08AAAAAAAAtb."
    )


def _call(module: str, name: str, arguments: bytes) -> bytes:
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + arguments + b"R."


FORGED = {
    "object array made of bytes": _forged_dtype(),
    "new object of an admitted class": b"\x80\x02cnumpy\ndtype\n)\x81.",
    "attribute of an admitted function": (b"\x80\x02c_codecs\nencode\nN}U\x0c__defaults__)s\x86b."),
    "the array class called": _call("numpy", "ndarray", b"(J\xff\xff\xff\x7f\x85t"),
    "a function as the value": b"\x80\x02c_codecs\nencode\n.",
    "a type as the value": b"\x80\x02cnumpy\nndarray\n.",
    "many zero bytes": _call("builtins", "bytes", b"(J\xff\xff\xff\x7ft"),
    "another codec": _call("_codecs", "encode", b"(U\x01aU\x03hext"),
    "more bytes than there are": b"\x80\x05\x8e" + struct.pack("<Q", 1 << 40) + b"abc.",
    "more writable bytes than there are": b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"abc.",
    "a persistent id": b"\x80\x02Paddress\n.",
    "an extension": b"\x80\x02\x82\x01.",
    "deep nesting": b"\x80\x02" + b"]" * 5000 + b"a" * 4999 + b".",
    "a list in itself": b"\x80\x02]q\x00h\x00a.",
    "nothing": b"",
    "a text": b"id,dataset\nx,Objaverse\n",
    "an html page": b"<html><body>404 Not Found</body></html>",
    "a gzip file": b"\x1f\x8b\x08\x00" + b"\x00" * 30,
}


@pytest.mark.parametrize("what", FORGED)
def test_forged_and_damaged_pickles_are_refused(what):
    with pytest.raises(PickleError, match=r"shape\.npy"):
        load_npy(FORGED[what], "shape.npy")


# (((), ()), ((), ())) and so on, 45 deep: each tuple stands twice in the next one.
_SHARED = b")" + b"2\x86" * 45
SLOW = {
    "a key, set alone": b"\x80\x04}" + _SHARED + b"Ns.",
    "keys, set together": b"\x80\x04}(" + _SHARED + b"Nu.",
    "a key of a dict from its parts": b"\x80\x04(" + _SHARED + b"Nd.",
    "members of a set": b"\x80\x04\x8f(" + _SHARED + b"\x90.",
    "members of a frozen set": b"\x80\x04(" + _SHARED + b"\x91.",
    "members of a set from a list": _call("builtins", "set", b"](" + _SHARED + b"e\x85"),
    "a shape": _call(
        "numpy._core.numeric",
        "_frombuffer",
        b"(U\x00cnumpy\ndtype\n(U\x02f4tR" + _SHARED + b"U\x01Ct",
    ),
    "a data type": _call("numpy", "dtype", _SHARED + b"\x85"),
    "a value": b"\x80\x04" + _SHARED + b".",
}


@pytest.mark.parametrize("what", SLOW)
def test_small_pickles_that_would_take_for_ever_are_refused(what):
    with pytest.raises(PickleError, match=r"shape\.npy"):
        load_npy(SLOW[what], "shape.npy")


def test_a_forged_memo_index_takes_no_memory():
    # Python's unpickler in C would set aside 34 GB here.
    assert load_npy(b"\x80\x02K\x07r\xff\xff\xff\x7f.", "x.npy") == 7


def test_a_header_that_promises_more_than_there_is():
    data = saved(np.arange(4.0))
    forged = data.replace(b"(4,)", b"(9,)")
    with pytest.raises(PickleError, match="32 bytes of data instead of 72"):
        load_npy(forged, "x.npy")


def test_other_types_are_refused():
    for array in (np.zeros(2, [("a", object)]), np.ma.masked_array([1, 2], [True, False])):
        with pytest.raises(PickleError):
            load_npy(pickle.dumps(array), "x.npy")
    with pytest.raises(PickleError):
        load_npy(saved(np.zeros(2, [("a", object)])), "x.npy")


@settings(deadline=None)
@given(data=st.data())
def test_a_truncated_file_is_refused(data):
    whole = saved({"id": "x", "xyz": np.ones((5, 3), np.float32), "text": ["a", np.str_("b")]})
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(PickleError):
        load_npy(whole[:cut], "x.npy")


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_changed_bytes_give_a_value_or_the_named_error(data):
    whole = bytearray(saved({"id": "x", "xyz": np.ones((2, 3), np.float16), "n": [np.int8(1)]}))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(PickleError):
        load_npy(bytes(whole), "x.npy")


@given(st.binary())
@settings(deadline=None)
def test_garbage_gives_a_value_or_the_named_error(garbage):
    with contextlib.suppress(PickleError):
        load_npy(garbage, "x.npy")
