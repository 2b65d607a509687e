"""Brings what a run reads from a bucket (`gs://`) to a disk of this host.

A folder that is staged looks like the one in the bucket, without the shards that this host doesn't
need.
"""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Int

from mixcon3d_jax.buckets import AnyPath, as_path, filesystem, os_errors
from mixcon3d_jax.data.fetch import RemoteFile, StagingError, fetch_all, one_at_a_time
from mixcon3d_jax.data.neighbors import neighbors_file
from mixcon3d_jax.data.schema import DatasetCard
from mixcon3d_jax.data.source import STAGED_MARK, read_card, split_shards
from mixcon3d_jax.data.splits import (
    SPLITS_FOLDER,
    SplitIndex,
    index_file,
    locate_split,
    read_index,
)
from mixcon3d_jax.data.writer import CARD_FILE, CHECKSUMS_FILE, is_shard
from mixcon3d_jax.files import ReadError, read_whole, write_whole

# From the index of a split to the positions in it that this host reads.
Needed = Callable[[SplitIndex], Int[np.ndarray, "needed"]]


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
        if read_whole(root / CARD_FILE) is not None:
            datasets: tuple[str, ...] = (".",)
        else:
            path = index_file(folder, split)
            _fetch_unlisted(root, folder, f"{SPLITS_FOLDER}/{path.name}")
            datasets = read_index(path).datasets
            if neighbors:
                _fetch_unlisted(root, folder, f"{SPLITS_FOLDER}/{neighbors_file(path).name}")
        for name in datasets:
            _stage_metadata(root, folder, name)
        index, stored = locate_split(folder, split)
        chosen = needed(index)
        files: list[RemoteFile] = []
        for number, name in enumerate(index.datasets):
            positions = index.position[chosen[index.dataset[chosen] == number]]
            files += _shards(root, folder, name, stored, positions)
        fetch_all(files, folder, "staging training data")


def stage_dataset(root: AnyPath, folder: Path, name: str, split: str) -> None:
    """Brings the whole of a data set's split.

    Args:
      root: in a bucket.
      folder: of this host, in the place of `root` from then on.
      name: of the data set's folder under `root`; empty for `root` itself.
      split: which of its splits; one that it lacks brings its metadata alone.

    Raises:
      InputError: if there is no such data set, it is damaged, or there is no room for it.
    """
    root = as_path(root)
    with one_at_a_time(folder):
        card = _stage_metadata(root, folder, name)
        positions = np.arange(card.splits.get(split, 0))
        fetch_all(_shards(root, folder, name, split, positions), folder, f"staging {card.name}")


def _stage_metadata(root: AnyPath, folder: Path, name: str) -> DatasetCard:
    """Everything of a data set but its shards; the card last, as everywhere."""
    source, target = _inside(root, name), folder / name
    card = read_card(source)
    digests = _digests(source)
    # From now on a shard that is missing is no damage.
    write_whole(target / STAGED_MARK, b"")
    files = [_remote(root, name, file, card, digests) for file in card.files if not is_shard(file)]
    fetch_all(files, folder, f"staging what describes {card.name}")
    write_whole(target / CARD_FILE, read_whole(source / CARD_FILE) or b"")
    return card


def _shards(
    root: AnyPath, folder: Path, name: str, split: str, positions: Int[np.ndarray, "needed"]
) -> list[RemoteFile]:
    """The shards with these records of a data set whose metadata is here."""
    if not len(positions):
        return []
    card, digests = read_card(folder / name), _digests(folder / name)
    names, ends = split_shards(folder / name, split)
    wanted = np.unique(np.searchsorted(ends, positions, side="right"))
    return [_remote(root, name, names[i], card, digests) for i in wanted]


def _remote(
    root: AnyPath, name: str, file: str, card: DatasetCard, digests: dict[str, str]
) -> RemoteFile:
    source = _inside(root, name)
    if file != os.path.basename(file) or file not in card.files:
        raise StagingError(f"{source / CARD_FILE} does not name {file!r} as a file beside it")
    place = os.path.normpath(os.path.join(name, file))
    return RemoteFile(source / file, place, card.files[file], digests.get(file, ""))


def _inside(root: AnyPath, name: str) -> AnyPath:
    """The folder of a data set under `root`."""
    if os.path.isabs(name) or ".." in name.split("/"):
        raise StagingError(f"{root} names the data set {name!r}, which is not inside it")
    return root / name


def _digests(dataset: AnyPath) -> dict[str, str]:
    """File -> SHA-256, of those that the data set knows it of."""
    path = dataset / CHECKSUMS_FILE
    content = read_whole(path)
    if content is None:
        raise StagingError(f"{path} is missing; upload the data set again")
    lines = (line.split("  ", 1) for line in content.decode().splitlines())
    return {name: digest for digest, name in lines}


def _fetch_unlisted(root: AnyPath, folder: Path, name: str) -> None:
    """Brings a file that no card names."""
    source = root / name
    try:
        with os_errors(source):
            size = filesystem().info(os.fspath(source))["size"]
    except FileNotFoundError as error:
        raise StagingError(
            f"{source} is missing, and so is {root / CARD_FILE}; check config.data.root and "
            "config.data.split"
        ) from error
    except OSError as error:
        raise ReadError.of(source, error) from error
    fetch_all([RemoteFile(source, name, size)], folder, f"staging {name}")
