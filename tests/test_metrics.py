"""Top-k counts and accuracies on logits whose answers are known by construction."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mixcon3d_jax.metrics import (
    accuracies,
    best_answer_ranks,
    mean_and_std,
    retrieval_figures,
    top_k_counts,
)


def counts(logits, labels, mask=None) -> dict[str, list[float]]:
    labels = np.asarray(labels, np.int32)
    mask = np.ones(labels.shape, bool) if mask is None else np.asarray(mask)
    found = top_k_counts(jnp.asarray(logits, jnp.float32), jnp.asarray(labels), jnp.asarray(mask))
    return {name: np.asarray(value).tolist() for name, value in found.items()}


def with_rank(rank: int, label: int, classes: int = 8) -> list[float]:
    """Logits in which exactly `rank` classes are ahead of the label."""
    others = [index for index in range(classes) if index != label]
    logits = np.zeros(classes)
    logits[others[:rank]] = 2.0
    logits[label] = 1.0
    return logits.tolist()


@pytest.mark.parametrize("label", [0, 3, 7])
@pytest.mark.parametrize(("rank", "right"), [(0, "135"), (1, "35"), (2, "35"), (3, "5"), (4, "5"),
                                             (5, ""), (7, "")])  # fmt: skip
def test_ranks(rank, right, label):
    found = counts([with_rank(rank, label)], [label])
    only_label = [float(index == label) for index in range(8)]
    for k in "135":
        assert found[f"top{k}"] == (only_label if k in right else [0.0] * 8)
    assert found["count"] == only_label


@pytest.mark.parametrize(("label", "rank"), [(0, 0), (1, 1), (2, 2), (3, 3), (5, 5)])
def test_among_equal_logits_the_first_index_wins(label, rank):
    found = counts([[0.5] * 6], [label])
    assert [sum(found[f"top{k}"]) for k in (1, 3, 5)] == [rank < 1, rank < 3, rank < 5]


def test_a_constant_output_scores_chance():
    found = counts(np.zeros((12, 6)), np.arange(12) % 6)
    figures = accuracies({name: np.array(value) for name, value in found.items()})
    assert figures["top1"] == pytest.approx(100 / 6)
    assert figures["class_mean"] == pytest.approx(100 / 6)


def test_masked_rows_count_nowhere():
    logits = [with_rank(0, 2), with_rank(0, 2), with_rank(6, 1)]
    found = counts(logits, [2, 2, 1], [True, False, True])
    assert found["count"] == [0, 1, 1, 0, 0, 0, 0, 0]
    assert found["top1"] == found["top5"] == [0, 0, 1, 0, 0, 0, 0, 0]
    assert counts(logits, [2, 2, 1], [False] * 3)["count"] == [0] * 8


def test_fewer_classes_than_k():
    found = counts([[0.0, 1.0]], [0])
    assert [sum(found[f"top{k}"]) for k in (1, 3, 5)] == [0, 1, 1]


def test_accuracies_over_rows_and_over_classes():
    # Three of four right in the first class, none of one in the second; the third has no rows.
    found = accuracies(
        {
            "top1": np.array([3, 0, 0]),
            "top3": np.array([4, 0, 0]),
            "top5": np.array([4, 1, 0]),
            "count": np.array([4, 1, 0]),
        }
    )
    assert found == pytest.approx(
        {"top1": 60.0, "top3": 80.0, "top5": 100.0, "class_mean": 37.5, "count": 5}
    )


def test_sums_of_parts_are_the_whole():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(30, 7)), rng.integers(0, 7, 30)
    whole = counts(logits, labels)
    parts = [counts(logits[part], labels[part]) for part in (slice(0, 11), slice(11, 30))]
    for name, value in whole.items():
        assert np.add(parts[0][name], parts[1][name]).tolist() == value


def test_against_a_plain_sort():
    rng = np.random.default_rng(1)
    logits, labels = rng.normal(size=(200, 9)).astype(np.float32), rng.integers(0, 9, 200)
    order = np.argsort(-logits, axis=1)
    found = counts(logits, labels)
    for k in (1, 3, 5):
        assert sum(found[f"top{k}"]) == (order[:, :k] == labels[:, None]).any(axis=1).sum()


def test_logits_that_are_no_numbers_are_never_right():
    found = counts(np.full((2, 6), np.nan), [0, 3])
    assert sum(found["top5"]) == 0
    assert sum(found["count"]) == 2


def test_nothing_counted_is_an_error():
    zeros = {name: np.zeros(3) for name in ("top1", "top3", "top5", "count")}
    with pytest.raises(ValueError, match="no rows"):
        accuracies(zeros)


def test_mean_and_std_over_runs():
    runs = [{"a/top1": 1.0, "a/count": 5}, {"a/top1": 3.0, "a/count": 5}]
    assert mean_and_std(runs) == {"a/top1": 2.0, "a/top1_std": np.sqrt(2.0), "a/count": 5}


def ranks(similarities, answers, among=None) -> list[int]:
    similarities = np.asarray(similarities, np.float32)
    among = np.ones(similarities.shape[1], bool) if among is None else np.asarray(among)
    found = best_answer_ranks(
        jnp.asarray(similarities), jnp.asarray(answers, bool), jnp.asarray(among)
    )
    return np.asarray(found).tolist()


def plain_rank(similarities, answers, among) -> int:
    """By sorting: the nearest first, of equal ones the first in order."""
    order = sorted(np.flatnonzero(among), key=lambda place: (-similarities[place], place))
    right = [number for number, place in enumerate(order, 1) if answers[place]]
    return right[0] if right else len(order)


def test_the_best_answer_counts():
    similarities = [[0.1, 0.9, 0.5, 0.7]] * 3
    assert ranks(similarities, [[1, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 1]]) == [3, 4, 1]


def test_of_equal_similarities_the_first_is_nearer():
    constant = np.zeros((4, 4))
    assert ranks(constant, np.eye(4)) == [1, 2, 3, 4]
    assert ranks(constant, np.eye(4)[::-1]) == [4, 3, 2, 1]


def test_who_is_not_there_is_neither_answer_nor_ahead():
    similarities = [[0.9, 0.8, 0.7, 0.6]]
    assert ranks(similarities, [[0, 0, 1, 0]], [False, True, True, True]) == [2]
    assert ranks(similarities, [[1, 0, 1, 0]], [False, True, True, True]) == [2]


def test_without_an_answer_and_without_numbers_the_rank_is_the_last():
    assert ranks([[1.0, 2.0, 3.0]], [[0, 0, 0]]) == [3]
    assert ranks([[np.nan] * 3], [[1, 0, 0]]) == [3]


# Of few different values, so that equal ones are common.
@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(np.float32, (5, 7), elements=st.integers(-2, 2)),
    hnp.arrays(bool, (5, 7)),
    hnp.arrays(bool, 7),
)
def test_ranks_are_those_of_sorting(similarities, answers, among):
    expected = [plain_rank(*row, among) for row in zip(similarities, answers, strict=True)]
    assert ranks(similarities, answers, among) == expected


def test_recalls_and_the_median_rank():
    assert retrieval_figures(np.array([1, 2, 5, 6, 10, 11, 1, 40])) == {
        "recall1": 25.0,
        "recall5": 50.0,
        "recall10": 75.0,
        "median_rank": 5.5,
        "count": 8,
    }
    with pytest.raises(ValueError, match="no queries"):
        retrieval_figures(np.array([], int))
