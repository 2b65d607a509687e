"""How the small CLIP is trained: its tokenizer, its texts, its losses, and the command whole."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from tokenizers.pre_tokenizers import ByteLevel

from data_prep.shapes import CLASSES
from data_prep.small_clip_folder import (
    SMALL_CLIP_ID,
    byte_vocabulary,
    small_clip_config,
    write_settings,
)
from data_prep.small_clip_objective import augment, embed_kept, keep_patches, pairing_loss
from data_prep.small_clip_texts import TextSampler, made_up_words, meaning
from data_prep.train_small_clip import main
from mixcon3d_jax.models.clip import VisionConfig, VisionTower
from mixcon3d_jax.models.clip_config import import_transformers
from mixcon3d_jax.models.clip_folder import ClipFolder

CHAIR, LAMP = list(CLASSES).index("chair"), list(CLASSES).index("lamp")
TEXTS = [
    [
        "a red chair",
        "a chair",
        "a chair with arms",
        "a chair all in red",
        "a 3d model of a red chair",
    ],
    ["a red chair", "a chair", "a chair with a back", "a chair all in red", "a red chair"],
    [
        "a red lamp",
        "a lamp",
        "a lamp with a shade",
        "a lamp all in red",
        "a 3d model of a red lamp",
    ],
]


@pytest.fixture
def sampler():
    return TextSampler.of(np.array([CHAIR, CHAIR, LAMP]), TEXTS)


@pytest.fixture(scope="module")
def vision():
    config = VisionConfig(
        width=8,
        layers=1,
        heads=2,
        mlp_width=12,
        activation="gelu",
        layer_norm_eps=1e-5,
        image_size=8,
        patch_size=2,
        channels=3,
    )
    return VisionTower(config, 5, rngs=nnx.Rngs(0))


def test_the_vocabulary_is_every_byte_and_every_byte_that_ends_a_word():
    vocabulary = byte_vocabulary()
    alphabet = set(ByteLevel.alphabet())
    assert len(alphabet) == 256
    assert set(vocabulary) == {
        *alphabet,
        *(f"{symbol}</w>" for symbol in alphabet),
        "<|startoftext|>",
        "<|endoftext|>",
    }
    assert sorted(vocabulary.values()) == list(range(514))


def test_every_text_is_spelt_out_without_unknown_tokens(tmp_path):
    write_settings(tmp_path, small_clip_config())
    tokenizer = import_transformers().AutoTokenizer.from_pretrained(tmp_path)
    for text in ("a chair", "stroopwafel", "Ω 椅子 🪑", "x" * 30, "\x00\x7f"):
        ids = tokenizer(text)["input_ids"]
        assert ids[0] == 512
        assert ids[1:].index(513) == len(ids) - 2
    assert tokenizer.decode(tokenizer("a red chair")["input_ids"][1:-1]) == "a red chair"


@pytest.mark.parametrize(
    ("text", "class_name", "expected"),
    [
        ("a red chair", "chair", "red chair"),
        ("an airplane", "airplane", "airplane"),
        ("an orange aeroplane", "airplane", "orange airplane"),
        ("a green easy chair", "armchair", "green armchair"),
        ("a 3d model of a yellow bed", "bed", "yellow bed"),
        ("a green lamp post", "street_light", "green street light"),
        ("a bed with a red frame", "bed", "bed with a red frame"),
    ],
)
def test_texts_of_the_same_meaning_share_a_spelling(text, class_name, expected):
    assert meaning(text, class_name) == expected


def test_a_text_is_true_of_every_object_that_it_describes(sampler):
    keys = {
        text: key
        for own, row in zip(TEXTS, sampler.keys, strict=True)
        for text, key in zip(own, row[1:], strict=True)
    }
    true = {
        text: sampler.true_of(np.arange(3), np.array([keys[text]]))[:, 0].tolist()
        for text in ("a chair", "a red chair", "a chair with arms", "a red lamp")
    }
    assert true == {
        "a chair": [True, True, False],
        "a red chair": [True, True, False],
        "a chair with arms": [True, False, False],
        "a red lamp": [False, False, True],
    }


def test_sampled_texts_are_true_of_their_objects_and_name_nothing_else(sampler):
    rng = np.random.default_rng(0)
    for _ in range(20):
        texts, keys = sampler.sample(np.arange(3), rng)
        assert sampler.true_of(np.arange(3), keys).diagonal().all()
        assert all("lamp" not in text for text in texts[:2])
        assert "lamp" in texts[2]


def test_made_up_words_come_in_pairs_from_the_seed():
    first, second = made_up_words(50, np.random.default_rng(1))
    assert made_up_words(50, np.random.default_rng(1)) == (first, second)
    assert len(set(first)) == len(first) == len(second)
    assert all(a != b for a, b in zip(first, second, strict=True))


def test_pairing_loss_by_hand():
    logits = jnp.log(jnp.array([[6.0, 3.0, 1.0], [1.0, 2.0, 1.0]]))
    true = jnp.array([[True, True, False], [False, True, False]])
    # Row 0: 6 against 1 and 3 against 1.  Row 1: 2 against 1 + 1.
    expected = np.mean([np.mean([-np.log(6 / 7), -np.log(3 / 4)]), -np.log(2 / 4)])
    np.testing.assert_allclose(pairing_loss(logits, true), expected, rtol=1e-6)


def test_pairing_loss_has_a_gradient_where_all_of_a_row_is_true():
    logits = jnp.array([[1.0, 2.0], [0.5, 0.0]])
    true = jnp.array([[True, True], [True, False]])
    value, gradient = jax.value_and_grad(pairing_loss)(logits, true)
    assert np.isfinite(value)
    np.testing.assert_array_equal(gradient[0], 0)
    assert np.isfinite(gradient[1]).all()
    assert (gradient[1] != 0).all()


def test_augmentation_keeps_the_background_white_and_colours_in_range():
    change = jax.jit(augment)
    white = jnp.full((4, 16, 16, 3), 255, jnp.uint8)
    np.testing.assert_array_equal(change(white, jax.random.key(0)), 1)
    noise = np.random.default_rng(1).integers(0, 256, (4, 16, 16, 3), np.uint8)
    augmented = change(noise, jax.random.key(2))
    assert 0 <= float(augmented.min()) <= float(augmented.max()) <= 1
    np.testing.assert_array_equal(augmented, change(noise, jax.random.key(2)))
    assert float(np.abs(augmented - change(noise, jax.random.key(3))).max()) > 0.1


def test_patches_with_ink_are_kept_before_white_ones(vision):
    images = jnp.ones((2, 8, 8, 3)).at[:, 0, 0].set(0).at[:, 5, 3].set(0.5)
    kept = keep_patches(vision, images, 3, jax.random.key(0))
    assert kept.shape == (2, 3)
    for row in np.asarray(kept):
        assert {0, 9} < set(row.tolist())
        assert len(set(row.tolist())) == 3


def test_keeping_all_patches_is_the_tower_itself(vision):
    images = jax.random.uniform(jax.random.key(0), (2, 8, 8, 3))
    kept = keep_patches(vision, images, 16, jax.random.key(1))
    np.testing.assert_allclose(
        embed_kept(vision, images, kept), vision((images - 0.5) / 0.5), atol=1e-5
    )


def test_the_command_writes_a_folder_that_loads(tmp_path):
    output = tmp_path / "clip"
    main([f"--output={output}", "--objects-per-class=1", "--steps=1"])
    clip = ClipFolder.load(output)
    assert (clip.id, clip.image_size, clip.embedding_size) == (SMALL_CLIP_ID, 64, 128)
    assert clip.embed_texts(["a chair"]).shape == (1, 128)
    written = json.loads(next(tmp_path.glob("clip.renders/*.json")).read_text())
    assert len(written) == len(CLASSES)


def test_no_steps_and_no_objects_are_refused(tmp_path, capsys):
    for flag in ("--steps=0", "--objects-per-class=0"):
        with pytest.raises(SystemExit):
            main([f"--output={tmp_path}", flag])
        assert "give 1 or more" in capsys.readouterr().err
