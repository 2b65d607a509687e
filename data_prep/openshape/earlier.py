"""The data set that an earlier run made, and what of it can be taken over."""

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterable, Iterator
from typing import Any

from etils import epath

from data_prep.openshape.assemble import CONVERSION_FILE, SPLIT, DoneUnit
from data_prep.openshape.finished import FinishedShard, FinishedUnit, from_json
from data_prep.openshape.folders import FOLDERS
from data_prep.openshape.plan import Plan
from data_prep.openshape.storage import size_and_time
from mixcon3d_jax.buckets import is_remote
from mixcon3d_jax.data.writer import CARD_FILE, CHECKSUMS_FILE, ids_file, shard_file


@dataclasses.dataclass(frozen=True)
class _Unit:
    """A unit of the earlier run: what came of it, and the files of its shards ("" for none)."""

    done: FinishedUnit
    shards: tuple[FinishedShard, ...]
    files: tuple[str, ...]


class Earlier:
    """A finished data set of an earlier run."""

    def __init__(self, plan: Plan):
        """Looks into the folder of the planned data set; there may be none."""
        self._plan = plan
        self._clip_id = ""
        self._units: dict[str, _Unit] = {}
        # Whatever is wrong with it: then it is made anew.
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            content = json.loads((plan.directory / CONVERSION_FILE).read_text())
            units = dict(self._read_units(content["units"]))
            if self._is_whole() and self._checksums() == _checksums(units.values()):
                self._units, self._clip_id = units, content["clip_id"]

    def _is_whole(self) -> bool:
        directory = self._plan.directory
        files = json.loads((directory / CARD_FILE).read_text())["files"]
        return all(size_and_time(directory / name)[0] == size for name, size in files.items())

    def _checksums(self) -> dict[str, str]:
        """The digests of the shards, as the data set itself has them."""
        lines = (self._plan.directory / CHECKSUMS_FILE).read_text().splitlines()
        digests = (line.split(maxsplit=1) for line in lines)
        return {name: digest for digest, name in digests if ".array_record-" in name}

    def _read_units(self, units: list[dict[str, Any]]) -> Iterator[tuple[str, _Unit]]:
        directory, name = self._plan.directory, FOLDERS[self._plan.dataset]
        ids = iter(json.loads((directory / ids_file(SPLIT)).read_text()))
        number = sum(1 for unit in units for shard in unit["files"] if shard["ids"])
        position = 0
        for unit in units:
            shards, files = [], []
            for shard in unit.pop("files"):
                shard["ids"] = [next(ids) for _ in range(shard["ids"])]
                shards.append(from_json(FinishedShard, shard))
                file = shard_file(name, SPLIT, position, number)
                files.append(file if shard["ids"] else "")
                position += bool(shard["ids"])
            unit_name = unit.pop("name")
            yield unit_name, _Unit(from_json(FinishedUnit, unit), tuple(shards), tuple(files))

    def is_current(self) -> bool:
        """Whether the same run would give the same data set again."""
        units = {name: unit.done.fingerprint for name, unit in self._units.items()}
        planned = {unit.name: unit.fingerprint for unit in self._plan.units}
        retry = any(
            part.retry
            for name, unit in self._units.items()
            if name not in self._plan.kept
            for part in (unit.done, *unit.shards)
        )
        same = list(units.items()) == list(planned.items())
        return bool(units) and same and not retry and self._clip_id == self._plan.options.clip_id

    def done(self) -> list[DoneUnit]:
        """What came of every planned unit, if the data set `is_current`."""
        found = [(unit, self._units[unit.name]) for unit in self._plan.units]
        return [DoneUnit(unit, earlier.done, earlier.shards) for unit, earlier in found]

    def take_over(self) -> None:
        """Puts the shards of units that did not change among the finished ones."""
        finished = self._plan.finished
        for unit in self._plan.units:
            found = self._units.get(unit.name)
            if found is None or found.done.fingerprint != unit.fingerprint or finished.unit(unit):
                continue
            if unit.name not in self._plan.kept and any(s.duplicates for s in found.shards):
                continue  # the shapes that had the same ids may be gone
            for index, (shard, file) in enumerate(zip(found.shards, found.files, strict=True)):
                if file:
                    link(self._plan.directory / file, finished.shard_path(unit, index))
                finished.add_shard(unit, index, shard)
            finished.add_unit(unit, found.done)


def _checksums(units: Iterable[_Unit]) -> dict[str, str]:
    """The digests of the shards, as the conversion remembers them."""
    pairs = (pair for unit in units for pair in zip(unit.files, unit.shards, strict=True))
    return {file: shard.sha256 for file, shard in pairs if file}


def link(existing: epath.Path, new: epath.Path) -> None:
    """Makes a file known by a second name; a copy where that can't be."""
    new.parent.mkdir(parents=True, exist_ok=True)
    if not is_remote(existing):
        with contextlib.suppress(OSError):  # a file system without links
            new.unlink(missing_ok=True)
            os.link(existing, new)
            return
    existing.copy(new, overwrite=True)
