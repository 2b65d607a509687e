"""One pass over a benchmark: every batch is embedded once for all that is measured on it."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float

from mixcon3d_jax.data.pipeline import PipelineConfig, evaluation_batches
from mixcon3d_jax.distributed.compilation import CompiledTogether
from mixcon3d_jax.evaluation import retrieval
from mixcon3d_jax.evaluation.benchmark import Benchmark
from mixcon3d_jax.evaluation.embeddings import shape_embeddings
from mixcon3d_jax.evaluation.zero_shot import embed_names, name_cosines, predictions
from mixcon3d_jax.metrics import accuracies, top_k_counts
from mixcon3d_jax.models.layers import normalize
from mixcon3d_jax.models.variables import Tree
from mixcon3d_jax.progress import progress
from mixcon3d_jax.sharding import batch_sharding, replicated

# Weights of the same structure under their name in the report: `raw` and `ema`.
WeightSets = Mapping[str, tuple[Tree, Tree]]

# What of a batch is embedded.
_ENCODED = ("points", "colors", "view_embeddings", "text_embedding")


@dataclasses.dataclass(frozen=True)
class Tasks:
    """What is measured.

    Attributes:
      retrieval: texts and pictures that look for shapes, and shapes that look for texts.
      predictions: what is said of each single shape, and where it lies by points.
    """

    retrieval: bool = False
    predictions: bool = False


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a pass finds with one set of weights.

    Attributes:
      counts: for each mode `top_k_counts`; none where there are no classes.
      rows: for each shape, in order: `retrieval` (see `retrieval_rows`), `predictions` (see
        `zero_shot.predictions`) and `embedding` (of length 1, by points), as far as asked for.
    """

    counts: dict[str, dict[str, Float[np.ndarray, "classes"]]]
    rows: dict[str, Any]

    def figures(self, mesh: Mesh) -> dict[str, float]:
        """`MODE/METRIC` -> figure, of zero-shot classification and of retrieval."""
        found = {
            f"{mode}/{metric}": figure
            for mode, counts in self.counts.items()
            for metric, figure in accuracies(counts).items()
        }
        if "retrieval" in self.rows:
            found |= retrieval.figures(self.rows["retrieval"], mesh)
        return found


def measure(
    embedded: Mapping[str, Mapping[str, Array]], names: Float[Array, "classes D"], tasks: Tasks
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What `Measured` has of one batch.

    Args:
      embedded: `shapes` (see `shape_embeddings`), `search` (see `search_embeddings`), and `about`:
        what else `evaluation_batches` says of the rows.
      names: of `embed_names`; none where there are no classes.
      tasks: what is measured.
    """
    shapes, search, about = (embedded[part] for part in ("shapes", "search", "about"))
    counts, rows = {}, {}
    if tasks.retrieval:
        rows["retrieval"] = retrieval.retrieval_rows(shapes, search, about)
    if tasks.predictions:
        rows["embedding"] = normalize(shapes["point"])
    if len(names):
        logits = name_cosines(shapes, names)
        counts = {
            mode: top_k_counts(values, about["label"], about["mask"])
            for mode, values in logits.items()
        }
        if tasks.predictions:
            rows["predictions"] = predictions(logits, about["label"])
    return counts, rows


# Kept, so that every benchmark and every evaluation of a run shares one compilation; the encoder,
# which takes longest to compile, knows neither classes nor tasks.
@functools.cache
def _compile_embed(
    structure: nnx.GraphDef, mesh: Mesh, missing: tuple[str, ...]
) -> Callable[..., dict[str, dict[str, Array]]]:
    def embed(params, stats, batch):
        model = nnx.merge(structure, params, stats)
        shapes = shape_embeddings(model, batch, missing)
        search = retrieval.search_embeddings(model, batch, shapes)
        about = {name: rows for name, rows in batch.items() if name not in _ENCODED}
        return {"shapes": shapes, "search": search, "about": about}

    # Every device gets all rows, so that what comes after it needs no device but its own.
    return CompiledTogether(jax.jit(embed, out_shardings=replicated(mesh)))


@functools.cache
def _compile_names(structure: nnx.GraphDef, mesh: Mesh) -> Callable[..., Array]:
    def names(params, stats, class_embeddings):
        return embed_names(nnx.merge(structure, params, stats), class_embeddings)

    return CompiledTogether(jax.jit(names, out_shardings=replicated(mesh)))


@functools.cache
def _compile_measure(
    mesh: Mesh, tasks: Tasks
) -> Callable[..., tuple[dict[str, Any], dict[str, Any]]]:
    def run(embedded, names):
        return measure(embedded, names, tasks)

    return CompiledTogether(jax.jit(run, out_shardings=replicated(mesh)))


# One program, not one for each figure: a device of the CPU takes 32 at a time, and where those wait
# for one that is still to be launched, they wait for ever.
@jax.jit
def _sum(counts: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    return jax.tree.map(jnp.add, counts, more)


def run_pass(
    benchmark: Benchmark,
    weights: WeightSets,
    structure: nnx.GraphDef,
    pipeline: PipelineConfig,
    global_batch: int,
    mesh: Mesh,
    missing: tuple[str, ...] = (),
    tasks: Tasks = Tasks(),
) -> dict[str, Measured]:
    """Measures one benchmark with each set of weights.

    Args:
      benchmark: shapes and classes.
      weights: parameters and statistics under their names.
      structure: of the model.
      pipeline: how shapes are drawn.
      global_batch: shapes at a time, which the mesh divides.
      mesh: to compute on.
      missing: modules whose weights mean nothing.
      tasks: what is measured beside zero-shot accuracy.
    """
    embed = _compile_embed(structure, mesh, missing)
    measure_batch = _compile_measure(mesh, tasks)
    if not benchmark.has_views:
        pipeline = dataclasses.replace(pipeline, views=None)
    names = _names(benchmark, weights, structure, mesh)
    batches = evaluation_batches(
        benchmark.source, benchmark.labels, pipeline, global_batch, batch_sharding(mesh)
    )
    counts: dict[str, Any] = {}
    waiting: dict[str, Any] = {}
    parts: dict[str, list[Any]] = {which: [] for which in weights}
    number = -(-len(benchmark.source) // global_batch)
    shown = jax.process_index() == 0
    for batch in progress(batches, number, f"evaluating {benchmark.name}", shown=shown):
        for which, (params, stats) in weights.items():
            found, rows = measure_batch(embed(params, stats, batch), names[which])
            known = counts.get(which)
            counts[which] = found if known is None else _sum(known, found)
            # Rows of the batch before are fetched while the devices work on this one.
            if which in waiting:
                parts[which].append(jax.device_get(waiting[which]))
            waiting[which] = rows
    for which, rows in waiting.items():
        parts[which].append(jax.device_get(rows))

    def whole(*arrays: np.ndarray) -> np.ndarray:
        return np.concatenate(arrays)[: len(benchmark.source)]

    return {
        which: Measured(jax.device_get(counts[which]), jax.tree.map(whole, *parts.pop(which)))
        for which in weights
    }


def _names(
    benchmark: Benchmark, weights: WeightSets, structure: nnx.GraphDef, mesh: Mesh
) -> dict[str, Array]:
    """Class names as each set of weights embeds them."""
    given = jax.device_put(benchmark.class_embeddings, replicated(mesh))
    if not benchmark.classes:
        return dict.fromkeys(weights, given)
    embed = _compile_names(structure, mesh)
    return {
        which: jax.block_until_ready(embed(params, stats, given))
        for which, (params, stats) in weights.items()
    }


def evaluate(
    benchmark: Benchmark,
    weights: WeightSets,
    structure: nnx.GraphDef,
    pipeline: PipelineConfig,
    global_batch: int,
    mesh: Mesh,
    missing: tuple[str, ...] = (),
) -> dict[str, float]:
    """The figures of one benchmark for each set of weights.

    Returns:
      `WEIGHTS/BENCHMARK/MODE/METRIC` -> figure; metrics are those of `metrics.accuracies` and, if
      the benchmark is one of retrieval, those of `metrics.retrieval_figures`.
    """
    tasks = Tasks(retrieval=benchmark.retrieval)
    measured = run_pass(benchmark, weights, structure, pipeline, global_batch, mesh, missing, tasks)
    return {
        f"{which}/{benchmark.name}/{key}": figure
        for which, found in measured.items()
        for key, figure in found.figures(mesh).items()
    }
