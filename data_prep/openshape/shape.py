"""One file of OpenShape's training data -> one record."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from jaxtyping import Float

from data_prep.openshape.clouds import CloudFieldError, read_colors, read_points
from data_prep.openshape.folders import FOLDERS
from data_prep.openshape.pickles import load_npy
from mixcon3d_jax.data.schema import EMBEDDING_KINDS, Record, Text
from mixcon3d_jax.errors import InputError

_CAPTIONS = ("blip_caption", "msft_caption")
_FLOAT16_MAX = float(np.finfo(np.float16).max)
_MAX_TEXTS = 255


class ShapeError(InputError):
    """A file does not hold a shape as OpenShape's files do; the message names file and field."""


class _FieldError(Exception):
    """What is wrong with a field."""


def read_shape(
    data: bytes, name: str, dataset: str, embedding_size: int, gpt4_flag: Callable[[str], str]
) -> Record:
    """The record of a shape.

    Args:
      data: the content of its `.npy` file.
      name: how messages call the file.
      dataset: which of `folders.FOLDERS` it should belong to.
      embedding_size: D.
      gpt4_flag: id -> "Y", "N" or "".

    Raises:
      PickleError: if the file is damaged or holds something else than arrays and plain values.
      ShapeError: if a field is missing or wrong.
    """
    shape = load_npy(data, name)
    if not isinstance(shape, dict):
        raise ShapeError(f"{name}: holds a {type(shape).__name__} instead of a dict of fields")
    record_id = _string(shape, name, "id")
    if not record_id:
        raise ShapeError(f"{name}, field 'id': is empty or missing; a shape is known by its id")
    _check_dataset(shape, name, dataset)
    with _field(name, "xyz"):
        points = read_points(shape.get("xyz"))
    with _field(name, "rgb"):
        colors = read_colors(shape.get("rgb"), len(points))
    with _field(name, "image_feat"):
        views = _embeddings(shape.get("image_feat"), embedding_size)
        if not len(views):
            raise _FieldError("is empty or missing; a shape needs the embedding of a view")
    with _field(name, "thumbnail_feat"):
        thumbnail = _embeddings(shape.get("thumbnail_feat"), embedding_size)
        if len(thumbnail) > 1:
            raise _FieldError(f"has {len(thumbnail)} rows instead of one")
    return Record(
        id=record_id,
        dataset=dataset,
        group=_string(shape, name, "group"),
        gpt4_flag=gpt4_flag(record_id),
        class_name="",
        points=points,
        colors=colors,
        view_embeddings=views,
        thumbnail_embedding=thumbnail,
        texts=_texts(shape, name, embedding_size),
    )


@contextmanager
def _field(name: str, field: str) -> Iterator[None]:
    """Says in which file and field something was wrong."""
    try:
        yield
    except (_FieldError, CloudFieldError) as error:
        raise ShapeError(f"{name}, field {field!r}: {error}") from None
    except (TypeError, ValueError, OverflowError) as error:  # as NumPy says of strange content
        raise ShapeError(f"{name}, field {field!r}: can't be read ({error})") from error


def _string(shape: Mapping[str, Any], name: str, field: str) -> str:
    with _field(name, field):
        return _text(shape.get(field))


def _text(value: Any) -> str:
    """A string, stored as such or as a NumPy one; "" for None."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _FieldError(f"holds a {type(value).__name__} where a string is expected")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise _FieldError(f"is no valid text ({error})") from error
    return value


def _check_dataset(shape: Mapping[str, Any], name: str, dataset: str) -> None:
    found = _string(shape, name, "dataset")
    if found == dataset:
        return
    known = f"is {found!r}, which is none of {', '.join(FOLDERS)}"
    if found in FOLDERS:
        known = f"is {found!r}, but the file lies among those of {dataset}"
    raise ShapeError(f"{name}, field 'dataset': {known}; put the file where it belongs")


def _embeddings(value: Any, embedding_size: int) -> Float[np.ndarray, "rows D"]:
    """Embeddings as float16, one a row; no row for what is missing or empty."""
    rows = np.asarray([] if value is None else value)
    if not rows.size:
        return np.zeros((0, embedding_size), np.float16)
    if rows.dtype.kind != "f":
        raise _FieldError(f"holds {rows.dtype} instead of floats")
    if rows.ndim not in (1, 2) or rows.shape[-1] != embedding_size:
        raise _FieldError(
            f"has shape {rows.shape}, but embeddings have {embedding_size} entries "
            "(--embedding-size)"
        )
    if not np.abs(rows).max() <= _FLOAT16_MAX:
        raise _FieldError(f"has NaN, or entries beyond float16's range of ±{_FLOAT16_MAX:.0f}")
    return rows.reshape(-1, embedding_size).astype(np.float16)


def _texts(shape: Mapping[str, Any], name: str, embedding_size: int) -> tuple[Text, ...]:
    """Every text, then always the two captions, then every retrieved text."""
    texts = [
        *_text_list(shape, name, "text", "text", embedding_size),
        *(_caption(shape, name, field, embedding_size) for field in _CAPTIONS),
        *_text_list(shape, name, "retrieval_text", "retrieval", embedding_size),
    ]
    if len(texts) > _MAX_TEXTS:
        raise ShapeError(f"{name}: has {len(texts)} texts, while a record holds {_MAX_TEXTS}")
    return tuple(texts)


def _text_list(
    shape: Mapping[str, Any], name: str, field: str, source: str, embedding_size: int
) -> list[Text]:
    with _field(name, field):
        texts = [_text(text) for text in _entries(shape.get(field))]
    feature_field = f"{field}_feat"
    with _field(name, feature_field):
        features = _entries(shape.get(feature_field))
        if len(features) != len(texts):
            raise _FieldError(f"has {len(features)} entries for {len(texts)} texts")
        return [
            Text(text, source, **_kinds(feature, embedding_size))
            for text, feature in zip(texts, features, strict=True)
        ]


def _caption(shape: Mapping[str, Any], name: str, field: str, embedding_size: int) -> Text:
    caption = _string(shape, name, field)
    if not caption:
        return Text("", "caption")
    with _field(name, f"{field}_feat"):
        return Text(caption, "caption", **_kinds(shape.get(f"{field}_feat"), embedding_size))


def _entries(value: Any) -> list:
    if value is None:
        return []
    if isinstance(value, np.ndarray):
        value = value.reshape(-1)
    if not isinstance(value, list | tuple | np.ndarray):
        raise _FieldError(f"holds a {type(value).__name__} where a list is expected")
    return list(value)


def _kinds(value: Any, embedding_size: int) -> dict[str, np.ndarray]:
    """The embeddings of one text by their kind."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "O" and value.size == 1:
        value = value.item()
    if not isinstance(value, dict):
        raise _FieldError(f"holds a {type(value).__name__} where a dict of embeddings is expected")
    kinds = {}
    for kind in EMBEDDING_KINDS:
        rows = _embeddings(value.get(kind), embedding_size)
        if len(rows) > 1:
            raise _FieldError(f"has {len(rows)} rows for one text")
        if len(rows):
            kinds[kind] = rows[0]
    if not kinds:
        raise _FieldError(f"has neither of {', '.join(EMBEDDING_KINDS)}")
    return kinds
