"""Finds the shapes of Objaverse-LVIS in all of Objaverse, in several processes."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from etils import epath

from data_prep.benchmarks.failures import Failures
from data_prep.benchmarks.files import BenchmarkError
from data_prep.benchmarks.lvis_units import Found, Wanted, extract
from data_prep.openshape.gpt4_flags import flags_path, store_flags
from data_prep.openshape.units import Unit, find_units
from mixcon3d_jax.data.schema import SCHEMA_VERSION
from mixcon3d_jax.workers import in_processes

DATASET = "Objaverse"

_FILES_PER_UNIT = 4096


def find_objaverse(
    source: Path, entries: Sequence[Mapping[str, str]], embedding_size: int
) -> list[Unit]:
    """Everything that may hold a wanted shape; the fingerprints tell what else records depend on.

    Args:
      source: the folder of the download.
      entries: of `lvis.json`.
      embedding_size: D.

    Raises:
      InputError: there is nothing, or the flags of the texts are missing.
    """
    flags = flags_path(epath.Path(source), epath.Path())
    facts = [SCHEMA_VERSION, embedding_size, list(entries), flags.name]
    made_with = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    found = find_units(epath.Path(source), DATASET, _FILES_PER_UNIT, made_with)
    for note in found.notes:
        print(f"note: {note}", flush=True)
    if not found.units:
        raise BenchmarkError(
            f"{source / DATASET} has neither archives nor files of shapes; "
            f"`python -m data_prep.download --only={DATASET}` brings them"
        )
    return found.units


def search(
    source: Path,
    units: Sequence[Unit],
    entries: Sequence[Mapping[str, str]],
    embedding_size: int,
    work: Path,
    workers: int,
) -> dict[Unit, Found]:
    """Goes through the units that the entries name, and through the rest if that is not enough.

    Where no file at all has the name of a wanted shape, the files' content says who they are.

    Args:
      source: the folder of the download.
      units: of `find_objaverse`.
      entries: of `lvis.json`.
      embedding_size: D.
      work: keeps what was found in each unit.
      workers: processes.

    Returns:
      What each unit had, in the order of `units` whatever the order in which they were read.

    Raises:
      InputError: the flags of the texts are damaged, or the disk is full.
    """
    flags = flags_path(epath.Path(source), epath.Path(work))
    store_flags(epath.Path(source), flags)
    class_names = {entry["uid"]: entry["category"] for entry in entries}
    wanted = Wanted(class_names, _stems(entries), str(flags), embedding_size)
    groups = {entry.get("group") for entry in entries}
    named = [unit for unit in units if _group(unit) in groups]
    found: dict[Unit, Found] = {}

    def go_through(chosen: Sequence[Unit], wanted: Wanted) -> None:
        tasks = [(unit, wanted, work) for unit in chosen]
        for index, result in in_processes(extract, tasks, workers, f"searching {DATASET}"):
            found[chosen[index]] = result

    if named:
        go_through(named, wanted)
    others = [unit for unit in units if unit not in found]
    if others and set(class_names).difference(*(part.shard.ids for part in found.values())):
        go_through(others, wanted)
    if not any(part.shard.ids or part.failures for part in found.values()):
        go_through(units, dataclasses.replace(wanted, stems={}))
    return {unit: found[unit] for unit in units if unit in found}


def sort_out(
    entries: Sequence[Mapping[str, str]], found: Mapping[Unit, Found], failures: Failures
) -> list[tuple[str, str]]:
    """(id, class) of every shape that was found, in the split's order; the others fail."""
    ids = {record_id for part in found.values() for record_id in part.shard.ids}
    reasons = {key: why for part in found.values() for key, why in part.failures.items()}
    problems = {_group(unit): part.problem for unit, part in found.items() if part.problem}
    absent = f"is in none of the {len(found)} archives and runs of files of {DATASET}"
    for entry in entries:
        uid, group = entry["uid"], entry.get("group", "")
        if uid not in ids:
            why = reasons.get(uid) or problems.get(group) or absent
            failures.add(uid, f"shape {uid} ({group}): {why}")
    return [(entry["uid"], entry["category"]) for entry in entries if entry["uid"] in ids]


def _stems(entries: Sequence[Mapping[str, str]]) -> dict[str, str]:
    stems = {
        PurePosixPath(entry["data_path"]).stem: entry["uid"]
        for entry in entries
        if isinstance(entry.get("data_path"), str)
    }
    return stems | {entry["uid"]: entry["uid"] for entry in entries}


def _group(unit: Unit) -> str:
    """The group that an archive holds."""
    return PurePosixPath(unit.path).name.removesuffix(".tar.gz")
