"""Zero-shot and retrieval metrics as sums and counts, divided once at the end."""

from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

TOP_K = (1, 3, 5)
# What `accuracies` gives beside `count`.
METRICS = (*(f"top{k}" for k in TOP_K), "class_mean")

RECALL_AT = (1, 5, 10)
# What `retrieval_figures` gives beside `count`.
RETRIEVAL_METRICS = (*(f"recall{k}" for k in RECALL_AT), "median_rank")


def top_k_counts(
    logits: Float[Array, "batch classes"],
    labels: Int[Array, "batch"],
    mask: Bool[Array, "batch"],
) -> dict[str, Float[Array, "classes"]]:
    """For each class, its masked rows (`count`) and those right within the top 1, 3 and 5.

    A row's rank is the number of classes with a larger logit; equal logits before the label's own
    index count as larger, so that a constant output is not right, and so do those that are no
    numbers.
    """
    own = jnp.take_along_axis(logits, labels[:, None], axis=1)
    index = jnp.arange(logits.shape[1])
    rank = jnp.sum(~_behind(logits, own, labels[:, None]), axis=1) - 1
    one_hot = (labels[:, None] == index) & mask[:, None]
    counts = {f"top{k}": jnp.sum(one_hot & (rank < k)[:, None], axis=0) for k in TOP_K}
    counts["count"] = jnp.sum(one_hot, axis=0)
    return {name: value.astype(jnp.float32) for name, value in counts.items()}


def mean_and_std(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each figure over several runs, and `KEY_std`, its sample standard deviation.

    A `count` has none.
    """
    figures = {}
    for key in runs[0]:
        values = np.array([run[key] for run in runs], np.float64)
        figures[key] = float(values.mean())
        if not key.endswith("/count"):
            figures[f"{key}_std"] = float(values.std(ddof=1))
    return figures


def accuracies(counts: Mapping[str, Float[np.ndarray, "classes"]]) -> dict[str, float]:
    """`top1`, `top3`, `top5` over all rows, `class_mean` (mean top-1 of classes), in percent.

    `count` is the number of rows.  Classes without rows are out of the class mean.
    """
    per_class = np.asarray(counts["count"], np.float64)
    total = per_class.sum()
    if total == 0:
        raise ValueError("no rows were counted")
    figures = {f"top{k}": float(100 * np.sum(counts[f"top{k}"]) / total) for k in TOP_K}
    present = per_class > 0
    right = np.asarray(counts["top1"], np.float64)[present] / per_class[present]
    return figures | {"class_mean": float(100 * right.mean()), "count": int(total)}


def best_answer_ranks(
    similarities: Float[Array, "queries candidates"],
    answers: Bool[Array, "queries candidates"],
    among: Bool[Array, "candidates"],
) -> Int[Array, "queries"]:
    """The rank of each query's best answer, from 1.

    That is how many candidates are at least as similar: the answer itself, those with a larger
    similarity, and of those with an equal one the ones before it, so that a constant output finds
    what chance finds.

    Args:
      similarities: the larger, the nearer.
      answers: which candidates are right for which query.
      among: which candidates there are.

    Returns:
      The ranks; the number of candidates for a query without an answer, and for similarities that
      are no numbers.
    """
    found = jnp.where(answers & among, similarities, -jnp.inf)
    best, place = found.max(axis=1, keepdims=True), found.argmax(axis=1)[:, None]
    return jnp.sum(among & ~_behind(similarities, best, place), axis=1)


def retrieval_figures(ranks: Int[np.ndarray, "queries"]) -> dict[str, float]:
    """`recall1`, `recall5`, `recall10`: the percentage of queries of that rank or a better one.

    `median_rank` is the median of the ranks, which are counted from 1, `count` the number of
    queries.
    """
    if not len(ranks):
        raise ValueError("there were no queries")
    recalls = {f"recall{k}": float(100 * np.sum(ranks <= k) / len(ranks)) for k in RECALL_AT}
    return recalls | {"median_rank": float(np.median(ranks)), "count": len(ranks)}


def _behind(
    values: Float[Array, "rows columns"],
    own: Float[Array, "rows 1"],
    place: Int[Array, "rows 1"],
) -> Bool[Array, "rows columns"]:
    """Which columns are behind a row's own, which has the value `own` and stands at `place`."""
    index = jnp.arange(values.shape[1])
    return (values < own) | ((values == own) & (index > place))
