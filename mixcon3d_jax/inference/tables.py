"""Tables of results in files: NPZ, JSON or CSV, by the file's name."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mixcon3d_jax.errors import InputError
from mixcon3d_jax.files import check_writable, npz_bytes, write_whole

KINDS = (".npz", ".json", ".csv")


@dataclass(frozen=True)
class Table:
    """What a command found.

    Attributes:
      about: of all rows; numbers, texts and lists of texts.
      columns: name -> a value a row, or several of them (2 axes).
      headings: of columns with several values: what a CSV calls each.
    """

    about: Mapping[str, Any]
    columns: Mapping[str, np.ndarray]
    headings: Mapping[str, Sequence[str]] = field(default_factory=dict)


def check_table_path(path: Path, kinds: Sequence[str] = KINDS) -> None:
    """Asks before the work whether its results can be written.

    Raises:
      InputError: if the name has none of the endings, or the folder can't be written.
    """
    if path.suffix not in kinds:
        raise InputError(f"--output={path}: its name must end in {' or '.join(kinds)}")
    check_writable(path.parent)


def write_table(path: Path, table: Table) -> None:
    """Writes a table; a file that is there is replaced.

    Raises:
      WriteError: if it can't be written; nothing is left of it.
    """
    write_whole(path, {".npz": _npz, ".json": _json, ".csv": _csv}[path.suffix](table))


def _npz(table: Table) -> bytes:
    about = {name: np.asarray(value) for name, value in table.about.items()}
    return npz_bytes(**about, **table.columns)


def _json(table: Table) -> bytes:
    columns = {name: column.tolist() for name, column in table.columns.items()}
    rows = [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]
    return (json.dumps({**table.about, "rows": rows}, indent=1) + "\n").encode()


def _csv(table: Table) -> bytes:
    names: list[str] = []
    cells: list[np.ndarray] = []
    for name, column in table.columns.items():
        if column.ndim == 1:
            names.append(name)
            cells.append(column)
            continue
        names += table.headings.get(name, [f"{name}_{i}" for i in range(column.shape[1])])
        cells += list(column.T)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(zip(*(column.tolist() for column in cells), strict=True))
    return text.getvalue().encode()
