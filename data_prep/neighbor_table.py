"""The original's table of nearest neighbours, for a split of the converted shards."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int32

from data_prep.openshape.pickles import load_npy
from mixcon3d_jax.data.neighbors import NUM_NEIGHBORS, neighbors_file
from mixcon3d_jax.errors import InputError
from mixcon3d_jax.files import npy_bytes, write_whole
from mixcon3d_jax.progress import progress

NEIGHBORS_FILE = "meta_data/point_feat_knn.npy"


class NeighborError(InputError):
    """The table of neighbours is missing or not what it should be."""


def read_neighbors(source: Path) -> tuple[list[str], Mapping[str, Sequence[int]]]:
    """The original's table: ids by number, and for an id the numbers of the nearest, itself first.

    Raises:
      PickleError: if the file is damaged.
      NeighborError: if it is missing, or holds something else.
    """
    path = source / NEIGHBORS_FILE
    if not path.exists():
        raise NeighborError(
            f"{path} is missing; `python -m data_prep.download --only=meta_data` brings it"
        )
    table = load_npy(path.read_bytes(), str(path))
    whole = isinstance(table, dict) and {"name", "index"} <= table.keys()
    if not whole or not isinstance(table["index"], dict):
        raise NeighborError(f"{path}: expected a dict with 'name' and 'index'; download it again")
    return [str(name) for name in table["name"]], table["index"]


def neighbor_positions(
    ids: Sequence[str], names: Sequence[str], index: Mapping[str, Sequence[int]]
) -> tuple[Int32[np.ndarray, "records neighbors"], int]:
    """For each record of a split the positions of its nearest ones in the split.

    Args:
      ids: of the split's records.
      names, index: as `read_neighbors` gives them.

    Returns:
      (records, 31) positions, nearest first, -1 for a neighbour that the split lacks; and how many
      records have no entry in the table.

    Raises:
      NeighborError: if the table names what it does not have.
    """
    position_of = {record_id: position for position, record_id in enumerate(ids)}
    # Position in the split of every name in the table.
    positions = np.array([position_of.get(name, -1) for name in names], np.int32)
    found = np.full((len(ids), NUM_NEIGHBORS), -1, np.int32)
    without = 0
    for row, record_id in enumerate(progress(ids, len(ids), "neighbours")):
        if record_id not in index:
            without += 1
            continue
        try:
            nearest = positions[np.asarray(index[record_id], np.int64)]
        except (IndexError, ValueError, TypeError) as error:
            raise NeighborError(
                f"{NEIGHBORS_FILE}: the neighbours of {record_id!r} can't be read ({error}); "
                "download the file again"
            ) from error
        nearest = nearest[nearest != row][:NUM_NEIGHBORS]
        found[row, : len(nearest)] = nearest
    return found, without


def write_neighbors(index_path: Path, table: Int32[np.ndarray, "records neighbors"]) -> Path:
    """Writes the table beside the split's index.

    Raises:
      WriteError: if it can't be written.
    """
    path = neighbors_file(index_path)
    write_whole(path, npy_bytes(table))
    return path


def remove_neighbors(index_path: Path) -> None:
    """Removes the tables of earlier indices of the split."""
    for path in index_path.parent.glob(f"{index_path.stem}.neighbors-*.npy"):
        path.unlink()
