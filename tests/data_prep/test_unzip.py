import contextlib
import stat
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep import unzip
from data_prep.unzip import ZipError, unpack_zip
from mixcon3d_jax.files import WriteError


def make_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def files_of(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("top", ["", "meta_data/"])
def test_a_folder_of_the_targets_name_is_not_doubled(tmp_path, top):
    members = {f"{top}split/lvis.json": "[]", f"{top}knn.npy": "x", f"{top}split/": ""}
    junk = {"__MACOSX/meta_data/._a": "", f"{top}.DS_Store": ""}
    archive = make_zip(tmp_path / "a.zip", members | junk)
    assert unpack_zip(archive, tmp_path / "meta_data") == 2
    assert files_of(tmp_path / "meta_data") == {"split/lvis.json": "[]", "knn.npy": "x"}


def test_files_of_other_folders_keep_their_place(tmp_path):
    archive = make_zip(tmp_path / "a.zip", {"meta_data/a": "1", "other/b": "2"})
    unpack_zip(archive, tmp_path / "meta_data")
    assert files_of(tmp_path / "meta_data") == {"meta_data/a": "1", "other/b": "2"}


def test_other_files_in_the_folder_stay(tmp_path):
    (tmp_path / "meta_data").mkdir()
    (tmp_path / "meta_data" / "mine").write_text("kept")
    (tmp_path / "meta_data" / "a").write_text("old")
    unpack_zip(make_zip(tmp_path / "a.zip", {"a": "new"}), tmp_path / "meta_data")
    assert files_of(tmp_path / "meta_data") == {"a": "new", "mine": "kept"}


@pytest.mark.parametrize(
    "name", ["../escaped", "/tmp/escaped", "a/../../escaped", "..\\escaped", "C:/escaped"]
)
def test_a_member_that_leads_outside_is_refused_before_anything_is_written(tmp_path, name):
    archive = make_zip(tmp_path / "a.zip", {"good": "1", name: "2"})
    with pytest.raises(ZipError, match=r"leads outside the folder; nothing of it was unpacked"):
        unpack_zip(archive, tmp_path / "meta_data")
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


@given(st.text(alphabet="./\\a:", min_size=1))
def test_no_name_leads_outside(tmp_path_factory, name):
    place = tmp_path_factory.mktemp("zip")
    folder = place / "in" / "meta_data"
    archive = make_zip(place / "a.zip", {name: "payload"})
    with contextlib.suppress(ZipError, WriteError):
        unpack_zip(archive, folder)
    outside = [path for path in place.rglob("*") if path.is_file() and folder not in path.parents]
    assert outside == [archive]


def test_a_link_is_refused(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(ZipError, match="member 'link' is a link"):
        unpack_zip(tmp_path / "a.zip", tmp_path / "meta_data")


def test_damaged_archives(tmp_path):
    archive = make_zip(tmp_path / "a.zip", {"a": "text " * 1000})
    content = bytearray(archive.read_bytes())
    content[40] ^= 255
    archive.write_bytes(content)
    with pytest.raises(ZipError, match=r"a\.zip can't be unpacked"):
        unpack_zip(archive, tmp_path / "meta_data")
    assert files_of(tmp_path / "meta_data") == {}
    archive.write_bytes(content[:50])
    with pytest.raises(ZipError, match=r"a\.zip can't be unpacked"):
        unpack_zip(archive, tmp_path / "meta_data")


def test_the_files_before_the_damage_stay(tmp_path):
    archive = make_zip(tmp_path / "a.zip", {"a": "first", "b": "text " * 1000})
    content = bytearray(archive.read_bytes())
    content[content.index(b"b", 40) + 10] ^= 255
    archive.write_bytes(content)
    with pytest.raises(ZipError, match=r"a\.zip can't be unpacked"):
        unpack_zip(archive, tmp_path / "meta_data")
    assert files_of(tmp_path / "meta_data") == {"a": "first"}


def test_a_disk_that_is_too_small(tmp_path, monkeypatch):
    archive = make_zip(tmp_path / "a.zip", {"a": "x" * 100})
    monkeypatch.setattr(
        unzip.shutil, "disk_usage", lambda _: unzip.shutil._ntuple_diskusage(9, 9, 9)
    )
    with pytest.raises(WriteError, match=r"a\.zip unpacks to .* make room"):
        unpack_zip(archive, tmp_path / "meta_data")
    assert not (tmp_path / "meta_data").exists()
