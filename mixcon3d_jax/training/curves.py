"""Training curves as a picture."""

import io

from mixcon3d_jax.buckets import AnyPath, as_path
from mixcon3d_jax.files import write_whole
from mixcon3d_jax.models.mixcon3d import TEMPERATURES
from mixcon3d_jax.training.metrics_file import read_metrics

CURVES_FILE = "curves.png"


def plot_curves(workdir: AnyPath) -> AnyPath | None:
    """Draws losses, accuracies and learning rate of `workdir`'s run; None without any report."""
    rows = read_metrics(workdir)
    if not rows:
        return None
    from matplotlib.figure import Figure

    steps = [row["step"] for row in rows]
    figure = Figure(figsize=(13, 4), layout="constrained")
    loss, accuracy, rate = figure.subplots(1, 3)
    loss.plot(steps, [row["loss"] for row in rows], color="black", label="total")
    for term in TEMPERATURES:
        name = term.replace("_", "-")
        loss.plot(steps, [row[f"{term}_loss"] for row in rows], label=name)
        accuracy.plot(steps, [100 * row[f"{term}_accuracy"] for row in rows], label=name)
    rate.plot(steps, [row["learning_rate"] for row in rows])
    loss.set(title="contrastive loss", xlabel="step")
    accuracy.set(title="accuracy in the batch", xlabel="step", ylabel="%", ylim=(0, 100))
    rate.set(title="learning rate", xlabel="step")
    for axes in (loss, accuracy, rate):
        axes.grid(alpha=0.3)
    loss.legend()
    accuracy.legend()
    path = as_path(workdir) / CURVES_FILE
    picture = io.BytesIO()
    figure.savefig(picture, dpi=110, format="png")
    write_whole(path, picture.getvalue())
    return path
