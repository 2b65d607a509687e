import subprocess
import sys

import jax
import numpy as np
import pytest
from flax import nnx
from ml_collections import ConfigDict
from PIL import Image

import mixcon3d_jax
from mixcon3d_jax.data.fixed_point import encode_points
from mixcon3d_jax.data.pipeline import PipelineConfig, evaluation_sample
from mixcon3d_jax.data.source import open_split
from mixcon3d_jax.errors import InputError, InputWarning
from mixcon3d_jax.evaluation.embeddings import shape_embeddings
from mixcon3d_jax.evaluation.zero_shot import embed_names, name_cosines
from mixcon3d_jax.exchange.runs import make_run
from mixcon3d_jax.inference.classification import classify_among, unit_rows
from mixcon3d_jax.inference.inputs import find_assets
from mixcon3d_jax.models.clip_folder import ClipFolder
from mixcon3d_jax.models.prompts import embed_in_prompts
from mixcon3d_jax.models.variables import model_structure, unflatten_like
from mixcon3d_jax.training.run_config import model_config
from tests.generated import make_dataset
from tests.inference.conftest import initial_snapshot
from tests.inference.shapes import cloud, turned_up, wedge, write_cloud

LABELS = ("ball", "a disc", "tall_rod")


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """The stored test shapes of a data set."""
    folder = make_dataset(tmp_path_factory.mktemp("data") / "data", train=1, test=24)
    return open_split(folder, "test")


@pytest.fixture(scope="module")
def evaluated(model, snapshot):
    """The model as evaluation has it: weights merged, called directly."""
    structure, params, stats = model_structure(model_config(ConfigDict(snapshot.about.config)))
    trees = (unflatten_like(tree, snapshot.ema) for tree in (params, stats))
    return nnx.merge(structure, *trees)


def cosines(one, other):
    return (unit_rows(one) * unit_rows(other)).sum(axis=1)


def test_classes_agree_with_evaluation_object_by_object(model, evaluated, examples, tiny_clip):
    config = PipelineConfig(model.num_points, None, seed=0)
    samples = [evaluation_sample(examples, index, config) for index in range(24)]
    points, colors = ([sample[name] for sample in samples] for name in ("points", "colors"))
    found = model.classify(model.embed_points(points, colors, up_axis="y", drawn=True), LABELS)
    names = embed_in_prompts(ClipFolder.load(tiny_clip), ["ball", "a disc", "tall rod"])
    batch = {"points": np.stack(points), "colors": np.stack(colors)}

    @jax.jit
    def logits(model, batch, names):
        return name_cosines(shape_embeddings(model, batch), embed_names(model, names))["point"]

    expected = np.asarray(logits(evaluated, batch, names))
    np.testing.assert_allclose(found.cosines, expected, atol=1e-5)
    assert found.best == [LABELS[i] for i in expected.argmax(axis=1)]
    logits = np.exp(float(evaluated.logit_scales["point_text"][...])) * expected
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    share = powers / powers.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found.probabilities, share, atol=1e-4)
    ranked = found.ranked(2)[0]
    assert [name for name, _ in ranked] == [LABELS[i] for i in np.argsort(-expected[0])[:2]]


def test_an_embedding_has_the_same_bits_whatever_is_beside_it(model, tmp_path):
    paths = [write_cloud(tmp_path / f"{seed}.npz", seed) for seed in range(11)]
    alone = model.embed_assets(paths[4:5], "y")
    np.testing.assert_array_equal(alone, model.embed_assets(paths[4:5], "y"))
    among = model.embed_assets([*paths, paths[4]], "y")
    np.testing.assert_array_equal(among[[4, -1]], alone[[0, 0]])
    points, colors = cloud(4)
    np.testing.assert_array_equal(model.embed_points([points], [colors], up_axis="y"), alone)
    assert cosines(among[:1], among[1:2]) < 0.9999


def test_worker_processes_change_nothing(model, tmp_path):
    paths = [write_cloud(tmp_path / f"{seed}.npz", seed) for seed in range(3)]
    found = model.embed_files(find_assets(paths, "y"), workers=1)
    np.testing.assert_array_equal(found.embeddings, model.embed_assets(paths, "y"))


@pytest.mark.parametrize("mode", ["point", "fused"])
def test_a_turned_file_has_nearly_the_same_embedding(model, tmp_path, mode):
    wedge().export(tmp_path / "a.glb")
    turned_up(wedge()).export(tmp_path / "b.ply")
    as_it_is = model.embed_assets([tmp_path / "a.glb"], mode=mode)
    turned = model.embed_assets([tmp_path / "b.ply"], "z", mode=mode)
    assert cosines(as_it_is, turned) > 0.999


def test_fused_is_fusion_of_points_and_all_renders(model, evaluated, tmp_path):
    from mixcon3d_jax.assets import load_asset, render_views

    wedge().export(tmp_path / "a.glb")
    point = model.embed_assets([tmp_path / "a.glb"])
    views = render_views(load_asset(tmp_path / "a.glb", "y"), 16)
    image = model.embed_images([views])
    clip = model.embedder.clip.embed_images(list(views))
    np.testing.assert_allclose(image, evaluated.embed_views(clip[None]), atol=1e-5)
    fused = model.embed_assets([tmp_path / "a.glb"], mode="fused")
    np.testing.assert_allclose(fused, model.fuse(point, image), atol=1e-5)
    np.testing.assert_allclose(fused, evaluated.fuse(point, image), atol=1e-4)


def test_images_of_every_kind(model, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    image = Image.fromarray(pixels)
    image.save(tmp_path / "a.png")
    rows = model.embed_images([tmp_path / "a.png", pixels, image, [pixels, image]])
    np.testing.assert_array_equal(rows[1:3], rows[[0, 0]])
    np.testing.assert_allclose(rows[3], rows[0], atol=1e-5)  # the mean of two equal ones
    (tmp_path / "bad.png").write_text("no image")
    for bad, message in (
        (tmp_path / "bad.png", r"bad\.png is no image that can be read"),
        (tmp_path / "gone.png", r"gone\.png can't be read \(No such file"),
        (pixels[..., 0], r"image 0: an array of shape \(16, 16\)"),
        ([], "image 0: an empty list of views"),
    ):
        with pytest.raises(InputError, match=message):
            model.embed_images([bad])


def test_texts_are_projected_and_long_ones_cut_with_a_warning(model, evaluated, tiny_clip):
    clip = ClipFolder.load(tiny_clip)
    expected = evaluated.embed_text(clip.embed_texts(["a red chair"]))
    np.testing.assert_allclose(model.embed_text(["a red chair"]), expected, atol=1e-5)
    long = "chair " * 1666 + "red "
    with pytest.warns(InputWarning, match=r"of 10,000 characters is longer than the CLIP reads"):
        (row,) = model.embed_text(long)
    assert np.isfinite(row).all()


def test_clouds_are_taken_in_any_form(model):
    points, colors = cloud(0)
    rows = model.embed_points(
        [points, 10 * points + 3, points.astype(np.float64)],
        [colors, colors / 255, colors.astype(int)],
        up_axis="y",
    )
    assert (cosines(rows, rows[[0, 0, 0]]) > 0.99999).all()
    z_up = points[:, [0, 2, 1]] * np.float32([1, -1, 1])  # (x, y, z) -> (x, -z, y)
    (turned,) = model.embed_points([z_up], [colors], up_axis="z")
    np.testing.assert_array_equal(turned, rows[0])
    (grey,) = model.embed_points([points], up_axis="y")
    assert cosines(grey[None], rows[:1]) < 0.99999


def test_drawn_points_are_taken_as_they_are(model):
    points, colors = cloud(0, model.num_points)
    fixed = encode_points(points)[0]
    drawn = model.embed_points([points, fixed], [colors] * 2, up_axis="y", drawn=True)
    np.testing.assert_array_equal(drawn[0], drawn[1])
    (mixed,) = model.embed_points([points], [colors], up_axis="y")
    assert (mixed != drawn[0]).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"up_axis": None}, "nothing in a point cloud says which axis points up"),
        ({"up_axis": "x"}, "cloud 0: say up_axis='y' or up_axis='z'"),
        ({"points": [np.ones((5, 2))]}, r"cloud 0: points of shape \(5, 2\)"),
        ({"points": [np.full((5, 3), np.nan)]}, "cloud 0: points are NaN or infinite"),
        ({"points": [np.ones((5, 3))]}, "all its points are in one place"),
        ({"points": []}, "no clouds were given"),
        ({"colors": [np.ones((4, 3))]}, r"cloud 0: colours of shape \(4, 3\)"),
        ({"colors": [np.full((5, 3), 300)]}, "cloud 0: colours must be 0..255"),
        ({"colors": []}, "1 clouds, but 0 arrays of colours"),
        ({"drawn": True}, r"cloud 0: drawn points of shape \(5, 3\); give \(128, 3\)"),
    ],
)
def test_clouds_that_cannot_be_used(model, change, message):
    given = {"points": [cloud(0, 5)[0]], "colors": None, "up_axis": "y"} | change
    with pytest.raises(InputError, match=message):
        model.embed_points(**given)


def test_what_else_is_refused(model, tmp_path):
    shapes = np.ones((2, 32), np.float32)
    for labels in ((), ("",), ("chair", " ")):
        with pytest.raises(InputError, match="among the labels is empty"):
            model.classify(shapes, labels)
    with pytest.raises(InputError, match="'chair' is the only label"):
        model.classify(shapes, ["chair"])
    with pytest.raises(InputError, match=r"embeddings of shape \(2, 5\); give \(rows, 32\)"):
        model.classify(shapes[:, :5], LABELS)
    with pytest.raises(InputError, match="mode 'sum': say one of point, image, fused"):
        model.classify(shapes, LABELS, mode="sum")
    with pytest.raises(InputError, match="mode 'image': say 'point' or 'fused'"):
        model.embed_assets(["a.glb"], mode="image")
    with pytest.raises(InputError, match="2 rows of points, but 1 of images"):
        model.fuse(shapes, shapes[:1])
    with pytest.raises(InputError, match=r"a\.glb: no such file"):
        model.embed_assets([tmp_path / "a.glb"])


def test_a_broken_file_is_left_out_and_named(model, tmp_path):
    paths = [write_cloud(tmp_path / f"{seed}.npz", seed) for seed in range(2)]
    (tmp_path / "broken.ply").write_text("ply")
    found = model.embed_files(find_assets([paths[0], tmp_path / "broken.ply", paths[1]], "y"))
    assert [file.path for file in found.files] == paths
    ((file, reason),) = found.failures
    assert file.path.name == "broken.ply"
    assert "broken.ply" in reason
    np.testing.assert_array_equal(found.embeddings, model.embed_assets(paths, "y"))
    with pytest.raises(InputError, match=r"broken\.ply"):
        model.embed_assets([paths[0], tmp_path / "broken.ply"], "y")


def test_another_clip_than_the_models_is_refused(model, workdir, tiny_clip):
    def clip_with(**choice):
        weights = model.weights
        other = mixcon3d_jax.load(workdir, **choice)
        assert other.weights.fingerprint == weights.fingerprint
        return other.embedder.clip

    with pytest.raises(InputError, match=r"'tiny-clip', .* 32 .* small \('mixcon3d-jax/small-clip"):
        clip_with(clip="small")
    with pytest.raises(InputError, match=r"but .* is 'another'"):
        clip_with(clip=str(tiny_clip), clip_id="another")
    with pytest.raises(InputError, match=r"'tiny-clip', which can't be opened: .*--clip=FOLDER"):
        clip_with()


def test_a_model_without_fusion_embeds_points_alone(tmp_path, model, tiny_clip):
    snapshot = initial_snapshot(missing=("fusion",))
    make_run(tmp_path / "run", snapshot)
    lacking = mixcon3d_jax.load(tmp_path / "run", clip=str(tiny_clip), batch_size=8)
    points, colors = cloud(0)
    given = {"points": [points], "colors": [colors], "up_axis": "y"}
    np.testing.assert_array_equal(lacking.embed_points(**given), model.embed_points(**given))
    assert (lacking.modes, model.modes) == (("point",), ("point", "fused"))
    with pytest.raises(InputError, match="has no trained fusion, which this needs"):
        lacking.fuse(np.ones((1, 32)), np.ones((1, 32)))


def test_equal_names_keep_their_order():
    rows = np.eye(3, dtype=np.float32)
    found = classify_among(("a", "b", "c"), rows[:1], rows[[1, 0, 0]], 10.0)
    assert [name for name, _ in found.ranked()[0]] == ["b", "c", "a"]
    assert found.probabilities.sum() == pytest.approx(1)


def test_importing_the_package_imports_nothing_heavy():
    program = """
import sys, mixcon3d_jax
assert not {"jax", "numpy", "flax"} & set(sys.modules)
import jax
mixcon3d_jax.load
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 3)
assert len(jax.devices()) == 3
try:
    mixcon3d_jax.no_such
except AttributeError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "module 'mixcon3d_jax' has no attribute 'no_such'\n"
