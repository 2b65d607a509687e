"""Plots, as PNG files on white."""

import colorsys
import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from mixcon3d_jax.training.curves import draw_accuracy, draw_loss, draw_rate
from mixcon3d_jax.training.metrics_file import Row

_DPI = 130
# More names than this can't be read on the map; the classes with the most shapes have theirs.
_MOST_NAMES = 40


def training_plots(rows: Sequence[Row]) -> list[tuple[str, bytes]]:
    """What each plot of a training shows, and the plot."""
    return [
        (title, _plot(lambda axes, draw=draw: draw(axes, rows), (5.2, 3.8)))
        for title, draw in (
            ("contrastive loss by step", draw_loss),
            ("accuracy in the batch by step", draw_accuracy),
            ("learning rate by step", draw_rate),
        )
    ]


def embedding_map(
    places: Float[np.ndarray, "shapes 2"],
    labels: Int[np.ndarray, "shapes"] | None,
    names: Mapping[int, str],
) -> bytes:
    """Shapes as dots in the colours of their classes, with the name of each class at its middle."""

    def draw(axes: Any) -> None:
        axes.set_aspect("equal")
        axes.set(xticks=[], yticks=[])
        if labels is None or not names:
            axes.scatter(*places.T, s=9, color="tab:blue")
            return
        present, counts = np.unique(labels, return_counts=True)
        named = present[np.argsort(-counts, kind="stable")][:_MOST_NAMES]
        for number, label in enumerate(present):
            color = _color(number, len(present))
            own = places[labels == label]
            axes.scatter(*own.T, s=14, color=color, alpha=0.6, linewidths=0)
            if label in named:
                axes.text(
                    *np.median(own, axis=0),
                    _plain(names[int(label)]),
                    fontsize=8,
                    color=_dark(color),
                    ha="center",
                    va="center",
                    bbox={"boxstyle": "round,pad=0.1", "color": "white", "alpha": 0.6},
                )

    return _plot(draw, (9, 7))


def histogram(accuracies: Float[np.ndarray, "classes"]) -> bytes:
    """How many classes have which accuracy, in percent."""

    def draw(axes: Any) -> None:
        axes.hist(accuracies, bins=np.linspace(0, 100, 21), color="tab:blue")
        axes.set(xlabel="accuracy of a class, %", ylabel="classes")

    return _plot(draw, (6, 3))


def _plot(draw: Callable[[Any], None], size: tuple[float, float]) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    draw(figure.subplots())
    file = io.BytesIO()
    with warnings.catch_warnings():
        # Of letters that matplotlib's font doesn't have: a box stands for them.
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(file, dpi=_DPI, format="png")
    return file.getvalue()


def _plain(text: str) -> str:
    """Text that matplotlib doesn't take for a formula."""
    return text.replace("$", r"\$")


def _color(number: int, of: int) -> tuple[float, float, float]:
    # Neighbours in number are far apart in hue, and alternate in brightness.
    return colorsys.hsv_to_rgb(number * 0.381966 % 1, 0.85, (0.85, 0.6)[number % 2])


def _dark(color: tuple[float, float, float]) -> tuple[float, float, float]:
    return tuple(0.6 * part for part in color)
