"""Is a data set made of the same assets with the same options already?"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.prepare_asset import Outcome, PrepareOptions, asset_fingerprint
from data_prep.records import RecordOptions
from mixcon3d_jax.assets.manifest import Entry
from mixcon3d_jax.data.schema import SCHEMA_VERSION, SchemaError
from mixcon3d_jax.data.source import read_card
from mixcon3d_jax.models.clip_folder import ClipFolder
from mixcon3d_jax.models.prompts import PROMPT_TEMPLATES

PREPARATION_FILE = "preparation.json"


@dataclass(frozen=True)
class Preparation:
    """What a data set was made of.

    Attributes:
      fingerprint: of the manifest's entries, their files, all options and the CLIP.
      failed: how many assets failed.
      companions: asset id -> the files that it refers to, relative to its folder.
    """

    fingerprint: str
    failed: int
    companions: Mapping[str, Sequence[str]]

    @classmethod
    def of(
        cls,
        entries: Sequence[Entry],
        outcomes: Sequence[Outcome],
        clip: ClipFolder,
        prepare_options: PrepareOptions,
        record_options: RecordOptions,
    ) -> "Preparation":
        """What the data set of these assets is made of."""
        options: list[Any] = [SCHEMA_VERSION, clip.fingerprint(), PROMPT_TEMPLATES]
        options += [dataclasses.asdict(prepare_options), dataclasses.asdict(record_options)]
        total = hashlib.sha256(json.dumps(options).encode())
        companions = {}
        for entry, outcome in zip(entries, outcomes, strict=True):
            words = [entry.id, entry.class_name, entry.text, entry.captions, entry.split]
            total.update(json.dumps([*words, outcome.fingerprint]).encode())
            if outcome.companions:
                companions[entry.id] = list(outcome.companions)
        failed = sum(bool(outcome.failure) for outcome in outcomes)
        return cls(total.hexdigest(), failed, companions)

    def to_bytes(self) -> bytes:
        """The content of `preparation.json`."""
        return (json.dumps(dataclasses.asdict(self), indent=1) + "\n").encode()


def earlier_preparation(output: Path) -> Preparation | None:
    """What the data set in `output` was made of; None without one that is whole."""
    try:
        card = read_card(output)
        sizes = {name: (output / name).stat().st_size for name in card.files}
        if sizes != card.files:
            return None
        return Preparation(**json.loads((output / PREPARATION_FILE).read_text()))
    except (SchemaError, OSError, ValueError, TypeError):
        return None


def unchanged_outcomes(
    earlier: Preparation, entries: Sequence[Entry], options: PrepareOptions
) -> list[Outcome]:
    """The outcomes that a new run would have if nothing failed in the earlier one."""
    outcomes = []
    for entry in entries:
        companions = tuple(earlier.companions.get(entry.id, ()))
        fingerprint = asset_fingerprint(entry.path, companions, options)
        outcomes.append(Outcome(fingerprint, companions=companions))
    return outcomes
