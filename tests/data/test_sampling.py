"""Each sampling rule's distribution, from seeded generators and records whose answers are known.

Frequencies may differ from their expectation by five standard deviations: a right rule fails once
in a million seeds, and the seeds are fixed.
"""

import numpy as np
import pytest

from mixcon3d_jax.data.sampling import (
    ViewPolicy,
    draw_sample,
    random_order,
    sample_points,
    sample_text,
    sample_views,
)
from mixcon3d_jax.data.schema import Record, Text, encode_record

SIZE = 2
DRAWS = 4000


def make_example(points=None, texts=(), thumbnail=True):
    """Point i has red i; view i is (i, 0); the thumbnail is (-1, 0)."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(10, 3)) if points is None else np.asarray(points)
    colors = np.zeros(points.shape, np.uint8)
    colors[:, 0] = np.arange(len(points))
    views = np.stack([np.arange(12), np.zeros(12)], axis=1)
    record = Record(
        id="a",
        dataset="made",
        class_name="",
        points=points.astype(np.float32),
        colors=colors,
        view_embeddings=views,
        thumbnail_embedding=np.array([[-1, 0]] if thumbnail else np.zeros((0, SIZE))),
        texts=tuple(texts),
    )
    return encode_record(record, SIZE)


def indices(colors) -> np.ndarray:
    """Which points were drawn: their red says it."""
    return colors[:, 0].astype(int)


def assert_frequencies(draws, expected: dict):
    """Each value comes with its expected probability, and no other value comes."""
    values, counts = np.unique(draws, return_counts=True)
    assert set(values.tolist()) == {value for value, p in expected.items() if p}
    for value, count in zip(values.tolist(), counts, strict=True):
        p = expected[value]
        deviation = np.sqrt(p * (1 - p) * len(draws))
        assert abs(count - p * len(draws)) <= 5 * deviation, (value, count / len(draws), p)


def uniform(count: int) -> dict:
    return dict.fromkeys(range(count), 1 / count)


@pytest.mark.parametrize("num_points", [1, 6, 10])
def test_points_are_distinct_and_in_random_order(num_points):
    example, rng = make_example(), np.random.default_rng(1)
    drawn = np.stack([indices(sample_points(example, num_points, rng)[1]) for _ in range(DRAWS)])
    assert drawn.shape == (DRAWS, num_points)
    assert all(len(set(row)) == num_points for row in drawn.tolist())
    for place in {0, num_points // 2, num_points - 1}:
        assert_frequencies(drawn[:, place], uniform(10))


def test_points_repeat_where_there_are_too_few():
    example, rng = make_example(), np.random.default_rng(2)
    drawn = np.stack([indices(sample_points(example, 11, rng)[1]) for _ in range(DRAWS)])
    assert drawn.shape == (DRAWS, 11)
    # With replacement: a draw without the other nine-tenths of the points is possible.
    for place in (0, 5, 10):
        assert_frequencies(drawn[:, place], uniform(10))
    assert_frequencies(drawn[:, 0] == drawn[:, 10], {True: 0.1, False: 0.9})


def test_colors_stay_with_their_points():
    example = make_example()
    points, colors = sample_points(example, 8, np.random.default_rng(3))
    assert (points.dtype, colors.dtype) == (np.uint16, np.uint8)
    np.testing.assert_array_equal(points, example["points"][indices(colors)])


@pytest.mark.parametrize("count", [1, 2, 10_000, 65_535])
def test_a_random_order_has_every_number_once(count):
    for rng in (np.random.default_rng(0), np.random.Generator(np.random.Philox(0))):
        order = random_order(count, rng)
        np.testing.assert_array_equal(np.sort(order), np.arange(count))
        if count > 2:
            assert not np.array_equal(order, random_order(count, rng))


def test_every_order_is_equally_likely():
    rng = np.random.default_rng(6)
    draws = [int("".join(map(str, random_order(3, rng)))) for _ in range(DRAWS)]
    assert_frequencies(draws, dict.fromkeys((12, 21, 102, 120, 201, 210), 1 / 6))


def test_records_of_more_points_than_16_bits_count():
    example = make_example() | {
        "points": np.zeros((70_000, 3), np.uint16),
        "colors": np.arange(210_000).astype(np.uint8).reshape(70_000, 3),
    }
    points, _ = sample_points(example, 70_000, np.random.default_rng(0))
    assert points.shape == (70_000, 3)


def test_views_are_random_with_replacement():
    example, rng = make_example(), np.random.default_rng(4)
    views = np.stack([sample_views(example, ViewPolicy(4), rng)[:, 0] for _ in range(DRAWS)])
    for place in range(4):
        assert_frequencies(views[:, place].astype(int), uniform(12))
    distinct = [len(set(row)) == 4 for row in views.tolist()]
    p = 11 * 10 * 9 / 12**3
    assert_frequencies(distinct, {True: p, False: 1 - p})


def test_the_thumbnail_comes_first_half_of_the_time():
    example, rng = make_example(), np.random.default_rng(5)
    policy = ViewPolicy(4, thumbnail_probability=0.5)
    views = np.stack([sample_views(example, policy, rng)[:, 0] for _ in range(DRAWS)]).astype(int)
    assert_frequencies(views[:, 0], {-1: 0.5} | dict.fromkeys(range(12), 1 / 24))
    for place in (1, 2, 3):
        assert_frequencies(views[:, place], uniform(12))


def test_no_thumbnail_no_change():
    example, rng = make_example(thumbnail=False), np.random.default_rng(6)
    policy = ViewPolicy(4, thumbnail_probability=1.0)
    views = np.stack([sample_views(example, policy, rng)[:, 0] for _ in range(DRAWS)])
    assert_frequencies(views[:, 0].astype(int), uniform(12))


def test_thumbnail_probability_0_and_1():
    rng = np.random.default_rng(7)
    for _ in range(50):
        assert sample_views(make_example(), ViewPolicy(2), rng)[0, 0] >= 0
        always = ViewPolicy(2, thumbnail_probability=1.0)
        assert sample_views(make_example(), always, rng)[0, 0] == -1


@pytest.mark.parametrize(
    ("num_views", "expected"),
    [
        (1, [0]),
        (4, [0, 3, 6, 9]),
        (8, [0, 1, 3, 4, 6, 7, 9, 10]),
        (12, list(range(12))),
    ],
)
def test_spread_views_are_distinct_even_and_draw_nothing(num_views, expected):
    rng = np.random.default_rng(8)
    before = rng.bit_generator.state
    views = sample_views(make_example(thumbnail=False), ViewPolicy(num_views, "spread"), rng)
    assert views[:, 0].tolist() == expected
    assert rng.bit_generator.state == before


def make_text(code: float, source: str, original=True, prompt_avg=True) -> Text:
    """Its original embedding is (code, 0), its prompt-averaged one (code, 1)."""
    return Text(
        f"text {code}",
        source,
        np.array([code, 0]) if original else None,
        np.array([code, 1]) if prompt_avg else None,
    )


def draw_texts(*texts, draws=DRAWS) -> np.ndarray:
    example, rng = make_example(texts=texts), np.random.default_rng(9)
    drawn = [sample_text(example, rng) for _ in range(draws)]
    assert all(has_text for _, has_text in drawn)
    return np.stack([embedding for embedding, _ in drawn])


def test_sources_have_equal_chances_and_so_have_the_texts_of_a_source():
    texts = [make_text(i, "text") for i in (0, 1, 2)]
    texts += [make_text(3, "retrieval")]
    texts += [make_text(i, "caption") for i in (4, 5)]
    drawn = draw_texts(*texts)
    expected = dict.fromkeys((0, 1, 2), 1 / 9) | dict.fromkeys((4, 5), 1 / 6) | {3: 1 / 3}
    assert_frequencies(drawn[:, 0].astype(int), expected)


@pytest.mark.parametrize("sources", [("text", "caption"), ("caption", "retrieval")])
def test_absent_sources_take_no_chances(sources):
    drawn = draw_texts(*(make_text(i, source) for i, source in enumerate(sources)))
    assert_frequencies(drawn[:, 0].astype(int), uniform(2))


@pytest.mark.parametrize(
    ("source", "original", "prompt_avg", "kind"),
    [
        ("text", True, True, 1),
        ("text", True, False, 0),
        ("text", False, True, 1),
        ("caption", True, True, 1),
        ("caption", True, False, 0),
        ("retrieval", True, False, 0),
        ("retrieval", True, True, 0),
        ("retrieval", False, True, 1),
    ],
)
def test_which_embedding_counts(source, original, prompt_avg, kind):
    drawn = draw_texts(make_text(3, source, original, prompt_avg), draws=20)
    np.testing.assert_array_equal(drawn, [[3, kind]] * 20)


def test_an_empty_caption_that_is_drawn_adds_nothing():
    """Half of the draws the pool has the text alone, half of them text and caption."""
    texts = (make_text(1, "text"), Text("", "caption"), make_text(2, "caption"))
    assert_frequencies(draw_texts(*texts)[:, 0].astype(int), {1: 3 / 4, 2: 1 / 4})


def draw_of(dataset: bytes, flag: bytes, *texts: Text) -> np.ndarray:
    example = make_example(texts=texts) | {"dataset": dataset, "gpt4_flag": flag}
    rng = np.random.default_rng(10)
    return np.array([sample_text(example, rng)[0][0] for _ in range(DRAWS)]).astype(int)


@pytest.mark.parametrize("flag", [b"Y", b""])
def test_of_objaverse_only_the_first_text_counts(flag):
    texts = (make_text(1, "text"), make_text(2, "text"), make_text(3, "retrieval"))
    assert_frequencies(draw_of(b"Objaverse", flag, *texts), {1: 1 / 2, 3: 1 / 2})


def test_of_objaverse_a_text_judged_unfit_does_not_count():
    texts = (make_text(1, "text"), make_text(2, "text"), make_text(3, "retrieval"))
    assert_frequencies(draw_of(b"Objaverse", b"N", *texts), {3: 1})


@pytest.mark.parametrize("dataset", [b"ShapeNet", b"ABO", b"3D-FUTURE"])
def test_of_others_every_text_counts(dataset):
    texts = (make_text(1, "text"), make_text(2, "text"), make_text(3, "retrieval"))
    expected = {1: 1 / 4, 2: 1 / 4, 3: 1 / 2}
    assert_frequencies(draw_of(dataset, b"N", *texts), expected)


def test_the_whole_pool_of_an_openshape_record():
    """One text, a BLIP caption that is empty, another one, two retrieved texts."""
    texts = (
        make_text(1, "text"),
        Text("", "caption"),
        make_text(2, "caption"),
        make_text(3, "retrieval"),
        make_text(4, "retrieval"),
    )
    # With the empty caption the pool has two entries, with the other one three.
    expected = {1: 5 / 12, 2: 1 / 6, 3: 5 / 24, 4: 5 / 24}
    assert_frequencies(draw_of(b"Objaverse", b"Y", *texts), expected)


@pytest.mark.parametrize("texts", [(), (Text("bare", "text"), Text("bare", "retrieval"))])
def test_an_empty_pool_has_no_text(texts):
    embedding, has_text = sample_text(make_example(texts=texts), np.random.default_rng(0))
    assert not has_text
    assert embedding.dtype == np.float32
    np.testing.assert_array_equal(embedding, np.zeros(SIZE))


def test_a_sample_is_whole_and_follows_from_the_generator():
    example = make_example(texts=[make_text(1, "text"), make_text(2, "caption")])

    def draw(seed):
        return draw_sample(example, 6, ViewPolicy(3), np.random.default_rng(seed))

    sample = draw(0)
    found = {name: (array.shape, array.dtype.name) for name, array in sample.items()}
    assert found == {
        "points": ((6, 3), "uint16"),
        "colors": ((6, 3), "uint8"),
        "view_embeddings": ((3, SIZE), "float32"),
        "text_embedding": ((SIZE,), "float32"),
        "has_text": ((), "bool"),
    }
    again, other = draw(0), draw(1)
    for name, array in sample.items():
        np.testing.assert_array_equal(again[name], array)
    assert not np.array_equal(other["points"], sample["points"])
