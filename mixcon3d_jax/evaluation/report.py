"""Figures of an evaluation: a file for programs and a table for people."""

import json
from collections.abc import Mapping
from typing import Any

from mixcon3d_jax.buckets import AnyPath, as_path
from mixcon3d_jax.files import write_whole
from mixcon3d_jax.metrics import METRICS


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

    Figures over several seeds are shown as mean±standard deviation.
    """
    keys = [tuple(key.split("/")[:3]) for key in figures]
    lines = []
    for benchmark in dict.fromkeys(key[1] for key in keys):
        sets = list(dict.fromkeys(key[0] for key in keys if key[1] == benchmark))
        count = next(figures["/".join([*key, "count"])] for key in keys if key[1] == benchmark)
        columns = "".join(f"{column:>11}" for column in METRICS)
        lines += [
            "",
            f"{f'{benchmark}, {count:.0f} shapes':<32}"
            + "   ".join(f"{which:^{len(columns)}}" for which in sets),
            " " * 32 + "   ".join(columns for _ in sets),
        ]
        for mode in dict.fromkeys(key[2] for key in keys if key[1] == benchmark):
            rows = [
                "".join(_cell(figures, f"{which}/{benchmark}/{mode}/{c}") for c in METRICS)
                for which in sets
            ]
            lines.append(f"  {mode:<30}" + "   ".join(rows))
    return "\n".join(lines)


def _cell(figures: Mapping[str, float], key: str) -> str:
    std = figures.get(f"{key}_std")
    text = f"{figures[key]:.1f}" if std is None else f"{figures[key]:.1f}±{std:.1f}"
    return f"{text:>11}"
