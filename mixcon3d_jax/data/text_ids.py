"""Numbers by which texts are told apart: equal ones for equal embeddings.

Two of 50,000 different texts have the same number once in ten thousand million data sets.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int32

from mixcon3d_jax.data.schema import EMBEDDING_KINDS, MAX_TEXTS

# A record may have an embedding of each kind for each text.
MAX_TEXT_IDS = len(EMBEDDING_KINDS) * MAX_TEXTS


def text_id(embedding: Float[np.ndarray, "D"]) -> Int32[np.ndarray, "2"]:
    """64 bits, as two numbers: devices have no larger ones by default."""
    values = np.ascontiguousarray(embedding, np.float32)
    return np.frombuffer(hashlib.blake2b(values.tobytes(), digest_size=8).digest(), np.int32)


def text_ids(example: Mapping[str, Any]) -> Int32[np.ndarray, "ids 2"]:
    """The ids of all text embeddings of a stored example, filled up with zeros."""
    ids = np.zeros((MAX_TEXT_IDS, 2), np.int32)
    for place, embedding in enumerate(example["text_embeddings"]):
        ids[place] = text_id(embedding)
    return ids
