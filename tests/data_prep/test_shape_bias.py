"""Nothing but shape tells the class: the baselines, on rigged data and on the built-in set."""

import json

import numpy as np
import pytest

from data_prep import shape_bias, synthetic
from data_prep.shape_bias import (
    ShapeBiasError,
    bounding_box,
    colour_histogram,
    measure,
    nearest_centroid_accuracy,
)
from mixcon3d_jax.assets.manifest import ManifestError


def test_histogram_counts_cells():
    colors = np.array([[0, 0, 0], [63, 63, 63], [255, 255, 255], [64, 0, 0]], np.uint8)
    histogram = colour_histogram(colors)
    assert histogram.shape == (64,)
    assert histogram[[0, 63, 16]].tolist() == [0.5, 0.25, 0.25]


def test_bounding_box_ignores_position_and_scale():
    points = np.random.default_rng(0).uniform(-1, 1, (500, 3)) * (1, 2, 3)
    box = bounding_box(points)
    assert (np.diff(box) > 0).all()
    np.testing.assert_allclose(bounding_box(7 * points + (4, 5, 6)), box)


def test_nearest_centroid_by_hand():
    train = np.array([[0.0], [2.0], [10.0], [12.0]])
    test = np.array([[3.0], [7.0], [9.0], [5.0]])
    accuracy = nearest_centroid_accuracy(train, ["a", "a", "b", "b"], test, ["a", "a", "b", "a"])
    assert accuracy == 75.0


def test_colours_and_boxes_of_the_built_in_set_tell_little(tmp_path, capsys):
    synthetic.main(
        [
            f"--output={tmp_path}",
            "--train-per-class=15",
            "--seen-per-class=8",
            "--unseen-per-class=0",
            "--seed=3",
        ]
    )
    shape_bias.main([f"--data={tmp_path}", "--num-points=500"])
    printed = capsys.readouterr().out
    figures = measure(tmp_path, num_points=500)
    assert figures["chance"] == pytest.approx(100 / 30)
    assert figures["colours"] < 15
    assert figures["boxes"] < 40
    for key in ("colours", "boxes", "chance"):
        assert f"{figures[key]:.1f}" in printed


def test_a_missing_manifest_is_an_error(tmp_path):
    with pytest.raises(ManifestError, match=r"manifest\.json"):
        measure(tmp_path)


def test_a_missing_split_is_an_error(tmp_path):
    entries = [{"path": "a.glb", "class": "key", "text": "a key", "split": "train"}]
    (tmp_path / "manifest.json").write_text(json.dumps(entries))
    with pytest.raises(ShapeBiasError, match="'seen'"):
        measure(tmp_path)
