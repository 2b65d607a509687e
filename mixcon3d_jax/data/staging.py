"""Brings what a run reads from a bucket (`gs://`) to a disk of this host.

A folder that is staged looks like the one in the bucket, without the shards that this host doesn't
need.
"""

import re
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Int

from mixcon3d_jax.buckets import AnyPath, as_path, filesystem, os_errors
from mixcon3d_jax.data.fetch import RemoteFile, StagingError, fetch_all, one_at_a_time
from mixcon3d_jax.data.neighbors import neighbors_file
from mixcon3d_jax.data.schema import DatasetCard
from mixcon3d_jax.data.source import SHARDS_MISSING_FILE, read_card, split_shards
from mixcon3d_jax.data.splits import SplitIndex, index_file, locate_split
from mixcon3d_jax.data.writer import CARD_FILE, CHECKSUMS_FILE
from mixcon3d_jax.files import ReadError, read_whole, write_whole

# From the index of a split to the positions in it that this host reads.
Needed = Callable[[SplitIndex], Int[np.ndarray, "needed"]]

_SHARD = re.compile(r".*\.array_record-\d+-of-\d+")


def stage_split(
    root: AnyPath, folder: Path, split: str, needed: Needed, *, neighbors: bool = False
) -> None:
    """Brings what training on a split needs.

    Args:
      root: of the data, in a bucket: a data set, or several and `splits/`.
      folder: of this host, in the place of `root` from then on.
      split: `config.data.split`.
      needed: says which records this host reads.
      neighbors: whether the split's neighbour table is needed, too.

    Raises:
      InputError: if there is no such data, it is damaged, or there is no room for it.
    """
    root = as_path(root)
    with one_at_a_time(folder):
        index_here = index_file(folder, split)
        own_card = read_whole(root / CARD_FILE) is not None
        if not own_card:
            _fetch_plain(root, folder, index_file(root, split))
            datasets = locate_split(folder, split).datasets
        else:
            datasets = (".",)
        for name in datasets:
            _stage_metadata(root / name, folder, name)
        if neighbors and not own_card:
            table = neighbors_file(index_here).name
            _fetch_plain(root, folder, index_here.with_name(table), root / "splits" / table)
        index = locate_split(folder, split)
        chosen = needed(index)
        files: list[RemoteFile] = []
        for number, name in enumerate(index.datasets):
            of_dataset = chosen[index.dataset[chosen] == number]
            stored = "train" if not own_card else split
            files += _shards(root / name, folder, name, stored, index.position[of_dataset])
        fetch_all(files, folder, "staging training data")


def stage_dataset(root: AnyPath, folder: Path, name: str, split: str) -> None:
    """Brings the whole of a data set's split.

    Args:
      root: in a bucket.
      folder: of this host, in the place of `root` from then on.
      name: of the data set's folder under `root`.
      split: which of its splits.

    Raises:
      InputError: if there is no such data set, it is damaged, or there is no room for it.
    """
    root = as_path(root)
    with one_at_a_time(folder):
        card = _stage_metadata(root / name, folder, name)
        positions = np.arange(card.splits.get(split, 0))
        fetch_all(_shards(root / name, folder, name, split, positions), folder, f"staging {name}")


def _stage_metadata(source: AnyPath, folder: Path, name: str) -> DatasetCard:
    """Everything of a data set but its shards; the card last, as everywhere."""
    card = read_card(source)
    digests = _digests(source)
    target = folder / name
    target.mkdir(parents=True, exist_ok=True)
    write_whole(target / SHARDS_MISSING_FILE, b"")
    fetch_all(
        [_remote(source, name, file, card, digests) for file in _plain_files(card)],
        folder,
        f"staging what describes {card.name}",
    )
    write_whole(target / CARD_FILE, read_whole(source / CARD_FILE))
    return card


def _shards(
    source: AnyPath, folder: Path, name: str, split: str, positions: Int[np.ndarray, "needed"]
) -> list[RemoteFile]:
    """The shards with these records of a data set whose metadata is here."""
    if not len(positions):
        return []
    card, digests = read_card(folder / name), _digests(folder / name)
    names, ends = split_shards(folder / name, split)
    wanted = np.unique(np.searchsorted(ends, positions, side="right"))
    return [_remote(source, name, names[i], card, digests) for i in wanted]


def _remote(
    source: AnyPath, name: str, file: str, card: DatasetCard, digests: dict[str, str]
) -> RemoteFile:
    if "/" in file:
        raise StagingError(f"{source / CARD_FILE} names {file!r}, which is no file beside it")
    place = file if name == "." else f"{name}/{file}"
    return RemoteFile(source / file, place, card.files[file], digests.get(file, ""))


def _plain_files(card: DatasetCard) -> Iterable[str]:
    return (file for file in card.files if not _SHARD.fullmatch(file))


def _digests(dataset: AnyPath) -> dict[str, str]:
    """File -> SHA-256, of those that the data set knows it of."""
    path = dataset / CHECKSUMS_FILE
    content = read_whole(path)
    if content is None:
        raise StagingError(f"{path} is missing; upload the data set again")
    lines = (line.split("  ", 1) for line in content.decode().splitlines())
    return {name: digest for digest, name in lines}


def _fetch_plain(
    root: AnyPath, folder: Path, target: Path | AnyPath, source: AnyPath | None = None
) -> None:
    """Brings a file that no card names."""
    source = source or target
    inside = str(source).removeprefix(str(root)).strip("/")
    try:
        with os_errors(source):
            size = filesystem().info(str(source))["size"]
    except FileNotFoundError as error:
        raise StagingError(
            f"{source} is missing, and so is {root / CARD_FILE}; check config.data.root and "
            "config.data.split"
        ) from error
    except OSError as error:
        raise ReadError.of(source, error) from error
    fetch_all([RemoteFile(source, inside, size)], folder, f"staging {inside}")
