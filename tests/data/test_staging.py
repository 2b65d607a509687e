"""Data brought from a bucket to a disk: what, how often, and what is said when it can't be."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mixcon3d_jax.data.fetch import StagingError
from mixcon3d_jax.data.schema import SchemaError
from mixcon3d_jax.data.splits import SplitIndex, ids_checksum, write_index
from mixcon3d_jax.data.verified import VERIFIED_FILE
from mixcon3d_jax.errors import InputError
from mixcon3d_jax.evaluation.run import open_benchmarks
from mixcon3d_jax.files import ReadError
from mixcon3d_jax.training.run_config import ConfigError, check_values
from mixcon3d_jax.training.run_data import open_run_data
from tests.generated import make_dataset, small_config

ROOT = Path(__file__).resolve().parents[2]
PARTS, BATCH = 4, 16


@pytest.fixture(scope="module")
def one(tmp_path_factory) -> Path:
    """A data set: 64 records to train on in shards of 20."""
    return make_dataset(tmp_path_factory.mktemp("one"))


@pytest.fixture(scope="module")
def several(tmp_path_factory) -> Path:
    """Two data sets, and a split over three quarters of their records, mixed."""
    root = tmp_path_factory.mktemp("several")
    names = ("a", "b")
    for name in names:
        make_dataset(root / name, train=64 if name == "a" else 44)
    rng = np.random.default_rng(0)
    dataset = np.repeat(np.array([0, 1], np.uint8), (64, 44))
    position = np.concatenate([np.arange(64), np.arange(44)]).astype(np.int32)
    chosen = rng.permutation(108)[:81]
    checksums = tuple(ids_checksum(root / name) for name in names)
    write_index(root, "mixed", SplitIndex(names, checksums, dataset[chosen], position[chosen]))
    return root


def upload(cloud_storage, bucket: str, root: Path) -> str:
    for path in root.rglob("*"):
        if path.is_file():
            name = f"data/{path.relative_to(root)}"
            cloud_storage.put(name, path.read_bytes(), bucket.removeprefix("gs://"))
    cloud_storage.requests.clear()
    return f"{bucket}/data"


def config_of(root, stage_to="", split="train", parts=PARTS):
    config = small_config(root)
    config.data.split, config.data.stage_to, config.data.parts = split, str(stage_to), parts
    check_values(config)
    return config


def ids_of(data, rows) -> list[bytes]:
    return [data.source[data.order[int(row)]]["id"] for row in rows]


def shards_in(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder)) for path in folder.rglob("*.array_record-*") if path.is_file()
    }


def contents_read(cloud_storage) -> list[str]:
    return sorted(
        name.removeprefix("data/")
        for method, _, name in cloud_storage.requests
        if method == "READ" and "array_record" in name
    )


@pytest.mark.parametrize("kind", ["one", "several"])
@pytest.mark.parametrize("hosts", [1, 2, 4])
def test_hosts_stage_their_parts_and_make_the_same_batches(
    kind, hosts, request, tmp_path, cloud_storage, bucket
):
    root = request.getfixturevalue(kind)
    split = "train" if kind == "one" else "mixed"
    expected = open_run_data(config_of(root, split=split))
    remote = upload(cloud_storage, bucket, root)
    staged, found = [], {}
    for host, rows in enumerate(np.split(np.arange(BATCH), hosts)):
        folder = tmp_path / str(host)
        data = open_run_data(config_of(remote, folder, split), rows)
        assert data.checksums == expected.checksums
        for step in range(12):  # more than one epoch
            numbers = step * BATCH + rows
            found |= dict(zip(numbers, ids_of(data, numbers), strict=True))
        staged.append(shards_in(folder))
        assert contents_read(cloud_storage) == sorted(staged[-1])
        cloud_storage.requests.clear()
    numbers = sorted(found)
    assert [found[number] for number in numbers] == ids_of(expected, numbers)
    training = {name for name in shards_in(root) if "-train." in name}
    assert set().union(*staged) == training
    if hosts > 1:
        assert all(len(shards) < len(training) for shards in staged)


def test_one_part_is_everything_in_the_old_order(one, tmp_path, cloud_storage, bucket):
    remote = upload(cloud_storage, bucket, one)
    data = open_run_data(config_of(remote, tmp_path, parts=1), np.arange(4))
    expected = open_run_data(small_config(one))
    assert ids_of(data, range(100)) == ids_of(expected, range(100))


def test_a_record_of_another_host_is_named(one, tmp_path, cloud_storage, bucket):
    remote = upload(cloud_storage, bucket, one)
    data = open_run_data(config_of(remote, tmp_path), np.arange(4))
    assert data.source[15]["id"] == b"train/15"
    with pytest.raises(
        SchemaError, match=r"record 63 is in .*00003-of-00004, which was not copied"
    ):
        data.source[63]


def test_benchmarks_are_staged_in_whole(one, tmp_path, cloud_storage, bucket):
    remote = upload(cloud_storage, bucket, one)
    config = config_of(remote, tmp_path)
    (benchmark,) = open_benchmarks(config)
    assert len({example["id"] for example in benchmark.source}) == 24
    assert {name.split(".")[0] for name in shards_in(tmp_path)} == {"generated-test"}
    config.eval.benchmarks.held_out.path = "not/there"
    with pytest.raises(SchemaError, match=f"{remote}/not/there holds no finished data set"):
        open_benchmarks(config)
    config.eval.benchmarks.held_out.required = False
    assert open_benchmarks(config) == []


STAGE = """
import sys
from tests.data.test_staging import config_of
from mixcon3d_jax.training.run_data import open_run_data
open_run_data(config_of(*sys.argv[1:], parts=1))
"""


def test_a_killed_staging_goes_on_where_it_was(one, tmp_path, cloud_storage, bucket):
    remote = upload(cloud_storage, bucket, one)
    last = "data/generated-train.array_record-00003-of-00004"
    cloud_storage.slow[last] = 60.0
    process = subprocess.Popen(
        [sys.executable, "-c", STAGE, remote, str(tmp_path)], cwd=ROOT, env=os.environ
    )
    deadline = time.monotonic() + 120
    verified = tmp_path / VERIFIED_FILE
    while not verified.exists() or verified.read_text().count("-train.array_record") < 3:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.wait()
    del cloud_storage.slow[last]
    cloud_storage.requests.clear()
    # Were it hashed again, this would be noticed.
    first = tmp_path / "generated-train.array_record-00000-of-00004"
    times = first.stat()
    first.write_bytes(bytes(times.st_size))
    os.utime(first, ns=(times.st_atime_ns, times.st_mtime_ns))
    open_run_data(config_of(remote, tmp_path, parts=1))
    assert contents_read(cloud_storage) == [last.removeprefix("data/")]
    assert not any(first.read_bytes())

    cloud_storage.requests.clear()
    open_run_data(config_of(remote, tmp_path, parts=1))
    assert contents_read(cloud_storage) == []
    os.utime(first)  # changed since: looked at again, and replaced
    open_run_data(config_of(remote, tmp_path, parts=1))
    assert contents_read(cloud_storage) == [first.name]
    assert first.read_bytes() == (one / first.name).read_bytes()


def test_two_processes_of_a_host_stage_after_each_other(one, tmp_path, cloud_storage, bucket):
    remote = upload(cloud_storage, bucket, one)
    command = [sys.executable, "-c", STAGE, remote, str(tmp_path)]
    both = [subprocess.Popen(command, cwd=ROOT, env=os.environ) for _ in range(2)]
    assert [process.wait(timeout=120) for process in both] == [0, 0]
    assert len(contents_read(cloud_storage)) == len(shards_in(tmp_path)) == 4


SHARD = "data/generated-train.array_record-00001-of-00004"


def test_damage_on_the_way_is_mended(one, tmp_path, cloud_storage, bucket):
    remote = upload(cloud_storage, bucket, one)
    cloud_storage.damaged[SHARD] = 1
    open_run_data(config_of(remote, tmp_path, parts=1))
    assert contents_read(cloud_storage).count(SHARD.removeprefix("data/")) == 2
    assert (tmp_path / Path(SHARD).name).read_bytes() == (one / Path(SHARD).name).read_bytes()


def break_object(cloud_storage, bucket, how):
    name = bucket.removeprefix("gs://")
    objects = cloud_storage.buckets[name]
    content = objects[SHARD].content
    if how == "damaged":
        cloud_storage.put(SHARD, b"x" + content[1:], name)
    elif how == "shorter":
        cloud_storage.put(SHARD, content[:-1], name)
    elif how == "missing":
        del objects[SHARD]
    elif how == "no checksums":
        del objects["data/SHA256SUMS"]
    elif how == "too large":
        card = json.loads(objects["data/card.json"].content)
        card["files"][Path(SHARD).name] = 10**18
        cloud_storage.put("data/card.json", json.dumps(card).encode(), name)
    elif how == "outside":
        card = json.loads(objects["data/card.json"].content)
        card["files"]["../../escaped"] = 3
        cloud_storage.put("data/card.json", json.dumps(card).encode(), name)
    else:
        cloud_storage.denied.add(name)


@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ("damaged", StagingError, r"00001-of-00004 has SHA-256 \w+ instead of \w+, 2 times"),
        ("shorter", StagingError, r"00001-of-00004 has \d+ bytes instead of \d+, 2 times"),
        ("missing", StagingError, "00001-of-00004 is missing, though its data set names it"),
        ("no checksums", StagingError, "SHA256SUMS is missing; upload"),
        ("too large", StagingError, r"GB free, but 1000000000\.00 GB have to be copied"),
        ("outside", StagingError, "does not name '../../escaped' as a file beside it"),
        ("forbidden", ReadError, "permission denied: test-account"),
    ],
)
def test_what_cannot_be_staged_is_named(one, tmp_path, cloud_storage, bucket, how, kind, message):
    remote = upload(cloud_storage, bucket, one)
    break_object(cloud_storage, bucket, how)
    with pytest.raises(kind, match=message):
        open_run_data(config_of(remote, tmp_path, parts=1))
    assert not [path for path in tmp_path.rglob("*00001-of-00004*") if "test" not in path.name]


def test_places_that_cannot_be_used_are_named(one, tmp_path, cloud_storage, bucket):
    remote = upload(cloud_storage, bucket, one)
    with pytest.raises(ConfigError, match=r"give --config\.data\.stage_to=DIR"):
        open_run_data(config_of(remote))
    with pytest.raises(InputError, match=r"nothing/splits/train\.npz is missing, and so is"):
        open_run_data(config_of(f"{bucket}/nothing", tmp_path))
    with pytest.raises(SchemaError, match="no split 'tets'; it has test, train"):
        open_run_data(config_of(remote, tmp_path, split="tets"))
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file/here can't be written .Not a directory"):
        open_run_data(config_of(remote, tmp_path / "file" / "here"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parts": 3}, r"parts is 3, which does not divide config\.optim\.batch_size .16."),
        ({"parts": 0}, "parts is 0; it must be 1 or more"),
        ({"parts": 2, "neighbor_group": 2}, "neighbor_group takes records of all parts"),
        ({"parts": 2, "shuffle_targets": True}, "shuffle_targets takes records of all parts"),
    ],
)
def test_parts_that_do_not_fit_the_rest_of_a_config(one, changes, message):
    config = small_config(one)
    config.data.update(changes)
    with pytest.raises(ConfigError, match=message):
        check_values(config)


def test_more_parts_than_records(one, tmp_path):
    config = config_of(make_dataset(tmp_path, train=3), parts=4)
    with pytest.raises(ConfigError, match="parts is 4, but split 'train' has 3 records"):
        open_run_data(config)
