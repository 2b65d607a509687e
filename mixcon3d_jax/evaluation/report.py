"""Figures of an evaluation: a file for programs and a table for people."""

import json
from collections.abc import Mapping
from pathlib import Path

_COLUMNS = ("top1", "top3", "top5", "class_mean")


def write_figures(workdir: Path, step: int, figures: Mapping[str, float]) -> Path:
    """Writes `workdir/eval/STEP.json`, flat keys `WEIGHTS/BENCHMARK/MODE/METRIC`."""
    path = Path(workdir) / "eval" / f"{step}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(dict(figures), indent=1, sort_keys=True) + "\n")
    temporary.rename(path)
    return path


def format_table(figures: Mapping[str, float]) -> str:
    """A block for each benchmark, a row for each mode, EMA and raw weights side by side."""
    keys = [key.split("/") for key in figures]
    lines = []
    for benchmark in dict.fromkeys(key[1] for key in keys):
        of_it = [key for key in keys if key[1] == benchmark]
        sets = list(dict.fromkeys(key[0] for key in of_it))
        count = figures["/".join([*of_it[0][:3], "count"])]
        head = "".join(f"{f'{which} {c}':>16}" for which in sets for c in _COLUMNS)
        lines += ["", f"{f'{benchmark} ({count:.0f} shapes)':<34}{head}"]
        for mode in dict.fromkeys(key[2] for key in of_it):
            row = "".join(
                f"{figures[f'{which}/{benchmark}/{mode}/{c}']:16.1f}"
                for which in sets
                for c in _COLUMNS
            )
            lines.append(f"{'  ' + mode:<34}{row}")
    return "\n".join(lines)
