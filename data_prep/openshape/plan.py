"""What one data set takes: its units, and what an earlier run left of it."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from etils import epath

from data_prep.openshape.convert import Job
from data_prep.openshape.finished import Finished
from data_prep.openshape.folders import FOLDERS
from data_prep.openshape.gpt4_flags import flags_path, store_flags
from data_prep.openshape.units import Unit
from mixcon3d_jax.buckets import is_remote
from mixcon3d_jax.data.schema import SCHEMA_VERSION
from mixcon3d_jax.data.writer import UNFINISHED
from mixcon3d_jax.files import check_writable

# The one data set whose raw texts were judged.
_FLAGGED = "Objaverse"


@dataclasses.dataclass(frozen=True)
class Options:
    """What a conversion's result depends on, beside the source.

    Attributes:
      clip_id: the CLIP that the embeddings come from.
      embedding_size: D.
      shard_size: shapes a shard is made of.
      limit: how many shapes are taken; None for all.
    """

    clip_id: str
    embedding_size: int
    shard_size: int
    limit: int | None = None


@dataclasses.dataclass(frozen=True)
class Plan:
    """The conversion of one data set.

    Attributes:
      dataset: as the original's files call it.
      source: the folder of all data.
      directory: where the data set goes.
      options: what else it depends on.
      flags: the file with the gpt4 flags; "" for none.
      units: in the order of their records.
      kept: the names of those that the source no longer has.
    """

    dataset: str
    source: epath.Path
    directory: epath.Path
    options: Options
    flags: str
    units: tuple[Unit, ...]
    kept: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls,
        source: epath.Path,
        output: epath.Path,
        dataset: str,
        units: Sequence[Unit],
        options: Options,
    ) -> "Plan":
        """The plan for units that were found in `source`.

        Raises:
          InputError: when the meta data that the data set needs are missing.
        """
        directory, flags = output / FOLDERS[dataset], ""
        if dataset == _FLAGGED:
            flags = str(flags_path(source, directory / UNFINISHED))
        made_with = [SCHEMA_VERSION, options.shard_size, options.embedding_size]
        facts = json.dumps([*made_with, flags.rpartition("/")[2]])
        remade = tuple(unit.made_with(facts) for unit in units)
        return cls(dataset, source, directory, options, flags, remade)

    def prepare(self) -> None:
        """Puts what worker processes need where they find it.

        Raises:
          InputError: when the meta data are damaged.
          WriteError: when the folder can't be written.
        """
        if not is_remote(self.directory):
            check_writable(Path(self.directory))
        if self.flags:
            store_flags(self.source, epath.Path(self.flags))

    @property
    def finished(self) -> Finished:
        """What is finished of it."""
        return Finished(self.directory / UNFINISHED)

    def jobs(self) -> Iterator[Job]:
        """One for every unit that the source has."""
        options = self.options
        for unit in (unit for unit in self.units if unit.name not in self.kept):
            folder = str(self.directory / UNFINISHED)
            yield Job(unit, folder, options.shard_size, options.embedding_size, self.flags)
