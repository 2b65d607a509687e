"""Trains with 1, 2 and 4 processes on several meshes and compares the losses.

python -m tests.process_counts

20 steps of the built-in run's config, on generated records.  Prints the largest relative difference
of a loss to that of one process; exit status 1 if it is over 1e-5.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from tests.generated import CLIP_ID, EMBEDDING_SIZE, make_dataset
from tests.processes import ROOT, run

COUNTS = (1, 2, 4)
MESHES = {"data 4": (4, 1), "data 2 x fsdp 2": (2, 2), "fsdp 4": (1, 4)}
TOLERANCE = 1e-5
_STEPS, _RECORDS = 20, 320
_FLAGS = (
    f"--config.clip.id={CLIP_ID}",
    f"--config.clip.embedding_size={EMBEDDING_SIZE}",
    "--config.optim.epochs=4.0",
    "--config.optim.warmup_epochs=1.0",
    "--config.log.every_steps=1",
    "--config.checkpoint.every_steps=0",
    *(
        f"--config.eval.benchmarks.{name}.{key}"
        for name in ("builtin_seen", "builtin_unseen", "builtin_unseen_names")
        for key in ("split=none", "required=False")
    ),
)


def losses(folder: Path, count: int, mesh: tuple[int, int]) -> np.ndarray:
    """The loss of every step, by `count` processes with four devices in all."""
    workdir = folder / f"{count}-{mesh[0]}-{mesh[1]}"
    flags = (
        *_FLAGS,
        f"--config.data.root={folder / 'data'}",
        f"--config.mesh.data={mesh[0]}",
        f"--config.mesh.fsdp={mesh[1]}",
    )
    with run(
        ROOT / "configs" / "smoke.py",
        workdir,
        flags,
        count=count,
        devices=4 // count,
        logs=folder / "logs" / workdir.name,
    ) as started:
        if any(started.wait(1200)):
            raise SystemExit(started.logs())
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").open()]
    assert [row["step"] for row in rows] == list(range(1, _STEPS + 1))
    return np.array([row["loss"] for row in rows])


def main() -> int:
    """Prints a line for each mesh."""
    worst = 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_dataset(folder / "data", train=_RECORDS)
        expected = None
        print(f"{'mesh':<18}" + "".join(f"{f'{count} processes':>14}" for count in COUNTS))
        for label, mesh in MESHES.items():
            print(f"{label:<18}", end="", flush=True)
            for count in COUNTS:
                found = losses(folder, count, mesh)
                expected = found if expected is None else expected
                difference = float(np.max(np.abs(found - expected) / expected))
                worst = max(worst, difference)
                print(f"{difference:>14.1e}", end="", flush=True)
            print()
    print(f"largest relative difference of {_STEPS} losses to one process, data 4: {worst:.1e}")
    return 1 if worst > TOLERANCE else 0


if __name__ == "__main__":
    sys.exit(main())
