"""Sheets of shapes: rightly and wrongly classified ones, and what texts find."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from mixcon3d_jax.data.text_ids import text_id
from mixcon3d_jax.evaluation.retrieval import Search
from mixcon3d_jax.reporting.markup import Html, join, picture, tag

_MOST, _TEXTS, _NEAREST = 24, 6, 6

# The picture of the shape of a number.
Draw = Callable[[int], bytes]


def right_and_wrong(
    labels: Int[np.ndarray, "shapes"],
    said: Int[np.ndarray, "shapes"],
    lead: Float[np.ndarray, "shapes"],
    classes: Sequence[str],
    draw: Draw,
) -> Html:
    """Shapes that are taken for what they are, of all classes, and those that are surely not.

    Args:
      labels: the class of each shape.
      said: the class that each is taken for.
      lead: by how much the cosine to that class is larger than to its own.
      classes: their names.
      draw: shows a shape.
    """
    right, wrong = right_examples(labels, said), wrong_examples(labels, said, lead)
    rights = [_shape(draw, i, tag("span", classes[labels[i]], class_="good")) for i in right]
    wrongs = [
        _shape(
            draw,
            i,
            tag("span", classes[said[i]], class_="bad"),
            tag("br"),
            f"is {classes[labels[i]]}",
        )
        for i in wrong
    ]
    return join(
        [
            tag("h3", "Rightly classified"),
            _sheet(rights) if rights else tag("p", "None."),
            tag("h3", "Wrongly classified, the surest mistakes first"),
            _sheet(wrongs) if wrongs else tag("p", "None."),
        ]
    )


def right_examples(labels: Int[np.ndarray, "shapes"], said: Int[np.ndarray, "shapes"]) -> list[int]:
    """The first right shapes of each class, as many of each, of classes evenly spread over all."""
    right = np.flatnonzero(labels == said)
    by_class = [right[labels[right] == label] for label in np.unique(labels[right])]
    each = max(_MOST // max(len(by_class), 1), 1)
    firsts = [int(shape) for shapes in by_class for shape in shapes[:each]]
    return spread(firsts, _MOST)


def wrong_examples(
    labels: Int[np.ndarray, "shapes"],
    said: Int[np.ndarray, "shapes"],
    lead: Float[np.ndarray, "shapes"],
) -> list[int]:
    """The wrong shapes with the largest lead."""
    wrong = np.flatnonzero(labels != said)
    return wrong[np.argsort(-lead[wrong], kind="stable")][:_MOST].tolist()


def spread(items: Sequence[int], most: int) -> list[int]:
    """At most so many of the items, evenly spaced."""
    chosen = np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int)
    return [int(items[place]) for place in chosen]


def text_examples(
    search: Search, ids: Int[np.ndarray, "shapes 2"], source: Sequence[Mapping[str, Any]],
    names: Callable[[int], str], draw: Draw,
) -> Html:  # fmt: skip
    """A few texts, and for each the shapes that it finds first.

    Args:
      search: of texts for shapes.
      ids: of the text that was drawn for each shape.
      source: stored examples.
      names: of a shape, to stand below it.
      draw: shows a shape.
    """
    parts = [tag("h3", "What texts find, the nearest first")]
    for query in spread(np.flatnonzero(search.asked), _TEXTS):
        nearest, answers = nearest_shapes(search, query)
        rank = int(np.flatnonzero(answers)[0]) + 1
        found = [
            _shape(draw, shape, _mark(answer), " ", names(shape))
            for shape, answer in zip(nearest[:_NEAREST], answers[:_NEAREST], strict=True)
        ]
        text = text_of(source[query], ids[query])
        several = int(answers.sum())
        has_it = "one shape has" if several == 1 else f"{several} shapes have"
        said = f" – {has_it} this text; rank {rank} of {len(nearest):,}"
        head = tag("p", tag("b", "“", text, "”"), tag("span", said, class_="soft"))
        parts += [head, _sheet(found)]
    return join(parts)


def nearest_shapes(
    search: Search, query: int
) -> tuple[Int[np.ndarray, "shapes"], Bool[np.ndarray, "shapes"]]:
    """The candidates of a query, the nearest first, and which of them answer it."""
    similarities = search.candidates @ search.queries[query]
    order = np.argsort(-similarities, kind="stable")
    order = order[search.among[order]]
    keys = search.query_keys[query]
    answers = (search.candidate_keys[order][:, :, None] == keys).any(axis=(1, 2))
    return order, answers


def text_of(example: Mapping[str, Any], identity: Int[np.ndarray, "2"]) -> str:
    """The text of a stored example whose embedding has this id (see `text_ids`)."""
    for embedding, text in zip(example["text_embeddings"], example["embedding_text"], strict=True):
        if np.array_equal(text_id(embedding), identity):
            return example["texts"][text].decode(errors="replace")
    raise ValueError(f"record {example['id']!r} has no such text")


def _mark(answer: bool) -> Html:
    return tag("span", "✓" if answer else "✗", class_="good" if answer else "bad")


def _shape(draw: Draw, index: int, *caption: object) -> Html:
    shown = picture(draw(index), "", loading="lazy")
    return tag("figure", shown, tag("figcaption", *caption))


def _sheet(figures: list[Html]) -> Html:
    return tag("div", *figures, class_="sheet")
