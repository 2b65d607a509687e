"""What became of the shapes: `report.json`, and the words at the end of a run."""

import collections
import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import Any

from data_prep.openshape.assemble import DoneUnit
from data_prep.openshape.finished import Failure
from data_prep.openshape.plan import Plan
from mixcon3d_jax.files import write_whole

REPORT_FILE = "report.json"
_SHOWN = 20


def write_report(plan: Plan, done: Sequence[DoneUnit]) -> dict[str, Any]:
    """Writes and returns the report of a data set: counts, and every failure with its place."""
    failures = [failure for found in done for shard in found.shards for failure in shard.failures]
    broken = [found.done.broken for found in done if found.done.broken]
    points: collections.Counter[str] = collections.Counter()
    for found in done:
        for shard in found.shards:
            points.update(shard.point_counts)
    report = {
        "dataset": plan.dataset,
        "counts": {
            "shapes": sum(found.done.shapes for found in done),
            "converted": sum(found.records for found in done),
            "failed": len(failures),
            "broken_archives": len(broken),
        },
        "records_by_number_of_points": dict(points.most_common()),
        "failures": [_entry(failure) for failure in failures],
        "broken_archives": [_entry(failure) for failure in broken],
    }
    content = (json.dumps(report, indent=1) + "\n").encode()
    write_whole(plan.directory / REPORT_FILE, content)
    return report


def print_report(plan: Plan, report: dict[str, Any]) -> None:
    """Says on stderr what failed, and the counts."""
    failed = [*report["broken_archives"], *report["failures"]]
    for failure in failed[:_SHOWN]:
        print(f"failed: {failure['reason']}", file=sys.stderr)
    if len(failed) > _SHOWN:
        print(f"failed: {len(failed) - _SHOWN} more", file=sys.stderr)
    counts = ", ".join(f"{n} {what.replace('_', ' ')}" for what, n in report["counts"].items())
    print(f"{plan.dataset}: {counts} (details: {plan.directory / REPORT_FILE})", file=sys.stderr)


def num_failures(report: dict[str, Any]) -> int:
    """Shapes and archives that failed."""
    return report["counts"]["failed"] + report["counts"]["broken_archives"]


def _entry(failure: Failure) -> dict[str, Any]:
    entry = dataclasses.asdict(failure)
    del entry["retry"], entry["duplicate"]
    return entry
