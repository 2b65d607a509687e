"""What a run trains on: one data set's split, or an index over the records of several data sets.

An index file `ROOT/splits/NAME.npz` says which records of which data sets under `ROOT` make the
split `NAME`, in order, so that splits share their shards.
"""

import dataclasses
import hashlib
import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32, UInt8

from mixcon3d_jax.data import schema
from mixcon3d_jax.data.source import check_card, open_split, read_card
from mixcon3d_jax.data.writer import CARD_FILE, CHECKSUMS_FILE, ids_file
from mixcon3d_jax.files import write_whole

SPLITS_FOLDER = "splits"
# The split of a data set that an index points into.
INDEXED_SPLIT = "train"


@dataclasses.dataclass(frozen=True)
class SplitIndex:
    """Which records make a split.

    Attributes:
      datasets: folders under the root, each with a data set.
      checksums: for each of them the SHA-256 of its list of ids, so that an index is not used with
        shards that it was not made for.
      dataset: for each record of the split the index of its data set in `datasets`.
      position: and its position in that data set.
    """

    datasets: tuple[str, ...]
    checksums: tuple[str, ...]
    dataset: UInt8[np.ndarray, "records"]
    position: Int32[np.ndarray, "records"]


@dataclasses.dataclass(frozen=True)
class IndexedSource:
    """The records of a split, in the order of its index."""

    sources: Sequence[Sequence[dict[str, Any]]]
    index: SplitIndex

    def __len__(self) -> int:
        return len(self.index.position)

    def __getitem__(self, item: int) -> dict[str, Any]:
        return self.sources[self.index.dataset[item]][int(self.index.position[item])]


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """What a run trains on.

    Attributes:
      source: stored examples (see `schema.decode_record`).
      card: of the data set, or of any of them: they agree on CLIP, axes and colours.
      checksums: what tells these records from any others: the SHA-256 of each data set's
        `SHA256SUMS`, and of the index.
    """

    source: Sequence[dict[str, Any]]
    card: schema.DatasetCard
    checksums: Mapping[str, str]


def ids_checksum(directory: Path) -> str:
    """The SHA-256 of the list of ids that an index into `directory` refers to."""
    return _sha256(Path(directory) / ids_file(INDEXED_SPLIT))


def index_file(root: Path, split: str) -> Path:
    """Where the index of a split lies."""
    return Path(root) / SPLITS_FOLDER / f"{split}.npz"


def write_index(root: Path, split: str, index: SplitIndex) -> Path:
    """Writes `ROOT/splits/SPLIT.npz`.

    Raises:
      WriteError: if it can't be written.
    """
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **dataclasses.asdict(index))
    path = index_file(root, split)
    write_whole(path, buffer.getvalue())
    return path


def read_index(path: Path) -> SplitIndex:
    """Reads an index file.

    Raises:
      SchemaError: if it is none, or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            fields = {field.name: arrays[field.name] for field in dataclasses.fields(SplitIndex)}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise schema.SchemaError(
            f"{path} is no index of a split ({error}); make it again with "
            "`python -m data_prep.splits`"
        ) from error
    for name in ("datasets", "checksums"):
        fields[name] = tuple(str(value) for value in fields[name])
    return SplitIndex(**fields)


def locate_split(root: Path, split: str) -> tuple[SplitIndex, str]:
    """Which records make a split, and the split of their data sets that they are stored in.

    Args:
      root: as for `open_training_data`; metadata is enough, shards need not be there.
      split: as for `open_training_data`.

    Raises:
      SchemaError: if there is no such data.
    """
    if (Path(root) / CARD_FILE).exists():
        card = read_card(root)
        if not card.splits.get(split):
            raise schema.SchemaError(
                f"{root} has no split {split!r}; it has {', '.join(sorted(card.splits))}"
            )
        everything = np.arange(card.splits[split], dtype=np.int32)
        return SplitIndex((".",), ("",), np.zeros(len(everything), np.uint8), everything), split
    return read_index(index_file(root, split)), INDEXED_SPLIT


def open_training_data(root: Path, split: str, clip_id: str, embedding_size: int) -> TrainingData:
    """Opens what `config.data` names.

    Args:
      root: the folder of a data set, or one with data sets and `splits/`.
      split: a split of the one, or an index of the other.
      clip_id, embedding_size: of the run; data sets of another CLIP are refused.

    Raises:
      SchemaError: if there is no such data, it doesn't fit the run, or an index doesn't fit the
        shards.
    """
    root = Path(root)
    path = index_file(root, split)
    if (root / CARD_FILE).exists() or not path.parent.is_dir():
        card, source = _open(root, split, clip_id, embedding_size)
        return TrainingData(source, card, _checksums({root: card}))
    if not path.exists():
        known = ", ".join(sorted(other.stem for other in path.parent.glob("*.npz"))) or "none"
        raise schema.SchemaError(
            f"{path.parent} has no split {split!r} (it has: {known}); make it with "
            "`python -m data_prep.splits`"
        )
    index = read_index(path)
    cards, sources = {}, []
    for name, checksum in zip(index.datasets, index.checksums, strict=True):
        cards[name], source = _open(root / name, INDEXED_SPLIT, clip_id, embedding_size)
        sources.append(source)
        if ids_checksum(root / name) != checksum:
            raise schema.SchemaError(
                f"{path} was made for other shards than those in {root / name}; make it again "
                "with `python -m data_prep.splits`"
            )
    _check_agreement(path, cards)
    checksums = _checksums({root / name: card for name, card in cards.items()})
    checksums["index"] = _sha256(path)
    return TrainingData(IndexedSource(sources, index), next(iter(cards.values())), checksums)


def _open(
    folder: Path, split: str, clip_id: str, embedding_size: int
) -> tuple[schema.DatasetCard, Sequence[dict[str, Any]]]:
    card = read_card(folder)
    check_card(card, folder, clip_id, embedding_size)
    _check_views(card, folder)
    return card, open_split(folder, split)


def _checksums(cards: Mapping[Path, schema.DatasetCard]) -> dict[str, str]:
    # By the data set's own name: its folder may be moved.
    return {card.name: _sha256(folder / CHECKSUMS_FILE) for folder, card in cards.items()}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _check_views(card: schema.DatasetCard, directory: Path) -> None:
    if not card.num_views:
        raise schema.SchemaError(
            f"{directory} has no view embeddings, so nothing can be trained on it; it is for "
            "evaluation"
        )


def _check_agreement(path: Path, cards: Mapping[str, schema.DatasetCard]) -> None:
    """Raises a `SchemaError` unless all data sets say the same about axes and colours."""
    for field in ("up_axis", "color_rule"):
        said = {name: getattr(card, field) for name, card in cards.items()}
        if len(set(said.values())) > 1:
            raise schema.SchemaError(
                f"{path}: the data sets differ in {field} ({said}); prepare them alike"
            )
