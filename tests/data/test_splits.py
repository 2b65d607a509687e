"""Splits that are indices over the shards of several data sets."""

import dataclasses

import numpy as np
import pytest

from mixcon3d_jax.data.schema import DatasetCard, SchemaError
from mixcon3d_jax.data.splits import (
    SplitIndex,
    ids_checksum,
    index_file,
    open_training_data,
    read_index,
    write_index,
)
from mixcon3d_jax.data.writer import write_dataset
from tests import generated

NAMES = ("cars", "boats")


def card(name: str) -> DatasetCard:
    return DatasetCard(name, generated.CLIP_ID, generated.EMBEDDING_SIZE, 200, 12)


def records(name: str, count: int):
    return [
        dataclasses.replace(generated.make_record(i, "train", num_points=20), id=f"{name}-{i}")
        for i in range(count)
    ]


def make_index(root, datasets=NAMES) -> SplitIndex:
    return SplitIndex(
        datasets=datasets,
        checksums=tuple(ids_checksum(root / name) for name in datasets),
        dataset=np.array([1, 0, 0, 1], np.uint8),
        position=np.array([2, 0, 4, 0], np.int32),
    )


@pytest.fixture
def root(tmp_path):
    """Two data sets of five and three records, and the split `few`."""
    for name, count in zip(NAMES, (5, 3), strict=True):
        write_dataset(tmp_path / name, card(name), {"train": records(name, count)})
    write_index(tmp_path, "few", make_index(tmp_path))
    return tmp_path


def open_(root, split="few", clip_id=generated.CLIP_ID):
    return open_training_data(root, split, clip_id, generated.EMBEDDING_SIZE)


def test_records_come_in_the_order_of_the_index(root):
    opened = open_(root)
    assert len(opened.source) == 4
    found = [opened.source[i]["id"].decode() for i in range(4)]
    assert found == ["boats-2", "cars-0", "cars-4", "boats-0"]
    assert sorted(opened.checksums) == ["boats", "cars", "index"]


def test_a_single_data_set_needs_no_index(root):
    opened = open_(root / "cars", "train")
    assert len(opened.source) == 5
    assert list(opened.checksums) == ["cars"]


def test_an_index_comes_back_as_it_was_written(root):
    written, found = make_index(root), read_index(index_file(root, "few"))
    assert (found.datasets, found.checksums) == (written.datasets, written.checksums)
    for name in ("dataset", "position"):
        np.testing.assert_array_equal(getattr(found, name), getattr(written, name))


def test_an_unknown_split_lists_the_known(root):
    with pytest.raises(SchemaError, match=r"no split 'many' \(it has: few\)"):
        open_(root, "many")


def test_a_folder_without_any_data(tmp_path):
    with pytest.raises(SchemaError, match="holds no finished data set"):
        open_(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK no zip", b"\x93NUMPY"])
def test_a_damaged_index_is_named(root, content):
    index_file(root, "few").write_bytes(content)
    with pytest.raises(SchemaError, match=r"few\.npz is no index"):
        open_(root)


def test_an_index_of_other_shards_is_refused(root):
    write_dataset(root / "boats", card("boats"), {"train": records("ships", 3)})
    with pytest.raises(SchemaError, match=r"made for other shards than those in .*boats"):
        open_(root)


def test_another_clip_is_refused(root):
    with pytest.raises(SchemaError, match="was embedded with CLIP 'generated-clip'"):
        open_(root, clip_id="other")


def test_data_without_views_cannot_be_trained_on(root):
    bare = [dataclasses.replace(r, view_embeddings=np.zeros((0, 16))) for r in records("cars", 5)]
    blind = dataclasses.replace(card("cars"), num_views=0)
    write_dataset(root / "cars", blind, {"train": bare})
    for folder, split in ((root, "few"), (root / "cars", "train")):
        with pytest.raises(SchemaError, match="cars has no view embeddings"):
            open_(folder, split)


def test_data_sets_that_disagree_are_refused(root):
    turned = dataclasses.replace(card("boats"), up_axis="z")
    write_dataset(root / "boats", turned, {"train": records("boats", 3)})
    with pytest.raises(SchemaError, match=r"differ in up_axis \(\{'cars': 'y', 'boats': 'z'\}\)"):
        open_(root)
