"""Shapes that can't be used: collected, reported, and counted against what is allowed."""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

from mixcon3d_jax.files import write_whole

# So many are shown; all are in the report.
_SHOWN = 10


@dataclass
class Failures:
    """What is missing or bad in a benchmark.

    Attributes:
      benchmark: its name.
      reasons: id -> what is wrong.
    """

    benchmark: str
    reasons: dict[str, str] = field(default_factory=dict)

    def add(self, item_id: str, reason: str) -> None:
        """Notes a shape that is left out."""
        self.reasons[item_id] = reason

    def report(self, path: Path, expected: int, written: int) -> None:
        """Writes all of it to a JSON file, and shows the first ones on stderr."""
        failures = [{"id": key, "reason": reason} for key, reason in self.reasons.items()]
        counts = {"expected": expected, "written": written, "failed": len(failures)}
        content = {"counts": counts, "failures": failures}
        write_whole(path, (json.dumps(content, indent=1) + "\n").encode())
        for failure in failures[:_SHOWN]:
            print(f"failed: {self.benchmark}: {failure['reason']}", file=sys.stderr)
        if len(failures) > _SHOWN:
            print(f"... and {len(failures) - _SHOWN} more in {path}", file=sys.stderr)
