"""Confusion, accuracies of classes, maps and examples, known by construction."""

import numpy as np
import pytest

from mixcon3d_jax.data.text_ids import text_id
from mixcon3d_jax.evaluation.retrieval import Search
from mixcon3d_jax.metrics import accuracies
from mixcon3d_jax.reporting.class_section import class_accuracies, class_section
from mixcon3d_jax.reporting.confusion import confusion_matrix, most_confused, plane_of
from mixcon3d_jax.reporting.sheets import (
    nearest_shapes,
    right_examples,
    spread,
    text_of,
    wrong_examples,
)

LABELS = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2])
SAID = np.array([0, 1, 1, 1, 0, 2, 2, 2, 0])


def counts_of(labels, said, classes) -> dict[str, np.ndarray]:
    """As `top_k_counts` has them."""
    right = np.bincount(labels[labels == said], minlength=classes).astype(np.float32)
    count = np.bincount(labels, minlength=classes).astype(np.float32)
    return {"top1": right, "top3": count, "top5": count, "count": count}


def test_rows_are_what_shapes_are():
    matrix = confusion_matrix(LABELS, SAID, 4)
    assert matrix.tolist() == [[1, 2, 0, 0], [1, 1, 0, 0], [1, 0, 3, 0], [0, 0, 0, 0]]


def test_the_most_confused_come_first():
    pairs = most_confused(confusion_matrix(LABELS, SAID, 4), 2)
    # One of two is a larger share than one of four.
    assert [tuple(pair) for pair in pairs] == [(0, 1, 2, 3), (1, 0, 1, 2)]


def test_the_classes_sum_up_to_the_figure():
    counts = counts_of(LABELS, SAID, 4)
    found = class_accuracies(counts)
    assert [tuple(each) for each in found] == [(0, 1, 3), (1, 1, 2), (2, 3, 4)]
    whole = 100 * sum(each.right for each in found) / sum(each.of for each in found)
    assert whole == pytest.approx(accuracies(counts)["top1"])
    mean = np.mean([each.percent for each in found])
    assert mean == pytest.approx(accuracies(counts)["class_mean"])


def section(labels, said, classes) -> str:
    names = [f"class <{i}>" for i in range(classes)]
    return class_section(counts_of(labels, said, classes), labels, said, names)


def test_few_classes_have_a_heat_map_of_those_that_matter():
    page = section(LABELS, SAID, 5)
    assert page.count('<td class="own" title=') == 3
    assert "class &lt;0&gt; taken for class &lt;1&gt;: 2 of 3" in page
    assert "class &lt;3&gt;" not in page
    assert "5 of 9" in page
    assert "<0>" not in page


def test_many_classes_have_only_their_most_confused_pairs():
    labels = np.arange(300) % 100
    said = np.where(labels == 7, 8, labels)
    page = section(labels, said, 100)
    assert 'class="confusion"' not in page
    assert "<td>class &lt;7&gt;</td><td>class &lt;8&gt;</td>" in page
    assert "297 of 300" in page
    assert "class &lt;99&gt;" not in page


def test_without_mistakes_that_is_said():
    assert "every shape is taken for what it is" in section(LABELS, LABELS, 4)


def test_the_plane_is_that_of_the_means():
    # Classes differ in the first two of eight coordinates; within them the last varies most.
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 4
    embeddings = rng.normal(size=(400, 8)) * [0.1, 0.1, 0, 0, 0, 0, 0, 30]
    embeddings[:, :2] += 20 * np.array([[0, 0], [0, 1], [1, 0], [1, 1]])[labels]
    embeddings[:, 7] -= np.array([embeddings[labels == k, 7].mean() for k in range(4)])[labels]
    places, share = plane_of(embeddings, labels)
    for label in range(4):
        assert np.ptp(places[labels == label], axis=0).max() < 2
    whole = embeddings.var(axis=0)
    assert share == pytest.approx(whole[:2].sum() / whole.sum(), rel=1e-3)


@pytest.mark.parametrize("labels", [None, np.array([0, 1, 0])])
def test_with_fewer_classes_it_is_that_of_the_shapes(labels):
    places, share = plane_of(np.array([[3.0, 0, 0], [-3.0, 0, 0], [0, 0, 0]]), labels)
    np.testing.assert_allclose(places[:, 0], [3, -3, 0], atol=1e-9)
    assert share == pytest.approx(1)


@pytest.mark.parametrize("shape", [(1, 4), (3, 1), (2, 4)])
def test_few_shapes_have_a_map_too(shape):
    places, share = plane_of(np.ones(shape), None)
    assert places.shape == (shape[0], 2)
    assert share == 0


def test_examples():
    assert right_examples(LABELS, SAID) == [0, 3, 5, 6, 7]
    many = np.repeat(np.arange(50), 2)
    assert [many[i] for i in right_examples(many, many)][::23] == [0, 49]
    assert right_examples(many[:40], many[:40])[:3] == [0, 2, 4]
    lead = np.array([0, 0.1, 0.3, 0, 0.2, 0, 0, 0, 0.3])
    assert wrong_examples(LABELS, SAID, lead) == [2, 8, 4, 1]
    assert right_examples(LABELS, LABELS + 1) == wrong_examples(LABELS, LABELS, lead) == []
    assert spread(range(100), 3) == [0, 50, 99]
    assert spread([4, 5], 3) == [4, 5]


def test_what_a_text_finds():
    own = np.arange(4, dtype=np.int32)[:, None]
    everyone = np.ones(4, bool)
    candidates = np.array([[0.5, 0], [1, 0], [0, 1], [0.5, 0]], np.float32)
    keys = np.array([[0, -1], [1, 0], [2, -1], [3, -1]], np.int32)
    among = np.array([True, True, True, False])
    search = Search(np.eye(2)[[0, 0, 1, 1]], candidates, own, keys, everyone, among)
    order, answers = nearest_shapes(search, 0)
    assert order.tolist() == [1, 0, 2]
    assert answers.tolist() == [True, True, False]


def test_the_text_of_an_embedding():
    rows = np.eye(3, dtype=np.float16)
    example = {
        "id": b"a",
        "texts": [b"one", b"", "zwölf".encode()],
        "text_embeddings": rows,
        "embedding_text": np.array([0, 0, 2], np.uint8),
    }
    found = [text_of(example, text_id(row.astype(np.float32))) for row in rows]
    assert found == ["one", "one", "zwölf"]
    with pytest.raises(ValueError, match="no such text"):
        text_of(example, text_id(np.zeros(3)))
