"""What became of the assets: `report.json`, and the words at the end of a run."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from data_prep.prepare_asset import Outcome
from mixcon3d_jax.assets.manifest import Entry
from mixcon3d_jax.files import write_whole


def write_report(path: Path, entries: Sequence[Entry], outcomes: Sequence[Outcome]) -> dict:
    """Writes and returns the report: counts, every failure and every warning with its asset."""
    pairs = list(zip(entries, outcomes, strict=True))
    failures = [
        _named(entry, reason=outcome.failure) for entry, outcome in pairs if outcome.failure
    ]
    warnings = [
        _named(entry, warnings=outcome.warnings) for entry, outcome in pairs if outcome.warnings
    ]
    resampled = [o for o in outcomes if any("with replacement" in text for text in o.warnings)]
    report = {
        "counts": {
            "assets": len(entries),
            "prepared": len(entries) - len(failures),
            "failed": len(failures),
            "with_warnings": len(warnings),
            "clouds_sampled_with_replacement": len(resampled),
        },
        "failures": failures,
        "warnings": warnings,
    }
    write_whole(path, (json.dumps(report, indent=1) + "\n").encode())
    return report


def print_report(report: dict, path: Path) -> None:
    """Says on stderr what failed and what was mended, and the counts."""
    for warned in report["warnings"]:
        for text in warned["warnings"]:
            print(f"warning: {warned['path']}: {text}", file=sys.stderr)
    for failed in report["failures"]:
        print(f"failed: {failed['reason']}", file=sys.stderr)
    counts = ", ".join(f"{n} {what.replace('_', ' ')}" for what, n in report["counts"].items())
    print(f"{counts} (details: {path})", file=sys.stderr)


def _named(entry: Entry, **fields) -> dict:
    return {"id": entry.id, "path": str(entry.path), **fields}
