"""Few-shot classification by logistic regression on frozen embeddings."""

import dataclasses
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from mixcon3d_jax.data.source import open_split, read_card, record_labels
from mixcon3d_jax.errors import InputError
from mixcon3d_jax.extras import extra
from mixcon3d_jax.inference.classification import unit_rows
from mixcon3d_jax.inference.model import Mode, Model
from mixcon3d_jax.progress import progress


@dataclasses.dataclass(frozen=True)
class LabelledRows:
    """Embeddings of shapes whose class is known.

    Attributes:
      rows: of length 1.
      classes: the name of each row's class.
    """

    rows: Float[np.ndarray, "shapes D"]
    classes: np.ndarray


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """What classifiers that saw so many shapes of each class get right.

    Attributes:
      shots: of each class; None for all that there are.
      trained_on: shapes that a classifier saw.
      percent: of each repeat.
    """

    shots: int | None
    trained_on: int
    percent: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over the repeats."""
        return float(np.mean(self.percent))

    @property
    def deviation(self) -> float:
        """The sample's standard deviation over the repeats; 0 of a single one."""
        return float(np.std(self.percent, ddof=1)) if len(self.percent) > 1 else 0.0


def embed_split(model: Model, folder: Path, split: str, mode: Mode) -> LabelledRows:
    """Embeds the shapes of a prepared data set, as evaluation draws them with seed 0.

    Raises:
      InputError: if the data set does not fit, or a shape has no class.
    """
    card, about = read_card(folder), model.weights.about
    if card.up_axis != about.up_axis:
        raise InputError(f"{folder} has up axis {card.up_axis}, the model {about.up_axis}")
    if mode == "fused" and card.clip_id != about.clip_id:
        raise InputError(
            f"{folder} has renders embedded with CLIP {card.clip_id!r}, the model was trained with "
            f"{about.clip_id!r}; say --mode=point, or prepare the data with that CLIP"
        )
    if mode == "fused" and not card.num_views:
        raise InputError(f"{folder} has points alone; say --mode=point")
    source, labels = open_split(folder, split), record_labels(folder, split)
    if labels.min() < 0:
        raise InputError(
            f"{int((labels < 0).sum())} shapes of {folder}, split {split!r}, have no class; "
            "prepare it again with the class of every shape"
        )
    num_views = card.num_views if mode == "fused" else 0
    rows = model.embedder.examples(source, num_views, f"embedding {split}")
    return LabelledRows(unit_rows(rows), np.array(card.classes)[labels])


def check_classes(train: LabelledRows, test: LabelledRows) -> tuple[LabelledRows, int]:
    """The test shapes of classes that can be learned, and the number of the others.

    Raises:
      InputError: if none is left, or there is a single class to learn.
    """
    known = np.unique(train.classes)
    if len(known) < 2:
        raise InputError(f"--train has one class only ({known[0]}); two or more can be told apart")
    can_be_known = np.isin(test.classes, known)
    if not can_be_known.any():
        raise InputError("--train and --test have no class in common")
    kept = LabelledRows(test.rows[can_be_known], test.classes[can_be_known])
    return kept, int((~can_be_known).sum())


def probe(
    train: LabelledRows,
    test: LabelledRows,
    shots: Sequence[int | None],
    repeats: int,
    strength: float,
) -> list[Accuracy]:
    """Accuracy for each number of shots.

    Args:
      train, test: of one model; every class of `test` is in `train`.
      shots: shapes of each class that a classifier sees, drawn anew in each repeat; of a class that
        has fewer all.  None: all of all classes, once, since nothing is drawn.
      repeats: with the seeds 0, 1, ...
      strength: the inverse of the regularisation's (scikit-learn's `C`).

    Raises:
      MissingExtraError: if scikit-learn is not installed.
    """
    runs = [(k, seed) for k in shots for seed in range(1 if k is None else repeats)]
    percent: dict[int | None, list[float]] = {k: [] for k in shots}
    counts: dict[int | None, int] = {}
    for k, seed in progress(runs, len(runs), "fitting"):
        seen = few_of_each(train.classes, k, seed)
        counts[k] = len(seen)
        few = LabelledRows(train.rows[seen], train.classes[seen])
        percent[k].append(fitted_accuracy(few, test, strength))
    return [Accuracy(k, counts[k], tuple(percent[k])) for k in shots]


def few_of_each(classes: np.ndarray, shots: int | None, seed: int) -> Int[np.ndarray, "chosen"]:
    """Rows with `shots` of each class, at random; of a class that has fewer, and for None, all."""
    if shots is None:
        return np.arange(len(classes))
    rng = np.random.default_rng([seed, shots])
    chosen = []
    for name in np.unique(classes):
        members = np.flatnonzero(classes == name)
        chosen.append(rng.permutation(members)[:shots])
    return np.sort(np.concatenate(chosen))


def fitted_accuracy(train: LabelledRows, test: LabelledRows, strength: float) -> float:
    """Percent of `test` that multinomial logistic regression on `train` gets right.

    Raises:
      MissingExtraError: if scikit-learn is not installed.
    """
    with extra("probe", "probing"):
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
    with warnings.catch_warnings():
        # scikit-learn takes few shots of many classes for a regression problem.
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            fitted = LogisticRegression(C=strength, max_iter=10_000).fit(train.rows, train.classes)
        except ConvergenceWarning as error:
            raise InputError(
                f"the regression does not converge at --strength={strength:g}; say a smaller one"
            ) from error
    return 100.0 * float(np.mean(fitted.predict(test.rows) == test.classes))
