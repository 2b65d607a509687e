"""Converts data sets from their plans to their cards."""

import sys
from collections.abc import Callable, Sequence

from data_prep.openshape.assemble import SPLIT, DoneUnit, assemble, collect
from data_prep.openshape.convert import Job
from data_prep.openshape.duplicates import without_duplicates
from data_prep.openshape.earlier import Earlier
from data_prep.openshape.kept import check_kept, with_kept, without_superseded
from data_prep.openshape.moved import bring_back
from data_prep.openshape.plan import Plan
from data_prep.openshape.report import num_failures, print_report, write_report


def run(plans: Sequence[Plan], execute: Callable[[Sequence[Job]], None], max_failures: int) -> int:
    """Makes or updates every planned data set, and says what became of it.

    Args:
      plans: one for every data set.
      execute: converts all units that it is given.
      max_failures: shapes and archives that may fail.

    Returns:
      The command's exit status: 1 when more than that failed, 2 when a data set could not be made.

    Raises:
      InputError: when the conversion can't go on.  What is finished stays.
    """
    plans = [with_kept(plan) for plan in plans]
    earlier = {plan.dataset: Earlier(plan) for plan in plans}
    jobs: list[Job] = []
    for plan in plans:
        if not earlier[plan.dataset].is_current():
            plan.prepare()
            bring_back(plan)
            earlier[plan.dataset].take_over()
            check_kept(plan)
            jobs += plan.jobs()
    if jobs:
        execute(jobs)
    failed, missing = 0, False
    for plan in plans:
        if earlier[plan.dataset].is_current():
            print(f"nothing to do: {plan.directory} holds {plan.dataset} of this source")
            plan.finished.folder.rmtree(missing_ok=True)  # an earlier run was ended right there
            failed += _report(plan, earlier[plan.dataset].done())
        else:
            done = without_duplicates(plan, without_superseded(plan, collect(plan)))
            failed += _report(plan, done)
            missing |= not _make(plan, done)
    return 2 if missing else _exit_status(failed, max_failures)


def _report(plan: Plan, done: Sequence[DoneUnit]) -> int:
    """Writes and prints a data set's report; returns how much failed."""
    report = write_report(plan, done)
    print_report(plan, report)
    return num_failures(report)


def _make(plan: Plan, done: Sequence[DoneUnit]) -> bool:
    """Makes a data set of what is done; says so if it can't be, and goes on to the next one."""
    if not any(found.records for found in done):
        print(f"error: {plan.dataset}: no shape could be converted: no data set", file=sys.stderr)
        return False
    card = assemble(plan, done)
    print(f"{plan.dataset}: {card.splits[SPLIT]} records in {plan.directory}")
    return True


def _exit_status(failed: int, allowed: int) -> int:
    if failed:
        kind = "error" if failed > allowed else "note"
        print(
            f"{kind}: {failed} shapes or archives failed, {allowed} may (--max-failures): the data "
            "sets are made of the others",
            file=sys.stderr,
        )
    return int(failed > allowed)
