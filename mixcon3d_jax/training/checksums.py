"""Checksums of a checkpoint's files: the library that stores it restores damaged ones unnoticed."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

from etils import epath

CHECKSUMS_FILE = "SHA256SUMS"
# Written when everything else, the checksums included, is there.
_WRITTEN_LAST = ("_CHECKPOINT_METADATA", "commit_success.txt")
_CHUNK_BYTES = 1 << 24
_THREADS = 8


def write_checksums(folder: epath.Path) -> None:
    """Writes `SHA256SUMS` over all files in `folder`, in the format of `sha256sum`.

    Raises:
      OSError: if a file can't be read or the list can't be written.
    """
    names = _checked_files(folder)
    lines = [f"{digest}  {name}\n" for name, digest in _digests(folder, names).items()]
    (folder / CHECKSUMS_FILE).write_text("".join(lines))


def find_damage(folder: epath.Path) -> str:
    """What is wrong with the files in `folder`; empty if all are as they were written."""
    try:
        listed = _read(folder / CHECKSUMS_FILE)
    except (OSError, ValueError) as error:
        return f"its {CHECKSUMS_FILE} can't be read ({error})"
    try:
        there = _checked_files(folder)
        if missing := sorted(listed.keys() - set(there)):
            return f"{missing[0]} is missing"
        if unlisted := sorted(set(there) - listed.keys()):
            return f"{unlisted[0]} is not in its {CHECKSUMS_FILE}"
        found = _digests(folder, there)
    except OSError as error:
        return f"it can't be read ({error})"
    damaged = [name for name, digest in listed.items() if found[name] != digest]
    return f"{damaged[0]} is damaged" if damaged else ""


def _read(path: epath.Path) -> dict[str, str]:
    pairs = [line.split("  ", 1) for line in path.read_text().splitlines()]
    if not pairs or any(len(pair) != 2 for pair in pairs):
        raise ValueError("it is no list of checksums")
    return {name: digest for digest, name in pairs}


def _checked_files(folder: epath.Path) -> list[str]:
    return sorted(set(_files_in(folder)) - {CHECKSUMS_FILE, *_WRITTEN_LAST})


def _files_in(folder: epath.Path) -> list[str]:
    names = []
    for path in folder.iterdir():
        if path.is_dir():
            names += [f"{path.name}/{name}" for name in _files_in(path)]
        else:
            names.append(path.name)
    return names


def _digests(folder: epath.Path, names: list[str]) -> dict[str, str]:
    with ThreadPoolExecutor(_THREADS) as threads:
        return dict(
            zip(names, threads.map(lambda name: _digest(folder / name), names), strict=True)
        )


def _digest(path: epath.Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
