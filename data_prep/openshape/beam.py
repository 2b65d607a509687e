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
from data_prep.openshape.units import Unit
from mixcon3d_jax.errors import InputError
from mixcon3d_jax.files import write_whole

# Beam wraps whatever a worker raises in errors of its own, of which the text alone is left.
_MENDABLE = "a worker can't go on: "


def convert_with_beam(jobs: Sequence[Job], runner: str, options: Sequence[str]) -> None:
    """Converts every unit that is not finished.

    Args:
      jobs: the units; finished ones are passed over.
      runner: Beam's name of it, `DirectRunner` for example.
      options: of the pipeline, as Beam's command line has them.

    Raises:
      InputError: when Beam is not installed, or a worker meets something that a user can mend.
        Finished shards are kept.
      Exception: whatever else ends the pipeline, as Beam raises it.
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
        pipeline = apache_beam.Pipeline(options=PipelineOptions([f"--runner={runner}", *options]))
    except Exception as error:  # `ValueError`, `ImportError` and others, by the runner
        raise InputError(f"--beam-runner={runner}, or an option after --: {error}") from error
    try:
        with pipeline:
            (
                pipeline
                | "units" >> apache_beam.Create(stored)
                | "spread" >> apache_beam.Reshuffle()
                | "convert" >> apache_beam.Map(convert_stored)
            )
    except Exception as error:
        kept = "Finished shards are kept: run the same command again, it continues from there"
        if _MENDABLE in str(error):
            raise InputError(f"the Beam pipeline failed: {error}\n{kept}") from error
        error.add_note(kept)
        raise
    lost = [job.unit.name for job in left if not job.is_finished()]
    if lost:
        raise InputError(
            f"Beam's {runner} passed over {len(lost)} of {len(left)} parts of the source, the "
            f"first is {lost[0]}: run the same command again, it continues with them"
        )


def convert_stored(path: str) -> None:
    """Converts a unit that is described in a file.

    Raises:
      InputError: whose message begins so that it is known again in an error of Beam's.
    """
    fields = json.loads(epath.Path(path).read_text())
    unit = fields.pop("unit")
    unit["files"] = None if unit["files"] is None else tuple(unit["files"])
    try:
        convert(Job(unit=Unit(**unit), **fields))
    except InputError as error:
        raise InputError(f"{_MENDABLE}{error}") from error


def _store(job: Job) -> str:
    path = epath.Path(job.folder) / f"{job.unit.name}.job.json"
    write_whole(path, json.dumps(dataclasses.asdict(job)).encode())
    return str(path)
