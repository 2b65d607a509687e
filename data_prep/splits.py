"""Makes the original's splits over converted shards: `python -m data_prep.splits --help`."""

import argparse
import collections
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_prep.arguments import command_parser, names_among, whole_number
from data_prep.neighbor_table import (
    neighbor_positions,
    read_neighbors,
    remove_neighbors,
    write_neighbors,
)
from data_prep.openshape.folders import FOLDERS
from mixcon3d_jax.data.source import record_ids
from mixcon3d_jax.data.splits import (
    INDEXED_SPLIT,
    SplitIndex,
    ids_checksum,
    index_file,
    write_index,
)
from mixcon3d_jax.data.writer import CARD_FILE
from mixcon3d_jax.errors import InputError, exit_on_input_error
from mixcon3d_jax.files import write_whole

# Name of a split -> its list, inside `meta_data/split/`.
SPLITS = {
    "train_all": "train_all.json",
    "train_no_lvis": "train_no_lvis.json",
    "train_shapenet_only": "ablation/train_shapenet_only.json",
}

_DESCRIPTION = """\
Writes ROOT/splits/NAME.npz for each of the original's training splits: an index that says which
records of ROOT/objaverse, ROOT/shapenet, ROOT/abo and ROOT/three_d_future belong to it.  Shapes are
matched by data set and id; no record is copied.

What a split names and the shards lack is counted, and listed in ROOT/splits/NAME.missing.json.
With more of them than --max-missing the exit status is 1; the index is written of the others.
"""
_EXAMPLE = """\
example:
  python -m data_prep.splits --source=openshape --root=data/openshape
"""


class SplitError(InputError):
    """A list of a split can't be used."""


class Named(NamedTuple):
    """A shape as a split's list names it."""

    dataset: str
    group: str
    id: str


@dataclass(frozen=True)
class Matched:
    """A split's list, matched with the shards.

    Attributes:
      index: of the records that were found.
      missing: the other entries.
    """

    index: SplitIndex
    missing: list[Named]


@exit_on_input_error
def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status: 1 when too many shapes are missing."""
    args = _parser().parse_args(arguments)
    converted = [name for name in FOLDERS.values() if (args.root / name / CARD_FILE).exists()]
    if not converted:
        raise SplitError(
            f"{args.root} has none of {', '.join(FOLDERS.values())}; convert the data first with "
            "`python -m data_prep.openshape`"
        )
    positions = {
        name: {
            record_id: position
            for position, record_id in enumerate(record_ids(args.root / name, INDEXED_SPLIT))
        }
        for name in converted
    }
    checksums = {name: ids_checksum(args.root / name) for name in converted}
    table = read_neighbors(args.source) if args.neighbors else None
    too_many = False
    for split in args.only or SPLITS:
        entries = read_split(args.source / "meta_data" / "split" / SPLITS[split])
        matched = match(entries, positions, checksums)
        _write(args.root, split, matched, entries)
        if table is not None:
            _write_neighbors(args.root, split, entries, matched, table)
        too_many |= len(matched.missing) > args.max_missing
    return int(too_many)


def read_split(path: Path) -> list[Named]:
    """Every shape that a split's list names, in its order.

    Raises:
      SplitError: if the file is missing, is no such list, or names an unknown data set.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SplitError(
            f"{path} can't be read ({error.strerror}); --source is the folder of the download, and "
            "`python -m data_prep.download --only=meta_data` brings it"
        ) from error
    except ValueError as error:
        raise SplitError(f"{path} is damaged ({error}); download it again") from error
    if not isinstance(content, list):
        raise SplitError(f"{path}: expected a JSON list, found a {type(content).__name__}")
    return [_entry(path, number, entry) for number, entry in enumerate(content)]


def match(
    entries: Sequence[Named],
    positions: dict[str, dict[str, int]],
    checksums: Mapping[str, str],
) -> Matched:
    """Finds every shape of a split in the shards.

    Args:
      entries: what the split's list names.
      positions: folder of a data set -> id -> position of its record.
      checksums: folder of a data set -> that of its list of ids.
    """
    # Only these: a split does not depend on data sets that it has nothing of.
    named = {FOLDERS[entry.dataset] for entry in entries}
    folders = [folder for folder in positions if folder in named]
    dataset, position, missing = [], [], []
    for entry in entries:
        folder = FOLDERS[entry.dataset]
        known = positions.get(folder, {})
        # Of shapes with the same id all but the first carry their group.
        found = known.get(f"{entry.group}/{entry.id}", known.get(entry.id))
        if found is None:
            missing.append(entry)
        else:
            dataset.append(folders.index(folder))
            position.append(found)
    index = SplitIndex(
        datasets=tuple(folders),
        checksums=tuple(checksums[folder] for folder in folders),
        dataset=np.array(dataset, np.uint8),
        position=np.array(position, np.int32),
    )
    return Matched(index, missing)


def _entry(path: Path, number: int, entry: object) -> Named:
    fields = entry if isinstance(entry, dict) else {}
    name, record_id = fields.get("dataset"), fields.get("id")
    if not isinstance(record_id, str) or not record_id:
        raise SplitError(f"{path}: entry {number} has no 'id'; download the file again")
    if name not in FOLDERS:
        raise SplitError(
            f"{path}: entry {number} ({record_id}) is of data set {name!r}, which is none of "
            f"{', '.join(FOLDERS)}"
        )
    return Named(name, str(fields.get("group", "")), record_id)


def _write(root: Path, split: str, matched: Matched, entries: Sequence[Named]) -> None:
    found = len(matched.index.position)
    if not found:
        raise SplitError(
            f"split {split}: none of its {len(entries):,} shapes is in the shards of {root}; "
            "convert the data sets that it names"
        )
    path = write_index(root, split, matched.index)
    remove_neighbors(path)
    counts = collections.Counter(entry.dataset for entry in matched.missing)
    print(f"{split}: {found:,} of {len(entries):,} shapes found ({path})")
    listed = path.with_suffix(".missing.json")
    if not matched.missing:
        listed.unlink(missing_ok=True)
        return
    names = [[entry.dataset, entry.id] for entry in matched.missing]
    write_whole(listed, (json.dumps(names, indent=1) + "\n").encode())
    by_dataset = ", ".join(f"{name}: {count:,}" for name, count in counts.items())
    print(
        f"{split}: {len(matched.missing):,} shapes are not in the shards ({by_dataset}); they are "
        f"listed in {listed}",
        file=sys.stderr,
    )


def _write_neighbors(
    root: Path,
    split: str,
    entries: Sequence[Named],
    matched: Matched,
    table: tuple[list[str], Mapping[str, Sequence[int]]],
) -> None:
    missing = set(matched.missing)
    ids = [entry.id for entry in entries if entry not in missing]
    found, without = neighbor_positions(ids, *table)
    path = write_neighbors(index_file(root, split), found)
    print(f"{split}: neighbours of {len(ids) - without:,} of {len(ids):,} shapes ({path})")


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("splits", _DESCRIPTION, _EXAMPLE)
    add = parser.add_argument
    add("--source", type=Path, required=True, help="the folder with the original's meta_data")
    add("--root", type=Path, required=True, help="the folder with the converted data sets")
    add(
        "--only",
        metavar="NAMES",
        type=names_among(SPLITS),
        help=f"comma-separated, of {', '.join(SPLITS)} (default: all)",
    )
    add(
        "--neighbors",
        action="store_true",
        help="make the tables for batches of hard negatives (config.data.neighbor_group), too",
    )
    add(
        "--max-missing",
        type=whole_number(0),
        default=0,
        help="shapes that may be missing with exit status 0 all the same (default: %(default)s)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
