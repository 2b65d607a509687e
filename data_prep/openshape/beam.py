"""Converts units with Apache Beam: Dataflow, Flink, Spark, or `DirectRunner` on this machine.

The units are the same as without Beam, and so is the function that converts each.  What is
finished is read from the shards' folder afterwards, not from the pipeline: a runner that loses
elements can't hide it.
"""

import dataclasses
import json
from collections.abc import Sequence

from etils import epath

from data_prep.openshape.convert import Job, convert
from data_prep.openshape.storage import write
from data_prep.openshape.units import Unit
from mixcon3d_jax.errors import InputError


def convert_with_beam(jobs: Sequence[Job], runner: str, options: Sequence[str]) -> None:
    """Converts every unit that is not finished.

    Args:
      jobs: the units; finished ones are passed over.
      runner: Beam's name of it, `DirectRunner` for example.
      options: of the pipeline, as Beam's command line has them.

    Raises:
      InputError: when Beam is not installed, or the pipeline fails.  Finished shards are kept.
    """
    try:
        import apache_beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise InputError(
            "--beam-runner needs Apache Beam, which is not installed: pip install "
            "'mixcon3d-jax[beam]' in an environment of its own, or leave the flag out"
        ) from error
    left = [job for job in jobs if job.has_work()]
    # Names of many thousand files are too much for a pipeline's own description.
    stored = [_store(job) for job in left]
    try:
        with apache_beam.Pipeline(
            options=PipelineOptions([f"--runner={runner}", *options])
        ) as pipeline:
            (
                pipeline
                | "units" >> apache_beam.Create(stored)
                | "spread" >> apache_beam.Reshuffle()
                | "convert" >> apache_beam.Map(convert_stored)
            )
    except Exception as error:  # Beam wraps whatever a worker raises in errors of its own
        raise InputError(
            f"the Beam pipeline failed: {error}\nFinished shards are kept: run the same command "
            "again, it continues from there"
        ) from error
    lost = [job.unit.name for job in left if not job.is_finished()]
    if lost:
        raise InputError(
            f"Beam's {runner} passed over {len(lost)} of {len(left)} parts of the source, the "
            f"first is {lost[0]}: run the same command again, it continues with them"
        )


def convert_stored(path: str) -> None:
    """Converts a unit that is described in a file."""
    fields = json.loads(epath.Path(path).read_text())
    unit = fields.pop("unit")
    unit["files"] = None if unit["files"] is None else tuple(unit["files"])
    convert(Job(unit=Unit(**unit), **fields))


def _store(job: Job) -> str:
    path = epath.Path(job.folder) / f"{job.unit.name}.job.json"
    write(path, json.dumps(dataclasses.asdict(job)).encode())
    return str(path)
