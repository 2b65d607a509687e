"""Zero-shot metrics as sums and counts, divided once at the end."""

from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

TOP_K = (1, 3, 5)
# What `accuracies` gives beside `count`.
METRICS = (*(f"top{k}" for k in TOP_K), "class_mean")


def top_k_counts(
    logits: Float[Array, "batch classes"],
    labels: Int[Array, "batch"],
    mask: Bool[Array, "batch"],
) -> dict[str, Float[Array, "classes"]]:
    """For each class, its masked rows (`count`) and those right within the top 1, 3 and 5.

    A row's rank is the number of classes with a larger logit; equal logits before the label's own
    index count as larger, so that a constant output is not right.
    """
    own = jnp.take_along_axis(logits, labels[:, None], axis=1)
    index = jnp.arange(logits.shape[1])
    ahead = (logits > own) | ((logits == own) & (index < labels[:, None]))
    rank = jnp.sum(ahead, axis=1)
    one_hot = (labels[:, None] == index) & mask[:, None]
    counts = {f"top{k}": jnp.sum(one_hot & (rank < k)[:, None], axis=0) for k in TOP_K}
    counts["count"] = jnp.sum(one_hot, axis=0)
    return {name: value.astype(jnp.float32) for name, value in counts.items()}


def mean_and_std(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each figure over several runs, and `KEY_std`, its sample standard deviation.

    A `count` is the same in every run, and has none.
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
