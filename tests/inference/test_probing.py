import sys

import numpy as np
import pytest

from mixcon3d_jax.data.pipeline import PipelineConfig, evaluation_sample
from mixcon3d_jax.data.source import open_split
from mixcon3d_jax.errors import InputError
from mixcon3d_jax.extras import MissingExtraError
from mixcon3d_jax.inference.classification import unit_rows
from mixcon3d_jax.inference.probing import (
    LabelledRows,
    check_classes,
    embed_split,
    few_of_each,
    fitted_accuracy,
    probe,
)
from tests.generated import CLASSES, make_dataset


def rows_of(classes, seed=0, spread=0.1):
    """Rows about a corner for each class."""
    corners = np.eye(8)[[sorted(set(classes)).index(name) for name in classes]]
    noise = np.random.default_rng(seed).normal(size=corners.shape)
    return LabelledRows(unit_rows(corners + spread * noise), np.array(classes))


def test_so_many_of_each_class_are_drawn():
    classes = np.array(["a"] * 10 + ["b"] * 3 + ["c"] * 5)
    for shots in (1, 4, 20):
        seen = few_of_each(classes, shots, seed=0)
        counts = [int((classes[seen] == name).sum()) for name in "abc"]
        assert counts == [min(shots, n) for n in (10, 3, 5)]
        assert len(set(seen.tolist())) == len(seen)
    assert few_of_each(classes, 4, 0).tolist() == few_of_each(classes, 4, 0).tolist()
    assert few_of_each(classes, 4, 0).tolist() != few_of_each(classes, 4, 1).tolist()
    assert few_of_each(classes, None, 0).tolist() == list(range(18))


def test_what_is_apart_is_told_apart_and_what_is_not_is_not():
    classes = ["a", "b", "c", "d"] * 20
    train, test = rows_of(classes), rows_of(classes, seed=1)
    found = probe(train, test, [1, None], repeats=3, strength=100.0)
    assert [(one.shots, one.trained_on, len(one.percent)) for one in found] == [
        (1, 4, 3),
        (None, 80, 1),
    ]
    assert found[1].mean == 100.0
    assert found[1].deviation == 0.0
    mixed = LabelledRows(train.rows, np.random.default_rng(0).permutation(train.classes))
    assert fitted_accuracy(mixed, test, 100.0) < 60


def test_mean_and_deviation_are_those_of_the_repeats():
    train, test = rows_of(["a", "b"] * 30, spread=1.0), rows_of(["a", "b"] * 50, 1, spread=1.0)
    (found,) = probe(train, test, [2], repeats=5, strength=1.0)
    single = [
        fitted_accuracy(LabelledRows(train.rows[seen], train.classes[seen]), test, 1.0)
        for seen in (few_of_each(train.classes, 2, seed) for seed in range(5))
    ]
    assert list(found.percent) == single
    assert found.mean == pytest.approx(np.mean(single))
    assert found.deviation == pytest.approx(np.std(single, ddof=1))
    assert found.deviation > 0


def test_classes_without_shapes_to_learn_from_are_left_out():
    train, test = rows_of(["a", "b"] * 3), rows_of(["a", "c", "c"])
    kept, others = check_classes(train, test)
    assert (kept.classes.tolist(), others) == (["a"], 2)
    with pytest.raises(InputError, match="no class in common"):
        check_classes(train, rows_of(["c", "d"]))
    with pytest.raises(InputError, match=r"one class only \(a\)"):
        check_classes(rows_of(["a", "a"]), test)


def test_a_split_is_embedded_as_evaluation_draws_it(model, tmp_path):
    folder = make_dataset(tmp_path / "data", train=1, test=11)
    found = embed_split(model, folder, "test", "point")
    assert found.classes.tolist() == [CLASSES[i % 4] for i in range(11)]
    config = PipelineConfig(model.num_points, None, seed=0)
    sample = evaluation_sample(open_split(folder, "test"), 9, config)
    given = {"points": [sample["points"]], "colors": [sample["colors"]]}
    expected = unit_rows(model.embed_points(**given, up_axis="y", drawn=True))
    np.testing.assert_array_equal(found.rows[9:10], expected)
    with pytest.raises(InputError, match="'generated-clip', the model was trained with 'tiny-cl"):
        embed_split(model, folder, "test", "fused")


def test_fused_examples_take_all_stored_views(model, tmp_path):
    folder = make_dataset(tmp_path / "data", train=1, test=3)
    rng = np.random.default_rng(0)
    views = rng.normal(size=(3, 12, 32)).astype(np.float16)
    stored = open_split(folder, "test")
    source = [{**stored[i], "view_embeddings": views[i]} for i in range(3)]
    found = model.embedder.examples(source, 12, "embedding")
    point = model.embedder.examples(source, 0, "embedding")
    programs = model.embedder.programs
    image = programs.all_rows(programs.views, views.astype(np.float32))
    np.testing.assert_array_equal(found, model.fuse(point, image))


def test_without_scikit_learn_its_extra_is_named(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "sklearn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'mixcon3d-jax\[probe\]'"):
        fitted_accuracy(rows_of(["a", "b"]), rows_of(["a", "b"]), 1.0)
