import gzip
import io
import tarfile
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.openshape.archive import ArchiveError, read_members
from data_prep.openshape.member import MAX_BYTES


def packed(files, *, refused=(), pad=True) -> bytes:
    """A `.tar.gz`; `refused` are headers without content."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        for entry in refused:
            archive.addfile(entry)
    content = buffer.getvalue()
    return gzip.compress(content if pad else content.rstrip(b"\0"), 1)


def noise(count: int, seed: int = 0) -> bytes:
    import numpy as np

    return np.random.default_rng(seed).bytes(count)


def read_all(data: bytes) -> list[tuple[str, bytes]]:
    return [(m.name, m.read()) for m in read_members(io.BytesIO(data), "A.tar.gz")]


def read_until_broken(data: bytes) -> tuple[list[tuple[str, bytes]], str]:
    found = []
    try:
        for member in read_members(io.BytesIO(data), "A.tar.gz"):
            found.append((member.name, member.read()))
    except ArchiveError as error:
        return found, str(error)
    return found, ""


FILES = [(f"000-000/{i}.npy", noise(3000 + 500 * i, i)) for i in range(8)]


def test_gives_the_shapes_files_in_their_order():
    others = [("000-000/readme.txt", b"x"), ("000-000/._0.npy", b"x"), ("a.npy.part", b"x")]
    folder = tarfile.TarInfo("000-000")
    folder.type = tarfile.DIRTYPE
    assert read_all(packed([*others, *FILES], refused=[folder])) == FILES


def test_members_that_are_not_read_are_passed_over():
    members = read_members(io.BytesIO(packed(FILES)), "A.tar.gz")
    read = [member.read() for i, member in enumerate(members) if i % 3 == 2]
    assert read == [FILES[2][1], FILES[5][1]]


def test_long_names_and_several_gzip_parts():
    long = [("a" * 90 + "/" + "b" * 200 + ".npy", b"x"), ("é.npy", b"y")]
    data = gzip.decompress(packed(long))
    parts = gzip.compress(data[:700]) + gzip.compress(data[700:]) + b"\0" * 100
    assert read_all(parts) == long


def test_positions_and_progress():
    data = packed(FILES)
    plain = gzip.decompress(data)
    for member in read_members(io.BytesIO(data), "A.tar.gz"):
        assert plain[member.position :].startswith(member.name.encode())


def test_progress_counts_what_reading_a_member_takes():
    random = np.random.default_rng(0)
    files = [(f"{index}.npy", random.bytes(200_000)) for index in range(40)]
    data = packed(files)
    seen = []
    for member in read_members(io.BytesIO(data), "A.tar.gz"):
        member.read()
        seen.append(member.source_bytes)
    # All but the last member, whose end nothing comes after.
    assert 0.9 * len(data) < sum(seen) <= len(data)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_a_name_that_would_fill_the_memory_breaks_the_archive(kind):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        content = b"x" * (2**20 + 1)
        archive.addfile(entry("name", kind, size=len(content)), io.BytesIO(content))
    with pytest.raises(ArchiveError, match="has a name of 1048577 bytes"):
        read_all(stream.getvalue())


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0):
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size = kind, link, size
    return made


REFUSED = {
    "leads out": [entry("../x.npy"), entry("/etc/x.npy"), entry("a/../../x.npy"), entry("/x")],
    "is a link": [
        entry("a.npy", tarfile.SYMTYPE, "/etc/passwd"),
        entry("b.npy", tarfile.LNKTYPE, "000-000/0.npy"),
    ],
    "neither a file nor a folder": [entry("c.npy", tarfile.CHRTYPE), entry("d", tarfile.FIFOTYPE)],
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_could_reach_elsewhere_is_refused_by_name(reason):
    data = packed(FILES[:2], refused=REFUSED[reason])
    members = list(read_members(io.BytesIO(data), "A.tar.gz"))
    assert [m.name for m in members[2:]] == [e.name for e in REFUSED[reason]]
    assert [bool(m.refused) for m in members] == [False, False, *[True] * (len(members) - 2)]
    assert all(reason in m.refused for m in members[2:])


def test_a_bomb_is_refused():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(entry("a.npy", size=MAX_BYTES + 1))
    members = read_members(io.BytesIO(gzip.compress(buffer.getvalue())), "A.tar.gz")
    assert "268435457 bytes" in next(members).refused


@pytest.mark.parametrize("kept", [0, 1, 5, 8])
def test_every_shape_before_a_cut_is_kept(kept):
    """The compressed stream is cut in the first byte that is not needed for `kept` files."""
    plain = gzip.decompress(packed(FILES))
    sizes = [512 + -(-len(content) // 512) * 512 for _, content in FILES]
    end = sum(sizes[:kept]) - (sizes[kept - 1] - 512 - len(FILES[kept - 1][1]) if kept else 0)
    deflate = zlib.compressobj(1, zlib.DEFLATED, 31)
    head = deflate.compress(plain[:end]) + deflate.flush(zlib.Z_FULL_FLUSH)
    found, message = read_until_broken(head)
    assert found == FILES[:kept]
    assert f"A.tar.gz: ends too early at byte {len(head)} (byte {end} of its content" in message


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_no_cut_is_taken_for_the_end(data):
    whole = packed(FILES)
    cut = data.draw(st.integers(0, len(whole) - 1))
    found, message = read_until_broken(whole[:cut])
    assert found == FILES[: len(found)]
    assert message.startswith("A.tar.gz: ")


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_a_tar_that_was_cut_before_it_was_packed_is_no_end_either(data):
    plain = gzip.decompress(packed(FILES))
    used = sum(512 + -(-len(content) // 512) * 512 for _, content in FILES)
    cut = data.draw(st.integers(0, used) | st.integers(0, used // 512).map(lambda n: 512 * n))
    found, message = read_until_broken(gzip.compress(plain[:cut], 0))
    assert found == FILES[: len(found)]
    assert "A.tar.gz: is damaged or ends too early" in message or "unexpected end" in message


def test_what_is_no_gzip_is_named():
    for data, problem in (
        (b"", "is empty"),
        (b"<html>404</html>", "is not gzip: it begins with b'<html>404</h'"),
        (gzip.decompress(packed(FILES)), "is not gzip"),
        (gzip.compress(b"no tar" * 1000), "is damaged"),
        (packed(FILES)[:3], "ends too early"),
    ):
        with pytest.raises(ArchiveError, match=r"A\.tar\.gz: .*; download it again") as caught:
            read_all(data)
        assert problem in str(caught.value)


def test_a_wrong_checksum_is_told_after_the_last_shape():
    data = bytearray(packed(FILES))
    data[-8] ^= 1
    found, message = read_until_broken(bytes(data))
    assert found == FILES
    assert "incorrect data check" in message


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_damage_gives_members_or_the_named_error(data):
    in_header = data.draw(st.booleans())
    whole = bytearray(packed(FILES[:3]))
    damaged = bytearray(gzip.decompress(whole)) if in_header else whole
    for _ in range(data.draw(st.integers(1, 3))):
        last = 511 if in_header else len(whole) - 1
        damaged[data.draw(st.integers(0, last))] ^= data.draw(st.integers(1, 255))
    _, message = read_until_broken(bytes(gzip.compress(damaged, 0) if in_header else damaged))
    assert message == "" or message.startswith("A.tar.gz: ")
