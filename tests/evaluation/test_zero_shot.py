"""Zero-shot figures that are known by construction, on any batch size and mesh."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mixcon3d_jax.data.pipeline import PipelineConfig, evaluation_batches
from mixcon3d_jax.data.sampling import ViewPolicy
from mixcon3d_jax.data.schema import Record, encode_record
from mixcon3d_jax.evaluation.benchmark import Benchmark, open_benchmark
from mixcon3d_jax.evaluation.embeddings import shape_embeddings
from mixcon3d_jax.evaluation.one_pass import Tasks, evaluate, run_pass
from mixcon3d_jax.evaluation.zero_shot import embed_names, name_cosines
from mixcon3d_jax.models.mixcon3d import MixCon3D, MixCon3DConfig
from mixcon3d_jax.models.pointbert import PointBERTConfig
from mixcon3d_jax.models.variables import split_module
from mixcon3d_jax.sharding import batch_sharding, make_mesh
from mixcon3d_jax.training.run_config import EVALUATION_MODES
from tests import generated

CLASSES = 8
SHAPES = 24
MODES = ("point", "image", "image_multiview", "fused", "fused_multiview", "sum")
SPREAD = PipelineConfig(num_points=16, views=ViewPolicy(4, "spread"), seed=0)


class ReadsAnswers(nnx.Module):
    """Says what the record says: points by their colour, views as they are, texts as they are.

    Points are only nearly sure: their class has a cosine of 2 / sqrt(5), the one after it half of
    that.  The fusion turns what views say to the class after it.  `offset` shifts what points say.
    """

    def __init__(self, offset: int):
        self.offset = nnx.Param(jnp.int32(offset))
        self.unused = nnx.BatchStat(jnp.zeros(()))

    def embed_points(self, points, colors):
        said = jnp.rint(colors[:, :, 0].mean(axis=1) * 255).astype(jnp.int32)
        sure = jax.nn.one_hot((said + self.offset[...]) % CLASSES, CLASSES)
        return 2.0 * sure + jnp.roll(sure, 1, axis=-1)

    def embed_views(self, views):
        return views.astype(jnp.float32).mean(axis=1)

    def embed_text(self, texts):
        return 5.0 * texts

    def fuse(self, point, image):
        return jnp.roll(image + 0.1 * point, 1, axis=-1)


def make_benchmark(said) -> Benchmark:
    """`said(i)`: what points, first view and the other views of shape i say; its class is i % 8."""
    examples = []
    for index in range(SHAPES):
        point, first, others = (answer % CLASSES for answer in said(index))
        views = np.eye(CLASSES)[[first] + [others] * 11]
        record = Record(
            id=str(index),
            dataset="made",
            class_name=str(index % CLASSES),
            points=np.random.default_rng(index).normal(size=(20, 3)).astype(np.float32),
            colors=np.full((20, 3), point, np.uint8),
            view_embeddings=views,
            thumbnail_embedding=np.zeros((0, CLASSES)),
            texts=(),
        )
        examples.append(encode_record(record, CLASSES))
    labels = np.arange(SHAPES, dtype=np.int32) % CLASSES
    names = tuple(map(str, range(CLASSES)))
    return Benchmark("made", examples, labels, names, np.eye(CLASSES, dtype=np.float32))


def wrong_where(condition: bool) -> int:
    return 3 * condition


def mixed_answers(i: int) -> tuple[int, int, int]:
    """Points are right for 3 of 4 shapes, first views for 1 of 2, the other views for 1 of 3.

    Fusion adds 1: fused is right where the views say the class before.
    """
    return (
        i + wrong_where(i % 4 == 0),
        i + (0 if i < 12 else -1),
        i + (0 if i % 3 == 0 else -1 if i % 3 == 1 else 2),
    )


def run(benchmark, offset=0, batch=8, devices=1, pipeline=SPREAD):
    mesh = make_mesh(1, devices, 1, jax.devices()[:devices])
    structure, *right = split_module(ReadsAnswers(offset))
    _, *shifted = split_module(ReadsAnswers(offset + 1))
    weights = {"raw": tuple(right), "ema": tuple(shifted)}
    return evaluate(benchmark, weights, structure, pipeline, batch, mesh)


def test_each_mode_reads_its_own_embeddings():
    found = run(make_benchmark(mixed_answers))
    top1 = {mode: found[f"raw/made/{mode}/top1"] for mode in MODES}
    assert top1 == pytest.approx(
        {
            "point": 75.0,
            "image": 50.0,
            "image_multiview": 100 / 3,
            "fused": 50.0,
            "fused_multiview": 100 / 3,
            # The first view agrees with the points and is right for 9 shapes.  Elsewhere the other
            # views decide, and are right for 5: 0, 12, 15, 18, 21.
            "sum": 100 * 14 / 24,
        }
    )


def test_predictions_are_those_of_the_logits():
    benchmark = make_benchmark(mixed_answers)
    structure, *weights = split_module(ReadsAnswers(0))
    mesh = make_mesh(1, 2, 1, jax.devices()[:2])
    where = batch_sharding(mesh)
    [found] = run_pass(
        benchmark, {"raw": tuple(weights)}, structure, SPREAD, 10, mesh, (), Tasks(predictions=True)
    ).values()
    [batch] = evaluation_batches(benchmark.source, benchmark.labels, SPREAD, SHAPES, where)

    @jax.jit
    def logits_of(batch):
        model = nnx.merge(structure, *weights)
        names = embed_names(model, jnp.asarray(benchmark.class_embeddings))
        return name_cosines(shape_embeddings(model, batch), names)

    for mode, logits in logits_of(batch).items():
        said = found.rows["predictions"][mode]
        order = np.argsort(-np.asarray(logits), axis=1, kind="stable")
        np.testing.assert_array_equal(said["classes"], order[:, :5])
        right = said["classes"][:, 0] == benchmark.labels
        assert right.sum() == found.counts[mode]["top1"].sum()
        assert ((said["lead"] > 0) <= ~right).all()


def test_sum_is_the_sum_of_both_cosines():
    # Cosines: points 0.894; three views of four 0.949, one 0.316.  Points and one view outdo three.
    found = run(make_benchmark(lambda i: (i, i, i + 3)))
    assert found["raw/made/sum/top1"] == found["raw/made/point/top1"] == 100
    assert found["raw/made/image_multiview/top1"] == 0
    # Points alone do not, but come second.
    found = run(make_benchmark(lambda i: (i, i + 5, i + 3)))
    assert found["raw/made/sum/top1"] == 0
    assert found["raw/made/sum/top3"] == 100


def test_each_set_of_weights_has_its_own_figures():
    found = run(make_benchmark(mixed_answers))
    # With an offset of 1 what the points say is wrong everywhere: 3 + 1 and 0 + 1 classes off.
    assert found["ema/made/point/top1"] == 0
    assert found["ema/made/image/top1"] == found["raw/made/image/top1"]
    expected = {
        f"{which}/made/{mode}/{metric}"
        for which in ("raw", "ema")
        for mode in MODES
        for metric in ("top1", "top3", "top5", "class_mean", "count")
    }
    assert found.keys() == expected
    assert {found[key] for key in expected if key.endswith("count")} == {SHAPES}


def test_class_means():
    # Class 0 is never right, the others always: shapes and classes are balanced, so drop some.
    benchmark = make_benchmark(lambda i: (i + wrong_where(i % CLASSES == 0), i, i))
    kept = [i for i in range(SHAPES) if i % CLASSES == 0 or i in (1, 2)]
    benchmark = dataclasses.replace(
        benchmark, source=[benchmark.source[i] for i in kept], labels=benchmark.labels[kept]
    )
    found = run(benchmark)
    assert found["raw/made/point/count"] == 5
    assert found["raw/made/point/top1"] == pytest.approx(100 * 2 / 5)
    assert found["raw/made/point/class_mean"] == pytest.approx(100 * 2 / 3)


@pytest.mark.parametrize(("batch", "devices"), [(1, 1), (7, 1), (20, 4), (32, 4)])
def test_batch_size_and_devices_do_not_matter(batch, devices):
    random = dataclasses.replace(SPREAD, views=ViewPolicy(2))
    benchmark = make_benchmark(mixed_answers)
    expected = run(benchmark, pipeline=random)
    assert run(benchmark, batch=batch, devices=devices, pipeline=random) == expected


@pytest.fixture(scope="module")
def generated_benchmark(tmp_path_factory):
    directory = generated.make_dataset(tmp_path_factory.mktemp("data"), train=1, test=24)
    return open_benchmark("held_out", directory, "test", "all", generated.CLIP_ID, 16)


def rigged_model(generated_benchmark):
    """Weights with which points always say `rod`, views speak for themselves, fusion hears views.

    The other set's fusion hears points.
    """
    encoder = PointBERTConfig(16, 1, 1, 16, 8, 4, 0.5, 8)
    model = MixCon3D(MixCon3DConfig(encoder, 16), rngs=nnx.Rngs(0))
    structure, params, stats = split_module(model)
    eye, nothing = jnp.eye(16), jnp.zeros((16, 16))
    rod = jnp.asarray(generated_benchmark.class_embeddings[2])
    proj = params["encoder"]["proj"]
    proj |= {"kernel": jnp.zeros_like(proj["kernel"]), "bias": rod}
    params["text_proj"] |= {"kernel": eye, "bias": jnp.zeros(16)}

    def hears(point, image):
        fusion = {"kernel": jnp.concatenate([point, image]), "bias": jnp.zeros(16)}
        return params | {"fusion": params["fusion"] | fusion}, stats

    return structure, {"views": hears(nothing, eye), "points": hears(eye, nothing)}


def test_the_modes_that_a_config_may_name_are_those_that_there_are():
    assert set(EVALUATION_MODES) == set(MODES)


def test_the_model_with_rigged_weights(generated_benchmark):
    structure, weights = rigged_model(generated_benchmark)
    pipeline = PipelineConfig(128, ViewPolicy(4), seed=0)
    found = {
        devices: evaluate(
            generated_benchmark,
            weights,
            structure,
            pipeline,
            batch,
            make_mesh(1, 1, devices, jax.devices()[:devices]),
        )
        for devices, batch in ((1, 10), (4, 16))
    }
    assert found[1] == found[4]
    for which, fused in (("views", 100), ("points", 25)):
        for mode, top1 in {
            "point": 25,
            "image": 100,
            "image_multiview": 100,
            "fused": fused,
            "fused_multiview": fused,
        }.items():
            assert found[1][f"{which}/held_out/{mode}/top1"] == top1
            assert found[1][f"{which}/held_out/{mode}/class_mean"] == top1
            assert found[1][f"{which}/held_out/{mode}/count"] == 24


@pytest.mark.parametrize(
    ("has_views", "missing", "modes"),
    [
        (False, (), {"point"}),
        (True, ("fusion",), {"point", "image", "image_multiview", "sum"}),
        (True, ("multi_view_proj",), {"point"}),
    ],
)
def test_modes_without_what_they_need_are_left_out(generated_benchmark, has_views, missing, modes):
    structure, weights = rigged_model(generated_benchmark)
    source = list(generated_benchmark.source)
    if not has_views:
        source = [
            {k: v for k, v in example.items() if k != "view_embeddings"} for example in source
        ]
    benchmark = dataclasses.replace(generated_benchmark, source=source, has_views=has_views)
    mesh = make_mesh(1, 1, 1, jax.devices()[:1])
    pipeline = PipelineConfig(128, ViewPolicy(4), seed=0)
    found = evaluate(benchmark, weights, structure, pipeline, 10, mesh, missing)
    assert {key.split("/")[2] for key in found} == modes
    assert modes <= set(EVALUATION_MODES)
    assert found["views/held_out/point/top1"] == 25
