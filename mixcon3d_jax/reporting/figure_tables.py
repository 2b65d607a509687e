"""Tables of zero-shot and retrieval figures, and of what the paper has for the same benchmark."""

from collections.abc import Mapping, Sequence

from mixcon3d_jax.metrics import METRICS, RETRIEVAL_METRICS
from mixcon3d_jax.reporting import published
from mixcon3d_jax.reporting.markup import Html, join, table, tag
from mixcon3d_jax.training.run_config import EVALUATION_MODES, RETRIEVAL_MODES

Figures = Mapping[str, float]

_HEADS = {
    "top1": "top-1",
    "top3": "top-3",
    "top5": "top-5",
    "class_mean": "class mean",
    "recall1": "R@1",
    "recall5": "R@5",
    "recall10": "R@10",
    "median_rank": "median rank",
}


def benchmarks_of(figures: Figures) -> list[str]:
    """The benchmarks that figures are of, in order."""
    return list(dict.fromkeys(key.split("/")[1] for key in figures))


def zero_shot_table(figures: Figures, benchmark: str) -> Html | None:
    """A row for each mode, columns for each set of weights; None where nothing was classified."""
    return _table(figures, benchmark, EVALUATION_MODES, METRICS)


def retrieval_table(figures: Figures, benchmark: str) -> Html | None:
    """The same for the directions of retrieval; None where there are none."""
    return _table(figures, benchmark, RETRIEVAL_MODES, RETRIEVAL_METRICS)


def published_tables(benchmark: str) -> Html | None:
    """What the paper has for a benchmark of that name, and says so; None for any other."""
    if benchmark not in published.ACCURACIES:
        return None
    source = tag(
        "p",
        "Published figures, not of this run: ",
        published.PAPER,
        ", ",
        tag("a", published.PAPER_URL, href=published.PAPER_URL),
        ".",
        class_="soft",
    )
    rows = [
        (row.trained_on, *(f"{value:.1f}" for value in row[1:]))
        for row in published.ACCURACIES[benchmark]
    ]
    heads = ["PointBERT, trained on", *(_HEADS[metric] for metric in METRICS)]
    parts = [tag("h3", "From the paper"), source, table(heads, rows)]
    if benchmark == "objaverse_lvis":
        heads = [
            "top-1, ensembled data, by number of views",
            *(f"M = {views}" for views in published.VIEWS),
        ]
        by_views = [
            (mode, *(f"{value:.1f}" for value in values))
            for mode, values in published.LVIS_BY_VIEWS.items()
        ]
        parts.append(table(heads, by_views))
    return tag("div", *parts, class_="published")


def _table(
    figures: Figures, benchmark: str, modes: Sequence[str], metrics: Sequence[str]
) -> Html | None:
    def has(weights: str, mode: str) -> bool:
        return f"{weights}/{benchmark}/{mode}/{metrics[0]}" in figures

    names = dict.fromkeys(key.split("/")[0] for key in figures)
    sets = [which for which in names if any(has(which, mode) for mode in modes)]
    shown = [mode for mode in modes if any(has(which, mode) for which in sets)]
    if not shown:
        return None
    rows = [
        (
            tag("code", mode),
            _cell(figures, f"{sets[0]}/{benchmark}/{mode}/count"),
            *(
                _cell(figures, f"{which}/{benchmark}/{mode}/{metric}")
                for which in sets
                for metric in metrics
            ),
        )
        for mode in shown
    ]
    heads = ["mode", "count", *(_HEADS[metric] for _ in sets for metric in metrics)]
    groups = [("", 2), *((f"{which} weights", len(metrics)) for which in sets)]
    return table(heads, rows, groups=groups)


def _cell(figures: Figures, key: str) -> Html:
    if key not in figures:
        return Html("&ndash;")
    if key.endswith("/count"):
        return join([f"{figures[key]:,.0f}"])
    std = figures.get(f"{key}_std")
    return join([f"{figures[key]:.1f}" if std is None else f"{figures[key]:.1f} ± {std:.1f}"])
