"""Data sets are written whole or not at all."""

import dataclasses
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from mixcon3d_jax.data.schema import DatasetCard, SchemaError, decode_record
from mixcon3d_jax.data.shards import write_shards
from mixcon3d_jax.data.source import open_split, read_card
from mixcon3d_jax.data.writer import finish_dataset, write_dataset
from mixcon3d_jax.errors import InputError
from mixcon3d_jax.files import WriteError
from tests import generated

CARD = DatasetCard(
    "generated", generated.CLIP_ID, generated.EMBEDDING_SIZE, 200, 12, generated.CLASSES
)


def records(split: str, count: int):
    return (generated.make_record(i, split, num_points=20) for i in range(count))


def write(directory, splits, per_shard=1024):
    embeddings = generated.class_embeddings()
    return write_dataset(directory, CARD, splits, embeddings, records_per_shard=per_shard)


def ids(directory, split) -> list[str]:
    source = open_split(directory, split)
    return [source[i]["id"].decode() for i in range(len(source))]


@pytest.mark.parametrize("count", [1, 6, 7, 12])
def test_counts_and_order_over_several_shards(tmp_path, count):
    card = write(tmp_path, {"train": records("train", count), "test": records("test", 3)}, 6)
    assert card.splits == {"train": count, "test": 3}
    assert ids(tmp_path, "train") == [f"train/{i}" for i in range(count)]
    assert ids(tmp_path, "test") == ["test/0", "test/1", "test/2"]
    shards = [path for path in tmp_path.iterdir() if "array_record" in path.name]
    assert len(shards) == -(-count // 6) + 1
    assert read_card(tmp_path) == card


def test_card_accounts_for_every_other_file(tmp_path):
    card = write(tmp_path, {"train": records("train", 7)}, 3)
    files = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    del files["card.json"]
    assert card.files == files


def test_nothing_is_left_of_the_work_but_what_others_put_there(tmp_path):
    for name in ("alone", "shared"):
        work = tmp_path / f"work-{name}"
        work.mkdir()
        shards = write_shards(work, "train", records("train", 2), generated.EMBEDDING_SIZE, 2)
        if name == "shared":
            (tmp_path / name / ".unfinished").mkdir(parents=True)
            (tmp_path / name / ".unfinished/others").write_text("")
        embeddings = generated.class_embeddings()
        finish_dataset(tmp_path / name, CARD, {"train": shards}, embeddings)
    assert not (tmp_path / "alone/.unfinished").exists()
    assert [path.name for path in (tmp_path / "shared/.unfinished").iterdir()] == ["others"]


def test_records_come_back(tmp_path):
    write(tmp_path, {"train": records("train", 3)})
    found = decode_record(open_split(tmp_path, "train")[2])
    expected = generated.make_record(2, "train", num_points=20)
    assert (found.id, found.class_name) == (expected.id, expected.class_name)
    np.testing.assert_array_equal(found.colors, expected.colors)
    np.testing.assert_array_equal(
        found.view_embeddings, expected.view_embeddings.astype(np.float16)
    )


def test_an_empty_split_is_written_but_not_opened(tmp_path):
    card = write(tmp_path, {"train": records("train", 2), "test": []})
    assert card.splits == {"train": 2, "test": 0}
    with pytest.raises(SchemaError, match="split 'test' has no records"):
        open_split(tmp_path, "test")


def interrupted(count):
    yield from records("train", count)
    raise KeyboardInterrupt


def test_an_interrupted_data_set_is_refused_and_can_be_written_again(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, {"test": records("test", 2), "train": interrupted(5)}, 2)
    with pytest.raises(SchemaError, match=r"no finished data set.*run that command again"):
        open_split(tmp_path, "test")

    write(tmp_path, {"train": records("train", 3)}, 2)
    assert ids(tmp_path, "train") == ["train/0", "train/1", "train/2"]
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [
        "SHA256SUMS",
        "card.json",
        "class_embeddings.npy",
        "dataset_info.json",
        "features.json",
        "generated-train.array_record-00000-of-00002",
        "generated-train.array_record-00001-of-00002",
        "train.ids.json",
        "train.labels.npy",
    ]


def bad_record(count):
    yield from records("train", count)
    broken = generated.make_record(count, "train", num_points=20)
    broken.points[3] = np.nan
    yield broken


@pytest.mark.parametrize(
    ("second", "error"), [(interrupted, KeyboardInterrupt), (bad_record, SchemaError)]
)
def test_a_second_writing_that_fails_leaves_the_first_data_set(tmp_path, second, error):
    write(tmp_path, {"train": records("train", 3)})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(error):
        write(tmp_path, {"train": second(5)}, 2)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert ids(tmp_path, "train") == ["train/0", "train/1", "train/2"]


def test_a_second_writing_replaces_every_file_of_the_first(tmp_path):
    write(tmp_path, {"old": records("old", 2), "train": records("train", 5)}, 2)
    (tmp_path / "report.json").write_text("not the writer's")
    card = write(tmp_path, {"train": records("train", 1)})
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {*card.files, "card.json", "report.json"}
    assert ids(tmp_path, "train") == ["train/0"]


def test_a_move_that_fails_leaves_nothing_that_passes_for_a_data_set(tmp_path, monkeypatch):
    write(tmp_path, {"train": records("train", 3)})
    replace = os.replace

    def refuse(source, target):
        if Path(source).name == "features.json":
            raise OSError(5, "Input/output error")
        return replace(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(WriteError, match="Input/output error"):
        write(tmp_path, {"train": records("train", 1)})
    with pytest.raises(SchemaError, match="no finished data set"):
        read_card(tmp_path)


def test_extra_files_belong_to_the_data_set(tmp_path):
    splits = {"train": records("train", 1)}
    embeddings = generated.class_embeddings()
    card = write_dataset(tmp_path, CARD, splits, embeddings, extra_files={"a.json": b"{}"})
    assert card.files["a.json"] == 2
    assert (tmp_path / "a.json").read_bytes() == b"{}"


def test_without_classes_no_class_embeddings_stay_behind(tmp_path):
    write(tmp_path, {"train": records("train", 1)})
    plain = DatasetCard("generated", generated.CLIP_ID, generated.EMBEDDING_SIZE, 200, 12)
    write_dataset(tmp_path, plain, {"train": records("train", 1)})
    assert not (tmp_path / "class_embeddings.npy").exists()


@pytest.mark.parametrize("embeddings", [None, np.zeros((3, 16)), np.zeros((4, 8))])
def test_class_embeddings_must_fit_the_classes(tmp_path, embeddings):
    with pytest.raises(SchemaError, match=r"'generated'.*\(4, 16\) expected"):
        write_dataset(tmp_path, CARD, {"train": records("train", 1)}, embeddings)
    assert list(tmp_path.iterdir()) == []


def test_a_broken_record_names_itself(tmp_path):
    broken = generated.make_record(0, "train", num_points=20)
    broken.points[3] = np.nan
    with pytest.raises(SchemaError, match=r"train/0.*points"):
        write(tmp_path, {"train": [broken]})
    with pytest.raises(SchemaError, match="no finished data set"):
        read_card(tmp_path)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match=r"file/data cannot be written.*choose another folder"):
        write(tmp_path / "file" / "data", {"train": records("train", 1)})


# A limit on file sizes fails the same system call as a full disk, and needs no disk to be filled.
LIMITED = """
    import resource, sys
    from pathlib import Path
    from tests.data.test_writer import records, write

    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
    # Six shards: the limit is met in the first, in the middle of a running command.
    write(Path(sys.argv[1]), {"train": records("train", 120)}, 20)
"""


def write_on_a_full_disk(directory, limit: int) -> str:
    """The last line on stderr of a process that may write `limit` bytes a file."""
    command = [sys.executable, "-c", textwrap.dedent(LIMITED), str(directory), str(limit)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, cwd=Path(__file__).parents[2]
    )
    assert done.returncode != 0
    return done.stderr.strip().splitlines()[-1]


def test_a_full_disk_names_file_need_and_remedy_and_spares_other_data_sets(tmp_path):
    assert issubclass(WriteError, InputError)
    earlier, full = tmp_path / "earlier", tmp_path / "full"
    write(earlier, {"train": records("train", 2)})

    message = write_on_a_full_disk(full, 8192)

    assert message.startswith("mixcon3d_jax.files.WriteError: ")
    assert f"{full}/.unfinished/train-00000.shard cannot be written" in message
    assert "File too large" in message
    assert "it takes 0.0" in message
    assert "make room or choose another folder, then run the same command again" in message
    assert not (full / "card.json").exists()
    with pytest.raises(SchemaError, match="no finished data set"):
        open_split(full, "train")
    assert ids(earlier, "train") == ["train/0", "train/1"]

    write(full, {"train": records("train", 2)})
    assert ids(full, "train") == ["train/0", "train/1"]

    write_on_a_full_disk(full, 8192)
    assert ids(full, "train") == ["train/0", "train/1"]
    assert not (full / ".unfinished").exists()


def test_a_fault_of_the_program_is_not_called_a_full_disk(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("a bug")

    monkeypatch.setattr(np, "save", fail)
    with pytest.raises(RuntimeError, match=r"^a bug$"):
        write(tmp_path, {"train": records("train", 2)})


def test_a_disk_that_fills_up_at_the_metadata(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device", str(tmp_path / "class_embeddings.npy"))

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(WriteError, match=r"class_embeddings.npy.*make room"):
        write(tmp_path, {"train": records("train", 2)})
    with pytest.raises(SchemaError, match="no finished data set"):
        read_card(tmp_path)


def test_the_card_is_plain_json(tmp_path):
    write(tmp_path, {"train": records("train", 2)})
    fields = json.loads((tmp_path / "card.json").read_text())
    assert fields["clip_id"] == generated.CLIP_ID
    assert fields["classes"] == list(generated.CLASSES)
    assert (fields["schema_version"], fields["up_axis"]) == (2, "y")


def test_ids_and_labels_of_every_record(tmp_path):
    write(tmp_path, {"train": records("train", 5)}, 2)
    assert json.loads((tmp_path / "train.ids.json").read_text()) == ids(tmp_path, "train")
    np.testing.assert_array_equal(np.load(tmp_path / "train.labels.npy"), [0, 1, 2, 3, 0])


def test_checksums_hold_for_every_file(tmp_path):
    card = write(tmp_path, {"train": records("train", 5)}, 2)
    done = subprocess.run(
        ["sha256sum", "--check", "SHA256SUMS"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    tfds_own = {"dataset_info.json", "features.json"}
    checked = {line.split(": ")[0] for line in done.stdout.splitlines()}
    assert checked == set(card.files) - tfds_own - {"SHA256SUMS"}


def test_two_records_with_one_id_are_refused(tmp_path):
    with pytest.raises(SchemaError, match=r"'train'.*1 ids.*'train/1'"):
        write(tmp_path, {"train": [*records("train", 3), generated.make_record(1, "train")]})
    with pytest.raises(SchemaError, match="no finished data set"):
        read_card(tmp_path)


def test_a_class_that_the_card_lacks_is_refused(tmp_path):
    strange = dataclasses.replace(generated.make_record(1, "train"), class_name="cone")
    with pytest.raises(SchemaError, match=r"'train/1'.*'cone'.*4 classes"):
        write(tmp_path, {"train": [strange]})
