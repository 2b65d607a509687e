"""Whole files on a disk and in a bucket, and what is said when there can't be one."""

import subprocess
import sys

import pytest

from mixcon3d_jax.buckets import BucketError, absolute, as_path
from mixcon3d_jax.files import (
    ReadError,
    WriteError,
    local_copy,
    move_folder,
    read_whole,
    whole_file,
    write_whole,
)


@pytest.fixture(params=["disk", "bucket"])
def folder(request, tmp_path):
    return as_path(request.getfixturevalue("bucket") if request.param == "bucket" else tmp_path)


def test_what_is_written_is_read(folder):
    path = folder / "a" / "b.bin"
    assert read_whole(path) is None
    for content in (b"first", b"", bytes(range(256)) * 1000):
        write_whole(path, content)
        assert read_whole(path) == content
        with local_copy(path) as local:
            assert local.read_bytes() == content
    with whole_file(path) as local:
        local.write_bytes(b"by name")
    assert read_whole(path) == b"by name"
    assert [found.name for found in (folder / "a").iterdir()] == ["b.bin"]


def test_a_folder_is_moved(folder):
    for name in ("a/1", "a/b/2"):
        write_whole(folder / "from" / name, name.encode())
    move_folder(folder / "from" / "a", folder / "new" / "to")
    assert read_whole(folder / "new" / "to" / "1") == b"a/1"
    assert read_whole(folder / "new" / "to" / "b" / "2") == b"a/b/2"
    assert read_whole(folder / "from" / "a" / "1") is None


def test_after_an_error_the_old_file_stays(folder):
    path = folder / "b.bin"
    write_whole(path, b"old")
    with pytest.raises(ZeroDivisionError), whole_file(path) as local:
        local.write_bytes(b"new"[: 1 // 0])
    assert read_whole(path) == b"old"
    assert [found.name for found in folder.iterdir()] == ["b.bin"]


def test_what_another_process_writes_is_seen(bucket, cloud_storage):
    folder = as_path(f"{bucket}/folder")
    write_whole(folder / "mine", b"")
    assert [path.name for path in folder.iterdir()] == ["mine"]
    cloud_storage.put("folder/other", b"", bucket.removeprefix("gs://"))
    assert sorted(path.name for path in folder.iterdir()) == ["mine", "other"]
    assert (folder / "other").exists()


def test_refusals_of_a_bucket_are_named(bucket, cloud_storage):
    path = as_path(f"{bucket}/x")
    cloud_storage.denied.add(bucket.removeprefix("gs://"))
    with pytest.raises(ReadError, match=rf"{path} can't be read .permission denied: test-account"):
        read_whole(path)
    with pytest.raises(WriteError, match=rf"{path} can't be written .permission denied: test-acc"):
        write_whole(path, b"")
    with pytest.raises(WriteError, match="no such bucket or object: gs://no-such-bucket/x"):
        write_whole(as_path("gs://no-such-bucket/x"), b"")


def test_a_bucket_that_stumbles_is_asked_again(bucket, cloud_storage):
    path = as_path(f"{bucket}/x")
    cloud_storage.failures["x"] = 1
    write_whole(path, b"here")
    cloud_storage.failures["x"] = 1
    assert read_whole(path) == b"here"


@pytest.mark.parametrize("text", ["s3://bucket/x", "gs://", "gs:///", "gs:/bucket/x"])
def test_paths_of_other_kinds_are_refused(text):
    with pytest.raises(BucketError, match="gs://BUCKET/PATH"):
        as_path(text)


def test_absolute_paths(tmp_path, monkeypatch, bucket):
    monkeypatch.chdir(tmp_path)
    assert absolute("a") == tmp_path / "a"
    assert str(absolute(f"{bucket}/a")) == f"{bucket}/a"


def test_without_gcsfs_it_is_said_what_to_install():
    program = (
        "import sys; sys.modules['gcsfs'] = None\n"
        "from mixcon3d_jax.inspect import main; main(['gs://bucket/run'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "pip install 'mixcon3d-jax[gcs]'" in done.stderr
