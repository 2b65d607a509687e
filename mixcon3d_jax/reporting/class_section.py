"""How well each class is recognised, and what it is taken for."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from mixcon3d_jax.reporting.confusion import Confusion, confusion_matrix, most_confused
from mixcon3d_jax.reporting.markup import Html, join, picture, table, tag
from mixcon3d_jax.reporting.plots import histogram

# With more classes neither a whole table nor a heat map can be read.
_MOST_CLASSES = 60
_FEW, _WORST = 10, 30


class ClassAccuracy(NamedTuple):
    """Of how many shapes of a class how many are right."""

    label: int
    right: int
    of: int

    @property
    def percent(self) -> float:
        """The accuracy of the class."""
        return 100 * self.right / self.of


def class_accuracies(counts: Mapping[str, Float[np.ndarray, "classes"]]) -> list[ClassAccuracy]:
    """Of every class that has shapes, the worst first.

    Args:
      counts: of `top_k_counts`, those that the evaluator's figures are made of.
    """
    found = [
        ClassAccuracy(label, int(counts["top1"][label]), int(of))
        for label, of in enumerate(counts["count"])
        if of
    ]
    return sorted(found, key=lambda each: (each.percent, each.label))


def class_section(
    counts: Mapping[str, Float[np.ndarray, "classes"]],
    labels: Int[np.ndarray, "shapes"],
    said: Int[np.ndarray, "shapes"],
    classes: Sequence[str],
) -> Html:
    """Accuracies of classes, and the confusion between them.

    Args:
      counts: of `top_k_counts`.
      labels: the class of each shape.
      said: the class that each is taken for.
      classes: their names.
    """
    matrix = confusion_matrix(labels, said, len(classes))
    few = len(classes) <= _MOST_CLASSES
    pairs = most_confused(matrix, _FEW if few else _WORST)
    accuracies = tag(
        "div",
        tag("h3", "Accuracy of each class"),
        _accuracies(class_accuracies(counts), classes),
    )
    mistakes = tag("div", tag("h3", "The most frequent mistakes"), _pairs(pairs, classes))
    parts = [tag("div", accuracies, mistakes, class_="side")]
    if few:
        parts += [tag("h3", "Taken for one another"), _heat_map(matrix, classes)]
    return join(parts)


def _accuracies(found: list[ClassAccuracy], classes: Sequence[str]) -> Html:
    right, of = sum(each.right for each in found), sum(each.of for each in found)
    whole = (tag("b", "all shapes"), "", f"{right:,} of {of:,}", f"{100 * right / of:.1f}")

    def of_some(some: list[ClassAccuracy]) -> Html:
        rows = [
            (
                classes[each.label],
                _bar(each.percent),
                f"{each.right:,} of {each.of:,}",
                f"{each.percent:.1f}",
            )
            for each in some
        ]
        return table(("class", "", "right", "%"), [*rows, whole], numbers_from=2)

    if len(found) <= _FEW:
        return of_some(found)
    if len(found) <= _MOST_CLASSES:
        every = tag("details", tag("summary", f"All {len(found)} classes"), of_some(found))
        return join([tag("p", "The worst:", class_="soft"), of_some(found[:_FEW]), every])
    percents = np.array([each.percent for each in found])
    return join(
        [
            picture(histogram(percents), "Histogram of the accuracies of classes"),
            tag("p", f"The {_WORST} worst of {len(found):,} classes:", class_="soft"),
            of_some(found[:_WORST]),
        ]
    )


def _bar(percent: float) -> Html:
    filled = tag("span", class_="bar", style=f"width:{percent / 100 * 8:.2f}rem")
    return tag("span", filled, class_="track")


def _heat_map(matrix: Int[np.ndarray, "classes classes"], classes: Sequence[str]) -> Html:
    """Rows are what shapes are, columns what they are taken for; without empty ones."""
    rows = np.flatnonzero(matrix.sum(axis=1))
    columns = np.flatnonzero(matrix.sum(axis=0) + matrix.sum(axis=1))
    heads = tag("tr", tag("th"), *(tag("th", classes[column]) for column in columns))
    body = [
        tag(
            "tr",
            tag("th", classes[row]),
            *(_heat_cell(matrix[row], row, column, classes) for column in columns),
        )
        for row in rows
    ]
    legend = tag("p", "A row is what shapes are, a column what they are taken for.", class_="soft")
    heat = tag("table", tag("thead", heads), tag("tbody", *body), class_="confusion")
    return join([legend, tag("div", heat, class_="scroll")])


def _heat_cell(
    counts: Int[np.ndarray, "classes"], row: int, column: int, classes: Sequence[str]
) -> Html:
    own = "own" if row == column else None
    count, total = int(counts[column]), int(counts.sum())
    if not count:
        return tag("td", class_=own)
    title = f"{classes[row]} taken for {classes[column]}: {count} of {total}"
    return tag("td", count, class_=own, title=title, style=f"--share:{count / total:.2f}")


def _pairs(pairs: list[Confusion], classes: Sequence[str]) -> Html:
    if not pairs:
        return tag("p", "None: every shape is taken for what it is.")
    rows = [
        (classes[pair.true], classes[pair.said], f"{pair.count:,} of {pair.of:,}",
         f"{100 * pair.count / pair.of:.0f}")
        for pair in pairs
    ]  # fmt: skip
    return table(("is", "taken for", "shapes", "% of the class"), rows, numbers_from=2)
