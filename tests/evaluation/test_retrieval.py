"""Ranks that are known by construction, on any batch size, mesh and number of processes."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mixcon3d_jax.data.sampling import ViewPolicy
from mixcon3d_jax.data.schema import DatasetCard, Text
from mixcon3d_jax.data.writer import write_dataset
from mixcon3d_jax.evaluation.benchmark import open_benchmark
from mixcon3d_jax.evaluation.one_pass import evaluate
from mixcon3d_jax.evaluation.retrieval import Search, other_views, ranks
from mixcon3d_jax.evaluation.run import Evaluator
from mixcon3d_jax.evaluation.saved import restore_state
from mixcon3d_jax.exchange.runs import make_run
from mixcon3d_jax.models.variables import split_module
from mixcon3d_jax.sharding import make_mesh
from mixcon3d_jax.training.run_config import RETRIEVAL_MODES
from tests import generated
from tests.evaluation.test_zero_shot import CLASSES, SHAPES, SPREAD, ReadsAnswers, make_benchmark
from tests.exchange.checkpoints import config_of, random_snapshot
from tests.processes import run
from tests.test_metrics import plain_rank

NUMBER, SIZE = 21, 3


def mesh_of(devices: int):
    return make_mesh(1, devices, 1, jax.devices()[:devices])


def said_right(i: int) -> tuple[int, int, int]:
    return i, i, i


def with_texts(benchmark, texts):
    """`texts(i)`: what the texts of shape i say, of which the first is drawn."""
    examples = []
    for index, example in enumerate(benchmark.source):
        said = [answer % CLASSES for answer in texts(index)]
        rows = np.eye(CLASSES, dtype=np.float16)[said].reshape(-1, CLASSES)
        examples.append(
            example
            | {
                # Of Objaverse's texts only the first is ever drawn.
                "dataset": b"Objaverse",
                "gpt4_flag": b"",
                "texts": [b"text"] * len(said),
                "text_sources": np.zeros(len(said), np.uint8),
                "text_embeddings": rows,
                "embedding_text": np.arange(len(said), dtype=np.uint8),
                "embedding_kind": np.zeros(len(said), np.uint8),
            }
        )
    return dataclasses.replace(benchmark, source=examples, retrieval=True)


def figures(benchmark, batch=8, devices=1, pipeline=SPREAD, offset=0) -> dict[str, dict]:
    """Of retrieval alone: mode -> metric -> figure."""
    structure, *weights = split_module(ReadsAnswers(offset))
    mesh = mesh_of(devices)
    found = evaluate(benchmark, {"raw": tuple(weights)}, structure, pipeline, batch, mesh)
    modes: dict[str, dict] = {}
    for key, figure in found.items():
        _, _, mode, metric = key.split("/")
        if mode in RETRIEVAL_MODES:
            modes.setdefault(mode, {})[metric] = figure
    return modes


@pytest.fixture(scope="module")
def all_right():
    """Three shapes of each of 8 kinds, whose texts, points and views say the kind."""
    return figures(with_texts(make_benchmark(said_right), lambda i: [i]))


def test_every_direction_is_measured(all_right):
    # No view differs from the first, so that none is left for the shape that is asked for by it.
    assert set(all_right) == set(RETRIEVAL_MODES) - {"image_to_fused_multiview"}
    varied = make_benchmark(lambda i: (i, i, i + 1))
    assert set(figures(with_texts(varied, lambda i: [i]))) == set(RETRIEVAL_MODES)


def test_a_text_of_several_shapes_is_asked_once_and_answered_by_any_of_them(all_right):
    assert all_right["text_to_point"] == {
        "recall1": 100.0,
        "recall5": 100.0,
        "recall10": 100.0,
        "median_rank": 1.0,
        "count": CLASSES,
    }


def test_a_text_of_several_shapes_is_one_candidate(all_right):
    assert all_right["point_to_text"]["count"] == SHAPES
    assert all_right["point_to_text"]["recall1"] == 100
    # Fusion turns what views say to the kind after it: its text is first, then the one behind it,
    # then all others, which are at the same distance, in order.
    fused = all_right["fused_to_text"]
    assert fused["recall1"] == 0
    assert fused["recall5"] == 100 * 3 / 8  # ranks 3, 4, 5, 6, 7, 8, 8, 8
    assert fused["median_rank"] == 6.5


def test_a_picture_is_answered_by_its_own_shape_alone(all_right):
    # Three shapes are at the same distance, and come in the order of the data set.
    found = all_right["image_to_point"]
    assert (found["recall1"], found["recall5"]) == (pytest.approx(100 / 3), 100)
    assert (found["median_rank"], found["count"]) == (2, SHAPES)


def test_wrong_points_are_found_by_no_text_of_theirs():
    # Points of even kinds say the kind behind the next one, which is another even one.
    def said(i):
        return i + 2 * (i % 2 == 0), i, i

    found = figures(with_texts(make_benchmark(said), lambda i: [i]))
    # Odd kinds come first; an even one's six nearest say other things, or the kind before it.
    assert found["text_to_point"]["recall1"] == 50
    assert found["point_to_text"]["recall1"] == 50


def test_a_shape_answers_all_its_texts():
    # Drawn are the texts of the kinds after those that points say; the other text is right.
    found = figures(with_texts(make_benchmark(said_right), lambda i: [i + 3, i]))
    assert found["text_to_point"]["recall1"] == found["point_to_text"]["recall1"] == 100
    alone = figures(with_texts(make_benchmark(said_right), lambda i: [i + 3]))
    assert alone["text_to_point"]["recall1"] == alone["point_to_text"]["recall1"] == 0


def test_shapes_without_text_are_candidates_and_ask_for_none():
    # Only the last three have a text; those before them say the same by their points.
    found = figures(with_texts(make_benchmark(said_right), lambda i: [i] if i >= 21 else []))
    assert found["text_to_point"] == {
        "recall1": 0.0,
        "recall5": 100.0,
        "recall10": 100.0,
        "median_rank": 3.0,
        "count": 3,
    }
    assert found["point_to_text"]["count"] == 3
    assert found["image_to_point"]["count"] == SHAPES


def test_without_texts_and_views_there_are_no_such_directions():
    varied = make_benchmark(lambda i: (i, i, i + 1))
    none = figures(with_texts(varied, lambda i: []))
    assert set(none) == {"image_to_point", "image_to_fused_multiview"}
    pointed = dataclasses.replace(with_texts(varied, lambda i: [i]), has_views=False)
    assert set(figures(pointed)) == {"text_to_point", "point_to_text"}
    single = dataclasses.replace(SPREAD, views=ViewPolicy(1, "spread"))
    found = figures(with_texts(varied, lambda i: []), pipeline=single)
    assert set(found) == {"image_to_point"}


@pytest.mark.parametrize(("batch", "devices"), [(7, 1), (32, 8)])
def test_padding_and_devices_do_not_matter(batch, devices):
    def said(i):
        return i + 3 * (i % 4 == 0), i + (i % 3), i

    random = dataclasses.replace(SPREAD, views=ViewPolicy(2))
    benchmark = with_texts(make_benchmark(said), lambda i: [i, i + 1] if i % 5 else [])
    expected = figures(benchmark, batch=24, pipeline=random)
    assert figures(benchmark, batch, devices, random) == expected


def test_a_picture_is_never_among_the_views_that_are_fused():
    views = jnp.asarray([[[1], [1], [2], [1]], [[3], [4], [5], [6]], [[7], [7], [7], [7]]])
    others, has_others = other_views(views)
    assert others[:2, :, 0].tolist() == [[2, 2, 2], [4, 5, 6]]
    assert has_others.tolist() == [True, True, False]


@pytest.fixture(scope="module")
def generated_data(tmp_path_factory):
    return generated.make_dataset(tmp_path_factory.mktemp("retrieval") / "data", train=1, test=24)


keys = st.integers(-2, 3)


# Small whole numbers: every similarity is exact, and equal ones are common.
@settings(max_examples=40, deadline=None)
@given(
    *(hnp.arrays(np.float32, (NUMBER, SIZE), elements=st.integers(-2, 2)) for _ in range(2)),
    hnp.arrays(np.int32, (NUMBER, 1), elements=keys),
    hnp.arrays(np.int32, (NUMBER, 2), elements=keys),
    hnp.arrays(bool, NUMBER),
)
def test_ranks_are_those_of_sorting_on_one_device_and_on_eight(
    queries, candidates, query_keys, candidate_keys, among
):
    query_keys = np.where(query_keys < 0, -2, query_keys)
    candidate_keys = np.where(candidate_keys < 0, -1, candidate_keys)
    asked = np.ones(NUMBER, bool)
    search = Search(queries, candidates, query_keys, candidate_keys, asked, among)
    answers = (query_keys[:, None, :] == candidate_keys[None]).any(axis=2)
    similarities = queries @ candidates.T
    expected = [plain_rank(*row, among) for row in zip(similarities, answers, strict=True)]
    for devices in (1, 8):
        assert ranks(search, mesh_of(devices)).tolist() == expected


def test_random_vectors_have_the_same_ranks_on_any_mesh():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(2, 300, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    vectors[:, 150:200] = vectors[:, 100:150]  # so that there are equal ones
    own, all_of_them = np.arange(300, dtype=np.int32)[:, None], np.ones(300, bool)
    search = Search(vectors[0], vectors[1], own, own, all_of_them, all_of_them)
    one, eight = (ranks(search, mesh_of(devices)) for devices in (1, 8))
    np.testing.assert_array_equal(one, eight)
    assert 100 < np.median(one) < 200


def test_a_data_set_without_classes_is_measured_by_retrieval_alone(tmp_path, capsys):
    card = DatasetCard("generated", generated.CLIP_ID, 16, 200, 12)
    records = [
        dataclasses.replace(
            generated.make_record(i, "test"),
            texts=(Text(f"number {i}", "text", np.eye(16)[i]),),
        )
        for i in range(6)
    ]
    write_dataset(tmp_path / "data", card, {"test": records})
    found = open_benchmark(
        "bench", tmp_path / "data", "test", "all", generated.CLIP_ID, 16, retrieval=True
    )
    assert (found.classes, found.class_embeddings.shape) == ((), (0, 16))
    config = generated.small_config(tmp_path / "data")
    config.eval.retrieval = "held_out"
    workdir = tmp_path / "run"
    make_run(workdir, random_snapshot(config))
    state = restore_state(config, workdir, mesh_of(4))
    figures = Evaluator(config, workdir, mesh_of(4))(*state)
    printed = capsys.readouterr().out
    assert "held_out: shapes have no classes, so retrieval alone is measured" in printed
    assert "held_out, retrieval" in printed
    assert {key.split("/")[2] for key in figures} == set(RETRIEVAL_MODES)
    assert figures["ema/held_out/text_to_point/count"] == 6


def test_two_processes_find_what_one_does(tmp_path, generated_data):
    config = config_of()
    config.data.root = str(generated_data)
    config.eval.retrieval = "all"
    make_run(tmp_path / "run", random_snapshot(config))
    mesh = make_mesh(1, 4, 1, jax.devices()[:4])
    expected = Evaluator(config, tmp_path / "one", mesh)(
        *restore_state(config, tmp_path / "run", mesh)
    )
    with run(
        None,
        tmp_path / "run",
        count=2,
        logs=tmp_path / "logs",
        module="mixcon3d_jax.evaluate",
    ) as two:
        assert two.wait() == [0, 0], two.logs()
    [path] = (tmp_path / "run" / "eval").glob("*.json")
    assert json.loads(path.read_text()) == expected
    assert "held_out, retrieval" in two.log()
    assert "held_out, retrieval" not in two.log(1)
