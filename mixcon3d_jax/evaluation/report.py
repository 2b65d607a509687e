"""Figures of an evaluation: a file for programs and a table for people."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mixcon3d_jax.buckets import AnyPath, as_path
from mixcon3d_jax.files import write_whole
from mixcon3d_jax.metrics import METRICS, RETRIEVAL_METRICS


def write_figures(
    workdir: AnyPath, name: str, figures: Mapping[str, float], settings: Mapping[str, Any]
) -> AnyPath:
    """Writes `workdir/eval/NAME.json`, flat keys `WEIGHTS/BENCHMARK/MODE/METRIC`.

    `settings`, how the figures were made (views, seed, ...), go to `eval/settings/NAME.json`.

    Raises:
      WriteError: if they can't be written.
    """
    folder = as_path(workdir) / "eval"
    for path, content in ((folder / "settings", settings), (folder, figures)):
        text = json.dumps(dict(content), indent=1, sort_keys=True) + "\n"
        write_whole(path / f"{name}.json", text.encode())
    return folder / f"{name}.json"


def format_table(figures: Mapping[str, float]) -> str:
    """A block for each benchmark, a row for each mode, the sets of weights side by side.

    Retrieval has a block of its own.  Figures over several seeds are shown as mean±standard
    deviation.
    """
    keys = [tuple(key.split("/")) for key in figures]
    lines = []
    for benchmark in dict.fromkeys(key[1] for key in keys):
        own = [key for key in keys if key[1] == benchmark]
        found = [key for key in own if key[3] == RETRIEVAL_METRICS[0]]
        classified = [key for key in own if key[3] == METRICS[0]]
        if classified:
            count = figures["/".join([*classified[0][:3], "count"])]
            lines += _block(f"{benchmark}, {count:.0f} shapes", classified, METRICS, figures)
        if found:
            columns = (*RETRIEVAL_METRICS, "count")
            lines += _block(f"{benchmark}, retrieval", found, columns, figures)
    return "\n".join(lines)


def _block(
    title: str,
    rows: Sequence[tuple[str, ...]],
    columns: Sequence[str],
    figures: Mapping[str, float],
) -> list[str]:
    """The lines of a table; `rows` has a split key for each mode and set of weights."""
    sets = list(dict.fromkeys(key[0] for key in rows))
    benchmark = rows[0][1]
    width = max(11, *(len(column) + 1 for column in columns))
    heads = "".join(f"{column:>{width}}" for column in columns)
    lines = ["", f"{title:<32}" + "   ".join(f"{which:^{len(heads)}}" for which in sets)]
    lines.append(" " * 32 + "   ".join(heads for _ in sets))
    for mode in dict.fromkeys(key[2] for key in rows):
        cells = [
            "".join(
                f"{_cell(figures, f'{which}/{benchmark}/{mode}/{column}'):>{width}}"
                for column in columns
            )
            for which in sets
        ]
        lines.append(f"  {mode:<30}" + "   ".join(cells))
    return lines


def _cell(figures: Mapping[str, float], key: str) -> str:
    if key.endswith("/count"):
        return f"{figures[key]:.0f}"
    std = figures.get(f"{key}_std")
    return f"{figures[key]:.1f}" if std is None else f"{figures[key]:.1f}±{std:.1f}"
