"""Source and output in a bucket (`gs://`)."""

import shutil
from pathlib import Path

from tests.data_prep.openshape.folders import (
    content,
    convert,
    expected_ids,
    ids,
    shape_files,
    write_files,
    write_tar_gz,
)


def _upload(server, folder: Path, bucket: str, name: str) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            server.put(f"{name}/{path.relative_to(folder)}", path.read_bytes(), bucket)


def _download(server, bucket: str, name: str, folder: Path) -> None:
    for path, data in server.files(f"{name}/", bucket).items():
        target = folder / path.removeprefix(f"{name}/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def test_the_same_data_set_as_on_a_disk(tmp_path, cloud_storage, bucket, capsys):
    name = bucket.removeprefix("gs://")
    source = tmp_path / "source"
    write_files(source / "ABO/loose", shape_files("ABO", 5))
    write_tar_gz(source / "ABO/x.tar.gz", shape_files("ABO", 4, start=10))
    convert(source, tmp_path / "local")
    _upload(cloud_storage, source, name, "source")
    assert convert(f"{bucket}/source", f"{bucket}/out") == 0
    _download(cloud_storage, name, "out/abo", tmp_path / "fetched")
    assert content(tmp_path / "fetched") == content(tmp_path / "local/abo")
    assert ids(tmp_path / "fetched") == expected_ids("ABO", 10, 11, 12, 13, *range(5))
    assert not cloud_storage.files("out/abo/.unfinished", name)

    assert convert(f"{bucket}/source", f"{bucket}/out") == 0
    assert "nothing to do" in capsys.readouterr().out
    del cloud_storage.buckets[name]["source/ABO/loose/p/004.npy"]
    cloud_storage.put("source/ABO/loose/p/005.npy", shape_files("ABO", 1, 5)[0][1], name)
    assert convert(f"{bucket}/source", f"{bucket}/out") == 0
    shutil.rmtree(tmp_path / "fetched")
    _download(cloud_storage, name, "out/abo", tmp_path / "fetched")
    assert ids(tmp_path / "fetched") == expected_ids("ABO", 10, 11, 12, 13, 0, 1, 2, 3, 5)
