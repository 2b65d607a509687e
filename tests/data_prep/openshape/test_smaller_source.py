"""A source that became smaller replaces nothing without a word."""

import shutil

import pytest

from tests.data_prep.openshape.folders import (
    content,
    convert,
    expected_ids,
    ids,
    shape_files,
    write_files,
    write_tar_gz,
)
from tests.data_prep.openshape.test_bad_input import refused


def _archives(source, *names) -> None:
    for name in names:
        start = 10 * "abc".index(name)
        write_tar_gz(source / f"ABO/{name}.tar.gz", shape_files("ABO", 4, start=start))


def test_archives_that_were_deleted_stay_in_the_data_set(tmp_path, capsys):
    source, out = tmp_path / "source", tmp_path / "out"
    _archives(source, "a", "b")
    convert(source, out)
    whole = content(out / "abo")
    (source / "ABO/a.tar.gz").unlink()
    capsys.readouterr()
    assert convert(source, out) == 0
    printed = capsys.readouterr()
    assert "note: 1 parts of" in printed.err
    assert "the first is ABO__a.tar.gz" in printed.err
    assert "nothing to do" in printed.out
    assert content(out / "abo") == whole

    (source / "ABO/b.tar.gz").unlink()
    _archives(source, "c")
    assert convert(source, out) == 0
    expected = expected_ids("ABO", *range(4), *range(10, 14), *range(20, 24))
    assert ids(out / "abo") == expected
    shutil.rmtree(out / "abo")
    assert convert(source, out) == 0
    assert ids(out / "abo") == expected_ids("ABO", *range(20, 24))


def test_a_folder_that_was_deleted_stays_and_one_that_lost_files_is_refused(tmp_path, capsys):
    source, out = tmp_path / "source", tmp_path / "out"
    _archives(source, "a")
    write_files(source / "ABO/x", shape_files("ABO", 5, start=10))
    convert(source, out)
    (source / "ABO/x/p/011.npy").unlink()
    assert "ABO has 4 unpacked files, while" in refused(source, out, capsys)
    shutil.rmtree(source / "ABO/x")
    _archives(source, "c")
    assert convert(source, out) == 0
    assert ids(out / "abo") == expected_ids("ABO", *range(4), *range(20, 24), *range(10, 15))


def test_an_archive_that_was_renamed_or_packed_is_there_once(tmp_path):
    source, out = tmp_path / "source", tmp_path / "out"
    _archives(source, "a", "b")
    write_files(source / "ABO/x", shape_files("ABO", 4, start=20))
    convert(source, out)
    (source / "ABO/b.tar.gz").rename(source / "ABO/z.tar.gz")
    shutil.rmtree(source / "ABO/x")
    _archives(source, "c")
    assert convert(source, out) == 0
    expected = [*range(4), *range(20, 24), *range(10, 14)]
    assert ids(out / "abo") == expected_ids("ABO", *expected)


def test_what_is_kept_is_not_mixed_with_other_embeddings_and_must_be_whole(tmp_path, capsys):
    source, out = tmp_path / "source", tmp_path / "out"
    _archives(source, "a", "b")
    convert(source, out)
    (source / "ABO/a.tar.gz").unlink()
    message = refused(source, out, capsys, "--embedding-size=7")
    assert "made with embeddings of 8 entries" in message
    (out / "abo/abo-train.array_record-00000-of-00004").unlink()
    message = refused(source, out, capsys)
    assert "ABO__a.tar.gz is no longer in" in message
    assert "is damaged: put it back" in message


def test_what_is_kept_is_not_tried_again(tmp_path, capsys):
    source, out = tmp_path / "source", tmp_path / "out"
    _archives(source, "a")
    write_files(source / "ABO/x", shape_files("ABO", 2, start=10))
    (source / "ABO/x/z.npy").symlink_to(tmp_path / "none.npy")
    assert convert(source, out) == 1
    shutil.rmtree(source / "ABO/x")
    for _ in range(2):
        assert convert(source, out, "--max-failures=1") == 0
        assert ids(out / "abo") == expected_ids("ABO", *range(4), 10, 11)
    assert "nothing to do" in capsys.readouterr().out


def test_a_trial_does_not_replace_more(tmp_path, capsys):
    source, out = tmp_path / "source", tmp_path / "out"
    _archives(source, "a", "b")
    assert convert(source, out, "--limit=5") == 0
    message = refused(source, out, capsys, "--limit=4")
    assert "made with --limit=5, which the first 4 alone would replace" in message
    assert convert(source, out) == 0
    message = refused(source, out, capsys, "--limit=5")
    assert "made with all shapes" in message
    assert "another --output" in message
    assert ids(out / "abo") == expected_ids("ABO", *range(4), *range(10, 14))


@pytest.mark.parametrize("deleted", [False, True])
@pytest.mark.parametrize("moves", [0, 1, 3, 4])
def test_a_run_that_ends_while_shards_are_moved_loses_none(tmp_path, monkeypatch, moves, deleted):
    """The second shard of an archive is moved, the source may be gone: all is found again."""
    source, out = tmp_path / "source", tmp_path / "out"
    _archives(source, "a", "b")
    assert convert(source, tmp_path / "whole") == 0
    if deleted:
        (source / "ABO/b.tar.gz").rename(tmp_path / "b.tar.gz")
        convert(source, out)
        (tmp_path / "b.tar.gz").rename(source / "ABO/b.tar.gz")
        (source / "ABO/a.tar.gz").unlink()
    with monkeypatch.context() as patch:
        _end_after(moves, patch)
        with pytest.raises(KeyboardInterrupt):
            convert(source, out)
    assert not (out / "abo/card.json").exists()
    assert len(list((out / "abo").glob("*array_record*"))) == moves
    monkeypatch.setattr("data_prep.openshape.convert.write_shard", None)  # none is made again
    assert convert(source, out) == 0
    assert content(out / "abo") == content(tmp_path / "whole/abo")


def _end_after(moves: int, patch) -> None:
    from etils import epath

    kind, done = type(epath.Path("/")), []
    original = kind.replace

    def replace(path, target):
        if ".array_record-" in str(target):
            if len(done) == moves:
                raise KeyboardInterrupt
            done.append(path)
        elif len(done) == moves and str(target).endswith("SHA256SUMS"):
            raise KeyboardInterrupt
        return original(path, target)

    patch.setattr(kind, "replace", replace)
