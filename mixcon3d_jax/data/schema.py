"""The record contract between `data_prep`, which writes shards, and training, which reads them.

A data set is a TFDS data set in ArrayRecord files whose folder also holds `card.json`, what the
data set says about itself (`DatasetCard`), and `class_embeddings.npy` where it has classes.

A record holds one shape:

* `points`: y-up coordinates in random order.  Stored as 16-bit fixed point over the cloud's own
  range (`points_low`, `points_step`): off by at most 1/131070 of the largest extent.
* `colors`: sRGB, 0..255, row by row with the points.
* `view_embeddings`, `thumbnail_embedding`, `text_embeddings`: CLIP embeddings as float16.
* `renders`: the rendered views as encoded images, if they are kept.
* `group` and `gpt4_flag`: what OpenShape's files say of a shape: the part of the data set that it
  comes from, and whether its raw text was judged fit (`Y`) or not (`N`); else empty.
* `texts` and, for each, its `text_sources`.  A text has an `original` embedding, a `prompt_avg` one
  (mean over prompt templates), both, or none: it is then kept but never drawn.  `embedding_text`
  and `embedding_kind` say for every row of `text_embeddings` which text it belongs to and which of
  the two it is.  The order of the texts is kept: sampling reads meaning from it.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Float, UInt8
from tensorflow_datasets.proto import tf_example_pb2

from mixcon3d_jax.data.fixed_point import decode_points, encode_points
from mixcon3d_jax.errors import InputError

SCHEMA_VERSION = 2

TEXT_SOURCES = ("text", "caption", "retrieval")
EMBEDDING_KINDS = ("original", "prompt_avg")
GPT4_FLAGS = ("Y", "N", "")
# Of a record: rows of embeddings say in a byte which text they are of.
MAX_TEXTS = 255

_FLOAT16_MAX = float(np.finfo(np.float16).max)


class SchemaError(InputError):
    """A record or a data set does not keep the contract."""


@dataclasses.dataclass(frozen=True)
class Text:
    """One text of a shape and its CLIP embeddings, each of shape (D,) or absent."""

    text: str
    source: Literal["text", "caption", "retrieval"]
    original: Float[np.ndarray, "D"] | None = None
    prompt_avg: Float[np.ndarray, "D"] | None = None


@dataclasses.dataclass(frozen=True)
class Record:
    """One shape, as preparation hands it to the writer and `decode_record` hands it back."""

    id: str
    dataset: str
    class_name: str  # "" when the shape has none
    points: Float[np.ndarray, "points 3"]
    colors: UInt8[np.ndarray, "points 3"]
    view_embeddings: Float[np.ndarray, "views D"]
    thumbnail_embedding: Float[np.ndarray, "thumbnails D"]  # no row, or one
    texts: tuple[Text, ...]
    renders: tuple[bytes, ...] = ()
    group: str = ""
    gpt4_flag: Literal["Y", "N", ""] = ""


@dataclasses.dataclass(frozen=True)
class DatasetCard:
    """What a data set says about itself.

    Attributes:
      name: the data set's name.
      clip_id: the CLIP that all embeddings come from.
      embedding_size: D, the length of those embeddings.
      num_points: points of a record; single ones may have more or fewer.
      num_views: view embeddings a record.
      classes: the class names that zero-shot classification chooses among, in the order of the rows
        of `class_embeddings.npy`.
      splits: records a split.
      files: name -> bytes of every other file, so that a missing or truncated one is met at the
        start and not in mid-run.
      up_axis: the axis that points up in `points`.
      color_rule: what `colors` mean.
      schema_version: the version of this contract.
    """

    name: str
    clip_id: str
    embedding_size: int
    num_points: int
    num_views: int
    classes: tuple[str, ...] = ()
    splits: Mapping[str, int] = dataclasses.field(default_factory=dict)
    files: Mapping[str, int] = dataclasses.field(default_factory=dict)
    up_axis: str = "y"
    color_rule: str = "sRGB uint8; 0.4 grey where the asset has no colour"
    schema_version: int = SCHEMA_VERSION


# The stored fields: byte strings, lists of them, and arrays, whose `None` is any number of rows.
_STRINGS = ("id", "dataset", "group", "gpt4_flag", "class_name")
_STRING_LISTS = ("renders", "texts")


@functools.cache
def _arrays(embedding_size: int) -> dict[str, tuple[tuple[int | None, ...], type]]:
    return {
        "points": ((None, 3), np.uint16),
        "points_low": ((3,), np.float32),
        "points_step": ((), np.float32),
        "colors": ((None, 3), np.uint8),
        "view_embeddings": ((None, embedding_size), np.float16),
        "thumbnail_embedding": ((None, embedding_size), np.float16),
        "text_sources": ((None,), np.uint8),
        "text_embeddings": ((None, embedding_size), np.float16),
        "embedding_text": ((None,), np.uint8),
        "embedding_kind": ((None,), np.uint8),
    }


def record_features(embedding_size: int) -> tfds.features.FeaturesDict:
    """The TFDS features of a record whose CLIP embeddings have `embedding_size` entries."""
    features = tfds.features
    # TFDS' default encoding stores float16 as float32 and uint8 as varints.
    arrays = {
        name: features.Tensor(shape=shape, dtype=dtype, encoding="bytes")
        for name, (shape, dtype) in _arrays(embedding_size).items()
    }
    lists = {name: features.Sequence(features.Text()) for name in _STRING_LISTS}
    strings = {name: features.Text() for name in _STRINGS}
    return features.FeaturesDict(strings | lists | arrays)


def serialize_example(example: Mapping[str, Any], embedding_size: int) -> bytes:
    """What TFDS' own serialisation of `record_features` holds, always in the same order.

    TFDS' comes in an order that differs from process to process, and so would a shard's checksum.

    Args:
      example: of `encode_record`.
      embedding_size: D.
    """
    message = tf_example_pb2.Example()
    fields = message.features.feature
    for name in _STRINGS:
        fields[name].bytes_list.value.append(example[name].encode())
    for name in _STRING_LISTS:
        entries = [e.encode() if isinstance(e, str) else e for e in example[name]]
        fields[name].bytes_list.SetInParent()  # also where there are none
        fields[name].bytes_list.value.extend(entries)
    for name, (_, dtype) in _arrays(embedding_size).items():
        values = np.ascontiguousarray(example[name], dtype)
        fields[name].bytes_list.value.append(values.tobytes())
    return message.SerializeToString(deterministic=True)


def renamed_example(serialized: bytes, record_id: str, class_name: str) -> bytes:
    """A serialised example under another id and class."""
    message = tf_example_pb2.Example.FromString(serialized)
    for name, value in (("id", record_id), ("class_name", class_name)):
        message.features.feature[name].bytes_list.value[0] = value.encode()
    return message.SerializeToString(deterministic=True)


def parse_example(serialized: bytes, embedding_size: int) -> dict[str, Any]:
    """The example that `serialize_example`, or `record_features`, serialised.

    What TFDS' own parser returns, in a sixth of its time, which reading is bound by.
    """
    fields = tf_example_pb2.Example.FromString(serialized).features.feature
    example: dict[str, Any] = {name: fields[name].bytes_list.value[0] for name in _STRINGS}
    for name in _STRING_LISTS:
        example[name] = list(fields[name].bytes_list.value)
    for name, (shape, dtype) in _arrays(embedding_size).items():
        values = np.frombuffer(fields[name].bytes_list.value[0], dtype)
        example[name] = values.reshape([-1 if size is None else size for size in shape])
    return example


def encode_record(record: Record, embedding_size: int) -> dict[str, Any]:
    """The example that TFDS serialises for a record.

    Raises:
      SchemaError: if the record breaks the contract; the message names the record and the field.
    """
    _check(record, embedding_size)
    points, low, step = encode_points(record.points)
    if not np.isfinite(step) or step == 0:
        raise SchemaError(
            f"record {record.id!r}, field 'points': an extent of {np.ptp(record.points)} can't be "
            "stored; bring the cloud to a usual size"
        )
    rows, of_text, of_kind = [], [], []
    for index, text in enumerate(record.texts):
        for kind, name in enumerate(EMBEDDING_KINDS):
            embedding = getattr(text, name)
            if embedding is not None:
                rows.append(embedding)
                of_text.append(index)
                of_kind.append(kind)
    return {
        "id": record.id,
        "dataset": record.dataset,
        "group": record.group,
        "gpt4_flag": record.gpt4_flag,
        "class_name": record.class_name,
        "points": points,
        "points_low": low,
        "points_step": step,
        "colors": record.colors,
        "view_embeddings": np.asarray(record.view_embeddings, np.float16),
        "thumbnail_embedding": np.asarray(record.thumbnail_embedding, np.float16),
        "renders": list(record.renders),
        "texts": [text.text for text in record.texts],
        "text_sources": np.array([TEXT_SOURCES.index(t.source) for t in record.texts], np.uint8),
        "text_embeddings": np.asarray(rows, np.float16).reshape(len(rows), embedding_size),
        "embedding_text": np.array(of_text, np.uint8),
        "embedding_kind": np.array(of_kind, np.uint8),
    }


def decode_record(example: Mapping[str, Any]) -> Record:
    """The record that a stored example holds; embeddings stay float16."""
    rows = {
        (int(text), int(kind)): row
        for text, kind, row in zip(
            example["embedding_text"],
            example["embedding_kind"],
            example["text_embeddings"],
            strict=True,
        )
    }
    texts = tuple(
        Text(
            text=text.decode(),
            source=TEXT_SOURCES[source],
            **{name: rows.get((index, kind)) for kind, name in enumerate(EMBEDDING_KINDS)},
        )
        for index, (text, source) in enumerate(
            zip(example["texts"], example["text_sources"], strict=True)
        )
    )
    return Record(
        id=example["id"].decode(),
        dataset=example["dataset"].decode(),
        class_name=example["class_name"].decode(),
        points=decode_points(example),
        colors=example["colors"],
        view_embeddings=example["view_embeddings"],
        thumbnail_embedding=example["thumbnail_embedding"],
        texts=texts,
        renders=tuple(example["renders"]),
        group=example["group"].decode(),
        gpt4_flag=example["gpt4_flag"].decode(),
    )


def _check(record: Record, embedding_size: int) -> None:
    def fail(field: str, problem: str) -> None:
        raise SchemaError(f"record {record.id!r}, field {field!r}: {problem}")

    if not record.id:
        raise SchemaError("a record has an empty id; every record needs one of its own")
    if record.gpt4_flag not in GPT4_FLAGS:
        fail("gpt4_flag", f"{record.gpt4_flag!r} is none of {GPT4_FLAGS}")
    points = np.asarray(record.points)
    if points.ndim != 2 or points.shape[1] != 3 or not len(points):
        fail("points", f"expected shape (points, 3) with at least one point, got {points.shape}")
    if not np.isfinite(points).all():
        fail("points", "has NaN or infinite coordinates")
    if record.colors.shape != points.shape or record.colors.dtype != np.uint8:
        fail("colors", f"expected uint8 {points.shape}, got {record.colors.dtype} "
             f"{record.colors.shape}")  # fmt: skip
    if len(record.texts) > MAX_TEXTS:
        fail("texts", f"at most {MAX_TEXTS} texts fit a record, got {len(record.texts)}")
    for index, text in enumerate(record.texts):
        if text.source not in TEXT_SOURCES:
            fail(f"texts[{index}].source", f"{text.source!r} is none of {', '.join(TEXT_SOURCES)}")
    if len(record.thumbnail_embedding) > 1:
        fail("thumbnail_embedding", f"at most one row, got {len(record.thumbnail_embedding)}")
    for field, embedding, dimensions in _embeddings(record):
        embedding = np.asarray(embedding)
        if embedding.ndim != dimensions or embedding.shape[-1] != embedding_size:
            expected = ("rows", embedding_size)[-dimensions:]
            fail(field, f"expected shape ({', '.join(map(str, expected))}), got {embedding.shape}")
        if not np.all(np.abs(embedding) <= _FLOAT16_MAX):
            fail(field, f"has NaN, or entries beyond float16's range of ±{_FLOAT16_MAX:.0f}")


def _embeddings(record: Record) -> Sequence[tuple[str, np.ndarray, int]]:
    """Field, array and the number of dimensions that it has to have."""
    found = [
        ("view_embeddings", record.view_embeddings, 2),
        ("thumbnail_embedding", record.thumbnail_embedding, 2),
    ]
    for index, text in enumerate(record.texts):
        for kind in EMBEDDING_KINDS:
            if getattr(text, kind) is not None:
                found.append((f"texts[{index}].{kind}", getattr(text, kind), 1))
    return found
