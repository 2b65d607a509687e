"""Prepares many assets in several processes."""

from collections.abc import Sequence
from pathlib import Path

from data_prep.prepare_asset import Outcome, PrepareOptions, prepare
from mixcon3d_jax.assets.manifest import Entry
from mixcon3d_jax.workers import in_processes


def prepare_all(
    entries: Sequence[Entry], root: Path, work: Path, options: PrepareOptions, workers: int
) -> list[Outcome]:
    """Prepares every entry; what an earlier run finished is taken over.

    Args:
      entries: the assets.
      root: the manifest's folder, which the files that assets refer to must lie in.
      work: where prepared assets go.
      options: what else they depend on.
      workers: processes.

    Returns:
      What became of each entry, in the order of `entries`.

    Raises:
      InputError: when a worker process is killed, or cannot write.  Finished work is kept.
    """
    outcomes: list[Outcome] = [Outcome()] * len(entries)
    tasks = [(entry.path, entry.id, root, work, options) for entry in entries]
    for index, outcome in in_processes(prepare, tasks, workers, "preparing assets"):
        outcomes[index] = outcome
    return outcomes
