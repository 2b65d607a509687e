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
    """A block for each benchmark, a row for each mode, the sets of weights side by side."""
    keys = [tuple(key.split("/")[:3]) for key in figures]
    lines = []
    for benchmark in dict.fromkeys(key[1] for key in keys):
        sets = list(dict.fromkeys(key[0] for key in keys if key[1] == benchmark))
        count = next(figures["/".join([*key, "count"])] for key in keys if key[1] == benchmark)
        columns = "".join(f"{column:>11}" for column in _COLUMNS)
        lines += [
            "",
            f"{f'{benchmark}, {count:.0f} shapes':<32}"
            + "   ".join(f"{which:^{len(columns)}}" for which in sets),
            " " * 32 + "   ".join(columns for _ in sets),
        ]
        for mode in dict.fromkeys(key[2] for key in keys if key[1] == benchmark):
            rows = [
                "".join(f"{figures[f'{which}/{benchmark}/{mode}/{c}']:11.1f}" for c in _COLUMNS)
                for which in sets
            ]
            lines.append(f"  {mode:<30}" + "   ".join(rows))
    return "\n".join(lines)
