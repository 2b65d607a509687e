"""Shards that an interrupted run had moved to the data set already."""

import contextlib
import json

from data_prep.openshape.assemble import CONVERSION_FILE, SPLIT
from data_prep.openshape.earlier import link
from data_prep.openshape.folders import FOLDERS
from data_prep.openshape.plan import Plan
from data_prep.openshape.storage import size_and_time
from mixcon3d_jax.data.writer import shard_file


def bring_back(plan: Plan) -> None:
    """Puts them among the finished ones again.

    Which shard went where is told by `conversion.json`, which is written before the first is moved.
    One that was moved has left its description behind.
    """
    folder, number, moves = plan.finished.folder, 0, []
    # Whatever is wrong with it: then what lacks is converted again.
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        for unit in json.loads((plan.directory / CONVERSION_FILE).read_text())["units"]:
            for index, shard in enumerate(unit["files"]):
                if shard["ids"]:
                    moves.append((folder / f"{unit['name']}.{index:05d}.shard", number, shard))
                    number += 1
        for path, position, shard in moves:
            moved = plan.directory / shard_file(FOLDERS[plan.dataset], SPLIT, position, number)
            described = path.with_suffix(".json")
            if path.exists() or not described.exists() or not moved.exists():
                continue
            same = json.loads(described.read_text())["sha256"] == shard["sha256"]
            if same and size_and_time(moved)[0] == shard["num_bytes"]:
                link(moved, path)
