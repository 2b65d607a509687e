"""A record survives the way to its stored form and back, and a broken one does not get in."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tensorflow_datasets.proto import tf_example_pb2

from mixcon3d_jax.data.fixed_point import decode_points, encode_points
from mixcon3d_jax.data.schema import (
    Record,
    SchemaError,
    Text,
    decode_record,
    encode_record,
    parse_example,
    record_features,
    serialize_example,
)

SIZE = 4
FEATURES = record_features(SIZE)


def make_record(**changes) -> Record:
    rng = np.random.default_rng(0)
    record = Record(
        id="a/1",
        dataset="made",
        class_name="chair",
        points=rng.normal(size=(5, 3)).astype(np.float32),
        colors=rng.integers(0, 256, (5, 3)).astype(np.uint8),
        view_embeddings=rng.normal(size=(12, SIZE)),
        thumbnail_embedding=rng.normal(size=(1, SIZE)),
        texts=(
            Text("one", "text", original=rng.normal(size=SIZE)),
            Text("both", "caption", original=rng.normal(size=SIZE), prompt_avg=np.ones(SIZE)),
            Text("averaged", "caption", prompt_avg=rng.normal(size=SIZE)),
            Text("none", "retrieval"),
        ),
        renders=(b"\x89PNG\r\n\x00\xff", b""),
        group="000-012",
        gpt4_flag="N",
    )
    return dataclasses.replace(record, **changes)


def stored(record: Record) -> Record:
    """Through TFDS' serialisation and back."""
    return decode_record(
        FEATURES.deserialize_example_np(FEATURES.serialize_example(encode_record(record, SIZE)))
    )


@st.composite
def clouds(draw) -> np.ndarray:
    """Up to 40 points, flat along some axes or none, with an extent of 1e-6 to 1e6 or of 0."""
    count = draw(st.integers(1, 40))
    grid = draw(hnp.arrays(np.float64, (count, 3), elements=st.integers(-1000, 1000)))
    flat = draw(hnp.arrays(bool, 3))
    grid[:, flat] = 0
    extent = np.ptp(grid, axis=0).max()
    return (grid - grid[0]) / max(extent, 1) * 10 ** draw(st.floats(-6, 6))


@settings(max_examples=200, deadline=None)
@given(
    cloud=clouds(),
    center=hnp.arrays(np.float64, 3, elements=st.floats(-1e6, 1e6)),
    far=st.booleans(),
)
def test_points_are_kept_to_a_65535th_of_the_extent(cloud, center, far):
    points = (cloud + (center if far else 0)).astype(np.float32)

    fixed, low, step = encode_points(points)
    found = decode_points({"points": fixed, "points_low": low, "points_step": step})

    assert found.dtype == np.float32
    extent = np.ptp(points.astype(np.float64), axis=0).max()
    # float32 has no numbers between neighbours: far from the origin they are what remains.
    rounding = 2 * np.spacing(np.abs(points).max())
    error = np.abs(found.astype(np.float64) - points).max()
    assert error <= extent / 131070 * (1 + 1e-3) + rounding
    if not far:
        assert error <= 1e-4 * extent


def test_a_single_point_and_a_single_place_are_exact():
    for points in ([[1e6, -3, 1e-6]], [[0.1, 0.2, 0.3]] * 7):
        points = np.array(points, np.float32)
        fixed, low, step = encode_points(points)
        found = decode_points({"points": fixed, "points_low": low, "points_step": step})
        np.testing.assert_array_equal(found, points)


def test_the_corners_of_a_cloud_use_the_whole_range():
    points = np.array([[-1, -2, -3], [1, 2, 3], [0, 0, 0]], np.float32)
    fixed, low, _ = encode_points(points)
    np.testing.assert_array_equal(low, [-1, -2, -3])
    assert fixed.dtype == np.uint16
    assert fixed[0].tolist() == [0, 0, 0]
    assert fixed[1, 2] == 65535


def test_everything_else_of_a_record_comes_back():
    record = make_record()
    found = stored(record)
    for field in ("id", "dataset", "class_name", "renders", "group", "gpt4_flag"):
        assert getattr(found, field) == getattr(record, field)
    np.testing.assert_array_equal(found.colors, record.colors)
    np.testing.assert_array_equal(found.view_embeddings, record.view_embeddings.astype(np.float16))
    np.testing.assert_array_equal(
        found.thumbnail_embedding, record.thumbnail_embedding.astype(np.float16)
    )
    assert len(found.texts) == len(record.texts)
    for got, text in zip(found.texts, record.texts, strict=True):
        assert (got.text, got.source) == (text.text, text.source)
        for kind in ("original", "prompt_avg"):
            expected = getattr(text, kind)
            if expected is None:
                assert getattr(got, kind) is None
            else:
                np.testing.assert_array_equal(getattr(got, kind), expected.astype(np.float16))


def test_a_record_without_texts_thumbnail_and_renders():
    found = stored(make_record(texts=(), thumbnail_embedding=np.zeros((0, SIZE)), renders=()))
    assert found.texts == ()
    assert found.renders == ()
    assert found.thumbnail_embedding.shape == (0, SIZE)


@pytest.mark.parametrize("word", ["Stühlchen", "椅子", "🪑", "a\nb\x00c", ""])
def test_unicode(word):
    record = make_record(
        id=f"id {word}", class_name=word, texts=(Text(word, "caption", np.ones(SIZE)),)
    )
    found = stored(record)
    assert (found.id, found.class_name, found.texts[0].text) == (f"id {word}", word, word)


def test_255_texts_fit():
    texts = tuple(
        Text(str(i), "retrieval", np.full(SIZE, i), np.full(SIZE, -i)) for i in range(255)
    )
    found = stored(make_record(texts=texts))
    assert [text.text for text in found.texts] == [str(i) for i in range(255)]
    assert [int(text.original[0]) for text in found.texts] == list(range(255))
    assert [int(text.prompt_avg[0]) for text in found.texts] == [-i for i in range(255)]


BAD_NAN = np.full((5, 3), np.nan, np.float32)
VIOLATIONS = {
    "points not (n, 3)": ("points", {"points": np.zeros((5, 2), np.float32)}),
    "no points": ("points", {"points": np.zeros((0, 3), np.float32)}),
    "points NaN": ("points", {"points": BAD_NAN}),
    "points infinite": ("points", {"points": np.full((5, 3), np.inf, np.float32)}),
    "colors too few": ("colors", {"colors": np.zeros((4, 3), np.uint8)}),
    "colors float": ("colors", {"colors": np.zeros((5, 3), np.float32)}),
    "view size": ("view_embeddings", {"view_embeddings": np.zeros((12, SIZE + 1))}),
    "view dimensions": ("view_embeddings", {"view_embeddings": np.zeros(SIZE)}),
    "view NaN": ("view_embeddings", {"view_embeddings": np.full((12, SIZE), np.nan)}),
    "view beyond float16": ("view_embeddings", {"view_embeddings": np.full((12, SIZE), 7e4)}),
    "thumbnail size": ("thumbnail_embedding", {"thumbnail_embedding": np.zeros((1, SIZE - 1))}),
    "thumbnail dimensions": ("thumbnail_embedding", {"thumbnail_embedding": np.zeros(SIZE)}),
    "two thumbnails": ("thumbnail_embedding", {"thumbnail_embedding": np.zeros((2, SIZE))}),
    "text size": (
        "texts[1].original",
        {"texts": (Text("", "text"), Text("", "text", np.zeros(3)))},
    ),
    "text dimensions": (
        "texts[0].prompt_avg",
        {"texts": (Text("", "text", None, np.zeros((1, SIZE))),)},
    ),
    "text infinite": ("texts[0].original", {"texts": (Text("", "text", np.full(SIZE, np.inf)),)}),
    "text source": ("texts[0].source", {"texts": (Text("", "rumour", np.zeros(SIZE)),)}),
    "too many texts": ("texts", {"texts": (Text("", "text"),) * 256}),
}


@pytest.mark.parametrize(("field", "changes"), VIOLATIONS.values(), ids=VIOLATIONS)
def test_a_broken_record_is_refused_by_name_and_field(field, changes):
    with pytest.raises(SchemaError) as error:
        encode_record(make_record(**changes), SIZE)
    assert "'a/1'" in str(error.value)
    assert f"'{field}'" in str(error.value)


def test_an_unknown_flag_is_refused():
    with pytest.raises(SchemaError, match=r"'a/1', field 'gpt4_flag': 'maybe' is none of"):
        encode_record(make_record(gpt4_flag="maybe"), SIZE)


def test_an_empty_id_is_refused():
    with pytest.raises(SchemaError, match="empty id"):
        encode_record(make_record(id=""), SIZE)


@settings(deadline=None, max_examples=30)
@given(
    num_points=st.integers(1, 5),
    views=st.integers(0, 3),
    thumbnails=st.integers(0, 1),
    words=st.lists(st.text(max_size=5), max_size=3),
)
def test_parsing_gives_what_tfds_gives(num_points, views, thumbnails, words):
    record = make_record(
        points=np.ones((num_points, 3)),
        colors=np.zeros((num_points, 3), np.uint8),
        view_embeddings=np.ones((views, SIZE)),
        thumbnail_embedding=np.ones((thumbnails, SIZE)),
        texts=tuple(Text(word, "text", np.ones(SIZE)) for word in words),
    )
    features = record_features(SIZE)
    serialized = features.serialize_example(encode_record(record, SIZE))
    expected = features.deserialize_example_np(serialized)
    found = parse_example(serialized, SIZE)
    assert found.keys() == expected.keys()
    for name, value in found.items():
        if isinstance(value, np.ndarray):
            assert value.dtype == expected[name].dtype
        np.testing.assert_array_equal(value, expected[name], strict=isinstance(value, np.ndarray))


def message(serialized: bytes) -> tf_example_pb2.Example:
    return tf_example_pb2.Example.FromString(serialized)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"texts": (), "renders": (), "thumbnail_embedding": np.zeros((0, SIZE))},
        {"view_embeddings": np.zeros((0, SIZE)), "group": "", "class_name": "чашка"},
        {"points": np.ones((5, 3)), "colors": np.asfortranarray(np.eye(5, 3, dtype=np.uint8))},
    ],
)
def test_what_is_stored_is_what_tfds_stores(changes):
    example = encode_record(make_record(**changes), SIZE)
    expected = message(FEATURES.serialize_example(example))
    assert message(serialize_example(example, SIZE)) == expected


def test_every_process_stores_the_same_bytes():
    program = (
        "from tests.data.test_schema import *\n"
        "print(serialize_example(encode_record(make_record(), SIZE), SIZE).hex())"
    )
    expected = serialize_example(encode_record(make_record(), SIZE), SIZE).hex()
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).resolve().parents[2],
            env=os.environ | {"PYTHONHASHSEED": seed},
        )
        assert done.stdout.strip() == expected
