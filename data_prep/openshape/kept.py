"""What an earlier run made of archives that are no longer in the source stays in the data set."""

import contextlib
import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import Any

from data_prep.openshape.assemble import CONVERSION_FILE, DoneUnit
from data_prep.openshape.plan import Plan
from data_prep.openshape.units import Unit
from mixcon3d_jax.data.schema import SCHEMA_VERSION
from mixcon3d_jax.data.writer import CARD_FILE
from mixcon3d_jax.errors import InputError


class SmallerSourceError(InputError):
    """A source, or a part of it, that would replace a data set made of more."""


def with_kept(plan: Plan) -> Plan:
    """The plan, and in it the units of the data set that the source lacks.

    A trial (`limit`) keeps none, and is refused where more was converted.

    Raises:
      SmallerSourceError: when the data set was made of more than the source has, and what lacks
        can't be kept.
    """
    try:
        content = json.loads((plan.directory / CONVERSION_FILE).read_text())
        earlier_limit, entries = content.get("limit"), content["units"]
        made = {entry["name"]: entry for entry in entries}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return plan  # there is no data set yet
    limit = plan.options.limit
    if limit is not None:
        if earlier_limit is None or earlier_limit > limit:
            raise SmallerSourceError(
                f"{plan.directory} holds a data set made with "
                f"{f'--limit={earlier_limit}' if earlier_limit else 'all shapes'}, which the first "
                f"{limit} alone would replace; name another --output for a trial"
            )
        return plan
    present = {unit.name for unit in plan.units}
    _check_files(plan, made)
    kept = [_unit(plan, entry) for name, entry in made.items() if name not in present]
    if any(unit.files is not None for unit in plan.units):
        kept = [unit for unit in kept if unit.files is None]
    if not kept:
        return plan
    _check_options(plan, kept)
    print(
        f"note: {len(kept)} parts of {plan.directory} are no longer in the source, the first is "
        f"{kept[0].name}: what was made of them stays; to be rid of it, delete the data set's "
        "folder",
        file=sys.stderr,
    )
    units = sorted((*plan.units, *kept), key=lambda u: (u.files is not None, u.path, u.name))
    return dataclasses.replace(plan, units=tuple(units), kept=frozenset(u.name for u in kept))


def _check_files(plan: Plan, made: dict[str, Any]) -> None:
    """Refuses a folder that lost some of its files: the runs of the rest are others."""
    now = sum(len(unit.files) for unit in plan.units if unit.files is not None)
    before = sum(entry["shapes"] for name, entry in made.items() if _is_files(name))
    packed_now = {unit.name for unit in plan.units if unit.files is None} - made.keys()
    if 0 < now < before and not packed_now:
        raise SmallerSourceError(
            f"{plan.source / plan.dataset} has {now} unpacked files, while {plan.directory} was "
            f"made of {before}: put the others back, or delete {plan.directory} to have a data set "
            "without them"
        )


def _check_options(plan: Plan, kept: Sequence[Unit]) -> None:
    """Refuses to mix records of two kinds."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        card = json.loads((plan.directory / CARD_FILE).read_text())
        found = card["embedding_size"], card["schema_version"]
        if found != (plan.options.embedding_size, SCHEMA_VERSION):
            raise SmallerSourceError(
                f"{kept[0].name} is no longer in {plan.source}, and what {plan.directory} has of "
                f"it was made with embeddings of {found[0]} entries and schema {found[1]}, not "
                f"{plan.options.embedding_size} and {SCHEMA_VERSION}: put it back, or name another "
                "--output"
            )


def check_kept(plan: Plan) -> None:
    """Looks whether all of what should stay is there.

    Raises:
      SmallerSourceError: when some of it is damaged or lost.
    """
    for unit in plan.units:
        if unit.name in plan.kept and plan.finished.unit(unit) is None:
            raise SmallerSourceError(
                f"{unit.name} is no longer in {plan.source}, and what {plan.directory} had of it "
                f"is damaged: put it back, or delete {plan.directory} to have a data set without it"
            )


def without_superseded(plan: Plan, done: Sequence[DoneUnit]) -> list[DoneUnit]:
    """Leaves out what stayed, if the source has all of it at another place."""
    others = (found for found in done if found.unit.name not in plan.kept)
    ids = {record_id for found in others for shard in found.shards for record_id in shard.ids}

    def is_superseded(found: DoneUnit) -> bool:
        own = (record_id for shard in found.shards for record_id in shard.ids)
        return found.unit.name in plan.kept and ids.issuperset(own)

    return [found for found in done if not is_superseded(found)]


def _is_files(name: str) -> bool:
    return not name.endswith(".tar.gz")


def _unit(plan: Plan, entry: dict[str, Any]) -> Unit:
    name = entry["name"]
    return Unit(
        name=name,
        dataset=plan.dataset,
        source=str(plan.source),
        path=plan.dataset if _is_files(name) else name.replace("__", "/"),
        files=() if _is_files(name) else None,
        limit=None,
        num_bytes=0,
        fingerprint=entry["fingerprint"],
    )
