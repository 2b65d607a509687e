import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.openshape.pickles import PickleError
from data_prep.openshape.shape import ShapeError, read_shape
from mixcon3d_jax.data.schema import decode_record, encode_record, record_features
from tests.openshape_files import make_shape, npy_bytes, shape_bytes

D = 16


def read(shape, dataset="Objaverse", flag=""):
    data = shape if isinstance(shape, bytes) else npy_bytes(shape)
    return read_shape(data, "a/b.npy", dataset, D, lambda _: flag)


def test_every_field_arrives():
    shape = make_shape("Objaverse", 0, irregular=False)
    record = read(shape, flag="N")
    assert (record.id, record.dataset, record.group) == (shape["id"], "Objaverse", "000-000")
    assert (record.gpt4_flag, record.class_name, record.renders) == ("N", "", ())
    np.testing.assert_array_equal(record.points, shape["xyz"])
    np.testing.assert_array_equal(record.colors, np.rint(255 * shape["rgb"]))
    np.testing.assert_array_equal(record.view_embeddings, shape["image_feat"])
    np.testing.assert_array_equal(record.thumbnail_embedding, [shape["thumbnail_feat"]])
    found = [(text.text, text.source) for text in record.texts]
    assert found == [
        *((text, "text") for text in shape["text"]),
        (shape["blip_caption"], "caption"),
        (shape["msft_caption"], "caption"),
        *((text, "retrieval") for text in shape["retrieval_text"]),
    ]
    features = [
        *shape["text_feat"],
        shape["blip_caption_feat"],
        shape["msft_caption_feat"],
        *shape["retrieval_text_feat"],
    ]
    for text, feature in zip(record.texts, features, strict=True):
        np.testing.assert_array_equal(text.original, feature["original"])
        if text.source == "retrieval":
            assert text.prompt_avg is None
        else:
            np.testing.assert_array_equal(text.prompt_avg, feature["prompt_avg"])


@pytest.mark.parametrize("dataset", ["Objaverse", "ABO"])
@pytest.mark.parametrize("index", range(40))
def test_irregular_files_are_taken_and_can_be_stored(dataset, index):
    shape = make_shape(dataset, index, irregular=True)
    record = read(shape_bytes(shape, index), dataset)
    captions = [text for text in record.texts if text.source == "caption"]
    assert [text.text for text in captions] == [
        str(shape.get(key) or "") for key in ("blip_caption", "msft_caption")
    ]
    assert all((text.original is None) == (text.text == "") for text in captions)
    assert len(record.points) == len(shape["xyz"])
    assert len(record.thumbnail_embedding) == (dataset == "Objaverse")
    features = record_features(D)
    stored = features.deserialize_example_np(
        features.serialize_example(encode_record(record, D)), decoders=None
    )
    assert [text.text for text in decode_record(stored).texts] == [t.text for t in record.texts]


def test_strings_may_be_arrays_of_one():
    shape = make_shape("ABO", 0) | {"id": np.array("x"), "group": np.array(["g"])}
    record = read(shape, "ABO")
    assert (record.id, record.group) == ("x", "g")


def test_rounding_beyond_the_range_of_colours_is_clipped():
    shape = make_shape("ABO", 0)
    shape["rgb"][0] = [-0.004, 1.004, 0.5]
    assert read(shape, "ABO").colors[0].tolist() == [0, 255, 128]


def changed(change):
    shape = make_shape("Objaverse", 0)
    change(shape)
    return shape


def first_is_nan(array):
    array = array.astype(np.float32)
    array[0, 0] = np.nan
    return array


WRONG = {
    "'id': is empty or missing": lambda s: s.pop("id"),
    "'id': holds a int": lambda s: s.update(id=3),
    "'dataset': is 'Thingi10K', which is none of": lambda s: s.update(dataset="Thingi10K"),
    "'dataset': is 'ABO', but the file lies among": lambda s: s.update(dataset="ABO"),
    "'dataset': is '', which is none of": lambda s: s.pop("dataset"),
    "'xyz': has NaN": lambda s: s.update(xyz=first_is_nan(s["xyz"])),
    "'xyz': has no points": lambda s: s.update(xyz=s["xyz"][:0], rgb=s["rgb"][:0]),
    r"'xyz': has shape \(\)": lambda s: s.pop("xyz"),
    r"'xyz': has shape \(200, 2\)": lambda s: s.update(xyz=s["xyz"][:, :2]),
    "'xyz': can't be read": lambda s: s.update(xyz=[[1, 2, 3], [1]]),
    r"'rgb': has shape \(199, 3\) instead of \(200, 3\)": lambda s: s.update(rgb=s["rgb"][1:]),
    "'rgb': has colours from .* instead of 0..1": lambda s: s.update(rgb=255 * s["rgb"]),
    "'rgb': has colours from nan": lambda s: s.update(rgb=first_is_nan(s["rgb"])),
    r"'image_feat': has shape \(12, 8\), but embeddings have 16": lambda s: s.update(
        image_feat=s["image_feat"][:, :8]
    ),
    "'image_feat': is empty": lambda s: s.pop("image_feat"),
    "'image_feat': has NaN": lambda s: s.update(image_feat=first_is_nan(s["image_feat"])),
    "'image_feat': holds <U1": lambda s: s.update(image_feat=np.full((12, 16), "a")),
    "'thumbnail_feat': has 12 rows": lambda s: s.update(thumbnail_feat=s["image_feat"]),
    "'thumbnail_feat': has NaN, or entries beyond": lambda s: s.update(
        thumbnail_feat=np.full(16, 1e5, np.float32)
    ),
    "'text_feat': has 2 entries for 3 texts": lambda s: s["text_feat"].pop(),
    "'text_feat': has neither of original, prompt_avg": lambda s: s["text_feat"][0].clear(),
    "'text_feat': holds a list": lambda s: s.update(text_feat=[[1]] * 3),
    "'text': holds a int": lambda s: s["text"].append(1),
    "'text': holds a str where a list": lambda s: s.update(text="a chair"),
    "'blip_caption': is no valid text": lambda s: s.update(blip_caption="\ud800"),
    "'msft_caption_feat': holds a NoneType": lambda s: s.pop("msft_caption_feat"),
    "has 257 texts": lambda s: s.update(
        retrieval_text=["a"] * 252, retrieval_text_feat=s["retrieval_text_feat"][:1] * 252
    ),
}


@pytest.mark.parametrize("message", WRONG)
def test_what_is_wrong_is_named_with_file_and_field(message):
    with pytest.raises(ShapeError, match=rf"a/b\.npy.*{message}"):
        read(changed(WRONG[message]))


def test_something_else_than_a_dict_is_named():
    with pytest.raises(ShapeError, match=r"a/b\.npy: holds a ndarray instead of a dict"):
        read(npy_bytes(np.zeros((3, 3))))
    with pytest.raises(PickleError, match=r"a/b\.npy"):
        read(b"no pickle")


def _array_of_objects(entries):
    array = np.empty(len(entries), object)
    for index, entry in enumerate(entries):
        array[index] = entry
    return array


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["original", "prompt_avg", "x"]), inner, max_size=2)
        | st.lists(inner, max_size=3).map(_array_of_objects)
        | st.integers(0, 3).map(lambda n: np.zeros((n, D), np.float32))
    ),
    max_leaves=6,
)


@settings(deadline=None, max_examples=300)
@given(field=st.sampled_from(sorted(make_shape("Objaverse", 0))), value=_ANYTHING)
def test_strange_content_gives_a_record_that_can_be_stored_or_the_named_error(field, value):
    shape = make_shape("Objaverse", 0, num_points=3) | {field: value}
    with contextlib.suppress(ShapeError):
        encode_record(read(shape), D)
