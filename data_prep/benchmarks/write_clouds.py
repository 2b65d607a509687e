"""Writes a benchmark of labelled clouds as a data set."""

import itertools
from pathlib import Path

from data_prep.benchmarks.class_rows import ClassRows
from data_prep.benchmarks.clouds import LabelledClouds
from data_prep.benchmarks.failures import Failures
from data_prep.benchmarks.files import BenchmarkError
from mixcon3d_jax.data.schema import DatasetCard
from mixcon3d_jax.data.writer import write_dataset
from mixcon3d_jax.progress import progress


def write_clouds(
    name: str, clouds: LabelledClouds, folder: Path, rows: ClassRows, failures: Failures
) -> int:
    """Writes all clouds that can be used, in their order; returns how many.

    Args:
      name: of the data set.
      clouds: the benchmark.
      folder: of the data set.
      rows: where its class embeddings come from.
      failures: gets the others.

    Raises:
      InputError: the class embeddings don't fit, no cloud can be used, or the disk is full.
    """
    class_embeddings, clip_id = rows.choose(clouds.classes, clouds.class_embeddings, views=False)
    embedding_size = class_embeddings.shape[1]
    records = clouds.records(embedding_size, failures)
    first = next(records, None)
    if first is None:
        failures.report(folder / "report.json", len(clouds.items), 0)
        raise BenchmarkError(f"{name}: no shape can be used, so no data set was written")
    card = DatasetCard(
        name=name,
        clip_id=clip_id,
        embedding_size=embedding_size,
        num_points=len(first.points),
        num_views=0,
        classes=clouds.classes,
    )
    bar = progress(itertools.chain([first], records), len(clouds.items), f"writing {name}")
    card = write_dataset(folder, card, {"test": bar}, class_embeddings)
    failures.report(folder / "report.json", len(clouds.items), card.splits["test"])
    return card.splits["test"]
