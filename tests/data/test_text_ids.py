import numpy as np

from mixcon3d_jax.data.schema import encode_record
from mixcon3d_jax.data.text_ids import MAX_TEXT_IDS, text_id, text_ids
from tests.generated import EMBEDDING_SIZE, make_record


def test_equal_embeddings_have_equal_ids():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(500, 8)).astype(np.float16)
    ids = {tuple(text_id(row)) for row in rows}
    assert len(ids) == 500
    # As they are stored, and as they are drawn.
    assert {tuple(text_id(row.astype(np.float32))) for row in rows} == ids


def test_a_record_has_those_of_all_its_texts():
    example = encode_record(make_record(0, "test"), EMBEDDING_SIZE)
    found = text_ids(example)
    assert (found.shape, found.dtype) == ((MAX_TEXT_IDS, 2), np.int32)
    rows = example["text_embeddings"]
    assert found[: len(rows)].tolist() == [text_id(row).tolist() for row in rows]
    assert not found[len(rows) :].any()
