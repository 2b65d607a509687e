"""A data set that does not fit is refused at the start, with what to do about it."""

import json
import shutil

import numpy as np
import pytest

from mixcon3d_jax.data.schema import DatasetCard, SchemaError
from mixcon3d_jax.data.source import (
    check_card,
    class_embeddings,
    open_split,
    read_card,
    record_ids,
    record_labels,
)
from mixcon3d_jax.data.writer import write_dataset
from tests import generated


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return generated.make_dataset(tmp_path_factory.mktemp("data"), train=24, test=3)


@pytest.fixture
def directory(finished, tmp_path):
    """A copy to damage."""
    return shutil.copytree(finished, tmp_path / "copy")


def test_splits_open_by_name(finished):
    assert len(open_split(finished, "train")) == 24
    assert open_split(finished, "test")[2]["id"] == b"test/2"


def test_an_unknown_split_lists_the_known(finished):
    with pytest.raises(SchemaError, match="no split 'seen'; it has test, train"):
        open_split(finished, "seen")


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_missing_or_truncated_shard_is_named(directory, split):
    shard = sorted(directory.glob("generated-train*"))[-1]
    content = shard.read_bytes()
    shard.write_bytes(content[:-100])
    lengths = f"has {len(content) - 100} bytes instead of {len(content)}"
    with pytest.raises(SchemaError, match=f"{shard.name} {lengths}; copy it again"):
        open_split(directory, split)
    shard.unlink()
    with pytest.raises(SchemaError, match=f"{shard.name} is missing; copy it again"):
        open_split(directory, split)


@pytest.mark.parametrize("name", ["features.json", "dataset_info.json", "class_embeddings.npy"])
def test_any_other_missing_file_is_named(directory, name):
    (directory / name).unlink()
    for read in (lambda: open_split(directory, "test"), lambda: class_embeddings(directory)):
        with pytest.raises(SchemaError, match=f"{name} is missing"):
            read()


def test_no_data_set_at_all(tmp_path):
    for directory in (tmp_path, tmp_path / "absent"):
        with pytest.raises(SchemaError, match=r"no finished data set.*data_prep"):
            read_card(directory)


def change_card(directory, **changes):
    path = directory / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("version", [1, 3, None, "2"])
def test_another_schema_version(directory, version):
    change_card(directory, schema_version=version)
    with pytest.raises(SchemaError, match=r"card.json: schema version .* reads version 2; prepare"):
        open_split(directory, "train")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"\xff\xfe\x00"])
def test_a_card_that_is_none(directory, content):
    (directory / "card.json").write_bytes(content)
    with pytest.raises(SchemaError, match=r"card.json is not a data set's card"):
        read_card(directory)


def test_a_card_with_other_fields(directory):
    change_card(directory, flavour="sweet")
    with pytest.raises(SchemaError, match=r"card.json: .*flavour"):
        read_card(directory)
    (directory / "card.json").write_text('{"schema_version": 2}')
    with pytest.raises(SchemaError, match=r"card.json: .*clip_id"):
        read_card(directory)


@pytest.mark.parametrize(("clip", "size"), [("other", 16), (generated.CLIP_ID, 32), ("other", 32)])
def test_another_clip_names_both(finished, clip, size):
    card = read_card(finished)
    check_card(card, finished, generated.CLIP_ID, 16)
    with pytest.raises(SchemaError) as error:
        check_card(card, finished, clip, size)
    for expected in (
        str(finished),
        f"'{generated.CLIP_ID}' of size 16",
        f"'{clip}' of size {size}",
    ):
        assert expected in str(error.value)


def test_class_embeddings(finished, tmp_path):
    np.testing.assert_array_equal(class_embeddings(finished), generated.class_embeddings())
    card = DatasetCard("plain", generated.CLIP_ID, 16, 200, 12)
    write_dataset(tmp_path, card, {"train": [generated.make_record(0, "train")]})
    with pytest.raises(SchemaError, match="has no classes"):
        class_embeddings(tmp_path)


def test_ids_and_labels_are_those_of_the_records(finished):
    source = open_split(finished, "test")
    examples = [source[index] for index in range(len(source))]
    assert record_ids(finished, "test") == [example["id"].decode() for example in examples]
    names = [generated.CLASSES[label] for label in record_labels(finished, "test")]
    assert names == [example["class_name"].decode() for example in examples]
