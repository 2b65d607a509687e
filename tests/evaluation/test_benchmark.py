"""Which classes a benchmark chooses among, and which data sets it refuses."""

import dataclasses

import numpy as np
import pytest

from mixcon3d_jax.data.schema import DatasetCard, SchemaError
from mixcon3d_jax.data.writer import write_dataset
from mixcon3d_jax.evaluation.benchmark import open_benchmark
from tests import generated


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """`train` has all four classes, `rods` has discs and rods only, rods first."""
    path = tmp_path_factory.mktemp("data")
    card = DatasetCard("generated", generated.CLIP_ID, 16, 200, 12, generated.CLASSES)
    splits = {
        "train": [generated.make_record(i, "train") for i in range(8)],
        "rods": [generated.make_record(i, "rods") for i in (2, 1, 5, 6)],
    }
    write_dataset(path, card, splits, generated.class_embeddings())
    return path


def open_(directory, split="train", among="all", clip_id=generated.CLIP_ID, size=16):
    return open_benchmark("bench", directory, split, among, clip_id, size)


def test_among_all_classes(directory):
    found = open_(directory, "rods")
    assert found.name == "bench"
    assert found.classes == generated.CLASSES
    assert found.labels.tolist() == [2, 1, 1, 2]
    np.testing.assert_array_equal(found.class_embeddings, generated.class_embeddings())
    assert [example["id"] for example in found.source] == [
        b"rods/2", b"rods/1", b"rods/5", b"rods/6"
    ]  # fmt: skip


def test_among_the_classes_of_the_split(directory):
    found = open_(directory, "rods", "present")
    assert found.classes == ("disc", "rod")
    assert found.labels.tolist() == [1, 0, 0, 1]
    np.testing.assert_array_equal(found.class_embeddings, generated.class_embeddings()[1:3])


def test_present_equals_all_where_all_are_present(directory):
    present, all_ = open_(directory, among="present"), open_(directory)
    assert present.classes == all_.classes
    np.testing.assert_array_equal(present.labels, all_.labels)


def test_any_other_choice_is_refused(directory):
    with pytest.raises(SchemaError, match="benchmark bench: among is 'some'; say 'all'"):
        open_(directory, among="some")


@pytest.mark.parametrize(("clip_id", "size"), [("other", 16), (generated.CLIP_ID, 8)])
def test_another_clip_is_refused(directory, clip_id, size):
    with pytest.raises(SchemaError, match="was embedded with CLIP 'generated-clip' of size 16"):
        open_(directory, clip_id=clip_id, size=size)


def test_an_unknown_split_is_refused(directory):
    with pytest.raises(SchemaError, match="no split 'seen'; it has rods, train"):
        open_(directory, "seen")


def test_a_record_without_a_class_is_refused(tmp_path):
    records = [generated.make_record(i, "train") for i in range(4)]
    records[2] = dataclasses.replace(records[2], class_name="")
    card = DatasetCard("generated", generated.CLIP_ID, 16, 200, 12, generated.CLASSES)
    write_dataset(tmp_path, card, {"train": records}, generated.class_embeddings())
    with pytest.raises(SchemaError, match=r"benchmark bench: 1 records of .* have no class"):
        open_(tmp_path)


def test_a_data_set_without_classes_is_refused(tmp_path):
    card = DatasetCard("generated", generated.CLIP_ID, 16, 200, 12)
    write_dataset(tmp_path, card, {"train": [generated.make_record(0, "train")]})
    with pytest.raises(SchemaError, match="has no classes"):
        open_(tmp_path)
