"""Training curves as a picture."""

import io
from collections.abc import Sequence
from typing import Any

from mixcon3d_jax.buckets import AnyPath, as_path
from mixcon3d_jax.files import write_whole
from mixcon3d_jax.models.mixcon3d import TEMPERATURES
from mixcon3d_jax.training.metrics_file import Row, read_metrics

CURVES_FILE = "curves.png"
# What is drawn of a report.
DRAWN = (
    "step",
    "loss",
    "learning_rate",
    *(f"{term}_{what}" for term in TEMPERATURES for what in ("loss", "accuracy")),
)


def plot_curves(workdir: AnyPath) -> AnyPath | None:
    """Draws losses, accuracies and learning rate of `workdir`'s run; None without any report."""
    rows = read_metrics(workdir)
    if not rows:
        return None
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4), layout="constrained")
    draws = (draw_loss, draw_accuracy, draw_rate)
    for axes, draw in zip(figure.subplots(1, 3), draws, strict=True):
        draw(axes, rows)
    path = as_path(workdir) / CURVES_FILE
    picture = io.BytesIO()
    figure.savefig(picture, dpi=110, format="png")
    write_whole(path, picture.getvalue())
    return path


def draw_loss(axes: Any, rows: Sequence[Row]) -> None:
    """The whole loss and its four terms, on matplotlib's axes."""
    axes.plot(_steps(rows), [row["loss"] for row in rows], color="black", label="total")
    for term in TEMPERATURES:
        axes.plot(_steps(rows), [row[f"{term}_loss"] for row in rows], label=_name(term))
    axes.set(title="contrastive loss", xlabel="step")
    axes.grid(alpha=0.3)
    axes.legend()


def draw_accuracy(axes: Any, rows: Sequence[Row]) -> None:
    """How often the nearest of the batch is the right one, for each term."""
    for term in TEMPERATURES:
        percent = [100 * row[f"{term}_accuracy"] for row in rows]
        axes.plot(_steps(rows), percent, label=_name(term))
    axes.set(title="accuracy in the batch", xlabel="step", ylabel="%", ylim=(0, 100))
    axes.grid(alpha=0.3)
    axes.legend()


def draw_rate(axes: Any, rows: Sequence[Row]) -> None:
    """The learning rate."""
    axes.plot(_steps(rows), [row["learning_rate"] for row in rows])
    axes.set(title="learning rate", xlabel="step")
    axes.grid(alpha=0.3)


def _steps(rows: Sequence[Row]) -> list[float]:
    return [row["step"] for row in rows]


def _name(term: str) -> str:
    return term.replace("_", "-")
