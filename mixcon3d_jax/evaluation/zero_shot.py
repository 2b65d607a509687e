"""Zero-shot classification: the class whose name is closest to the shape."""

import dataclasses
import functools
from collections.abc import Callable, Collection, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float

from mixcon3d_jax.data.clouds import unpack_clouds
from mixcon3d_jax.data.pipeline import PipelineConfig, evaluation_batches
from mixcon3d_jax.distributed.compilation import CompiledTogether
from mixcon3d_jax.evaluation.benchmark import Benchmark
from mixcon3d_jax.metrics import accuracies, top_k_counts
from mixcon3d_jax.models.layers import normalize
from mixcon3d_jax.models.mixcon3d import MixCon3D
from mixcon3d_jax.models.variables import Tree
from mixcon3d_jax.progress import progress
from mixcon3d_jax.sharding import batch_sharding, replicated

# Weights of the same structure under their name in the report: `raw` and `ema`.
WeightSets = Mapping[str, tuple[Tree, Tree]]


def class_logits(
    model: MixCon3D,
    batch: Mapping[str, Array],
    class_embeddings: Float[Array, "classes D"],
    missing: Collection[str] = (),
) -> dict[str, Float[Array, "batch classes"]]:
    """Cosines between shapes and class names, for each way of looking at a shape.

    `point`: the cloud.  `image`: the first view.  `image_multiview`: all views, pooled.
    `fused`, `fused_multiview`: the fusion head on the cloud and those.  `sum`: point +
    image_multiview.  Shapes without views have `point` alone.

    Args:
      model: with its weights.
      batch: `points`, `colors` and, where shapes have views, `view_embeddings`.
      class_embeddings: CLIP text embeddings of the names.
      missing: modules whose weights mean nothing (`fusion`, `multi_view_proj`); modes that need
        them are left out.
    """
    names = normalize(model.embed_text(class_embeddings))

    def cosines(embedding):
        return jnp.matmul(normalize(embedding), names.T, precision=jax.lax.Precision.HIGHEST)

    point = model.embed_points(*unpack_clouds(batch["points"], batch["colors"]))
    logits = {"point": cosines(point)}
    if "view_embeddings" not in batch or "multi_view_proj" in missing:
        return logits
    first_view = model.embed_views(batch["view_embeddings"][:, :1])
    views = model.embed_views(batch["view_embeddings"])
    logits |= {"image": cosines(first_view), "image_multiview": cosines(views)}
    if "fusion" not in missing:
        logits["fused"] = cosines(model.fuse(point, first_view))
        logits["fused_multiview"] = cosines(model.fuse(point, views))
    return logits | {"sum": logits["point"] + logits["image_multiview"]}


# Kept, so that every benchmark and every evaluation of a run shares one compilation.
@functools.cache
def compile_counts(
    structure: nnx.GraphDef, mesh: Mesh, missing: tuple[str, ...] = ()
) -> Callable[..., dict[str, dict]]:
    """A compiled function from weights and a batch to each mode's `top_k_counts`."""

    def counts(params, stats, batch, class_embeddings):
        model = nnx.merge(structure, params, stats)
        return {
            mode: top_k_counts(logits, batch["label"], batch["mask"])
            for mode, logits in class_logits(model, batch, class_embeddings, missing).items()
        }

    return CompiledTogether(jax.jit(counts, out_shardings=replicated(mesh)))


def evaluate(
    benchmark: Benchmark,
    weights: WeightSets,
    structure: nnx.GraphDef,
    pipeline: PipelineConfig,
    global_batch: int,
    mesh: Mesh,
    missing: tuple[str, ...] = (),
) -> dict[str, float]:
    """All modes of one benchmark for each set of weights (see `class_logits`).

    Returns:
      `WEIGHTS/BENCHMARK/MODE/METRIC` -> figure; metrics are those of `metrics.accuracies`.
    """
    counts_of = compile_counts(structure, mesh, missing)
    if not benchmark.has_views:
        pipeline = dataclasses.replace(pipeline, views=None)
    names = jax.device_put(benchmark.class_embeddings, replicated(mesh))
    batches = evaluation_batches(
        benchmark.source, benchmark.labels, pipeline, global_batch, batch_sharding(mesh)
    )
    totals: dict[str, dict] = {}
    number = -(-len(benchmark.source) // global_batch)
    shown = jax.process_index() == 0
    for batch in progress(batches, number, f"evaluating {benchmark.name}", shown=shown):
        for which, (params, stats) in weights.items():
            found = counts_of(params, stats, batch, names)
            known = totals.get(which)
            totals[which] = found if known is None else jax.tree.map(jnp.add, known, found)
    return {
        f"{which}/{benchmark.name}/{mode}/{metric}": figure
        for which, modes in totals.items()
        for mode, counts in modes.items()
        for metric, figure in accuracies(jax.tree.map(np.asarray, counts)).items()
    }
