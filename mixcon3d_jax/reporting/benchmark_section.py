"""What a report shows of the single shapes of a benchmark."""

import functools

import numpy as np

from mixcon3d_jax.evaluation.retrieval import searches
from mixcon3d_jax.metrics import accuracies
from mixcon3d_jax.reporting.class_section import class_section
from mixcon3d_jax.reporting.collect import Shown
from mixcon3d_jax.reporting.confusion import plane_of
from mixcon3d_jax.reporting.markup import Html, join, picture, tag
from mixcon3d_jax.reporting.plots import embedding_map
from mixcon3d_jax.reporting.sheets import right_and_wrong, text_examples
from mixcon3d_jax.reporting.thumbnails import thumbnail


def benchmark_section(shown: Shown, weights: str) -> Html:
    """Classes, confusion, a map, right and wrong shapes, and what texts find.

    Args:
      shown: of the run.
      weights: which these are of, `ema` or `raw`.
    """
    benchmark, rows, mode = shown.benchmark, shown.measured.rows, shown.mode
    draw = functools.cache(lambda index: thumbnail(benchmark.source[index]))
    classified = bool(benchmark.classes)
    number = len(benchmark.labels)
    about = f"{number:,} shapes, by the {weights} weights."
    parts = []
    if classified:
        counts = shown.measured.counts[mode]
        said = rows["predictions"][mode]["classes"][:, 0]
        lead = rows["predictions"][mode]["lead"]
        top1 = accuracies(counts)["top1"]
        names = len(benchmark.classes)
        about = (
            f"{number:,} shapes, classified among {names:,} names by the {weights} weights, mode "
            f"{mode}: {top1:.1f} % are right."
        )
        parts.append(class_section(counts, benchmark.labels, said, benchmark.classes))
        parts.append(right_and_wrong(benchmark.labels, said, lead, benchmark.classes, draw))
    if "retrieval" in rows:
        directions = dict(searches(rows["retrieval"]))
        search = directions.get(f"text_to_{mode}", directions.get("text_to_point"))
        if search is not None:

            def name(index: int) -> str:
                if classified:
                    return benchmark.classes[benchmark.labels[index]]
                return benchmark.source[index]["id"].decode()

            ids = rows["retrieval"]["text_id"]
            parts.append(text_examples(search, ids, benchmark.source, name, draw))
    return join([tag("p", about), *parts, _map(shown)])


def _map(shown: Shown) -> Html:
    benchmark = shown.benchmark
    labels = benchmark.labels if benchmark.classes else None
    embeddings = shown.measured.rows["embedding"]
    if not np.isfinite(embeddings).all():
        return tag("p", "There is no map: embeddings are no numbers.", class_="bad")
    places, share = plane_of(embeddings, labels)
    names = dict(enumerate(benchmark.classes))
    classes = 0 if labels is None else len(np.unique(labels))
    of = "the classes' means" if classes > 2 else "the shapes"
    about = (
        f"Each dot is a shape, embedded by its points. The plane is that of the two largest "
        f"principal components of {of}; {100 * share:.0f} % of the shapes' variance lies in it."
    )
    plot = embedding_map(places, labels, names)
    return join(
        [
            tag("h3", "A map of the embeddings"),
            tag("p", about, class_="soft"),
            picture(plot, f"Map of the shapes of {benchmark.name}"),
        ]
    )
