"""CLIP folders: reading, embedding, and every way in which one can be wrong."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from flax import nnx
from PIL import Image
from safetensors.numpy import load_file, save_file

from data_prep.small_clip_folder import SMALL_CLIP_ID, write_settings, write_weights
from mixcon3d_jax.models.clip import Clip
from mixcon3d_jax.models.clip_config import ClipError, import_transformers, read_config
from mixcon3d_jax.models.clip_folder import ClipFolder
from mixcon3d_jax.models.clip_weights import checkpoint_tensors, load_clip

TINY = {"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2}
CONFIG = {
    "_name_or_path": SMALL_CLIP_ID,
    "model_type": "clip",
    "projection_dim": 6,
    "text_config": {
        **TINY,
        "vocab_size": 514,
        "max_position_embeddings": 12,
        "bos_token_id": 512,
        "eos_token_id": 513,
        "pad_token_id": 513,
    },
    "vision_config": {**TINY, "image_size": 16, "patch_size": 4},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A whole tiny CLIP folder with random weights; tests copy it before they break it."""
    folder = tmp_path_factory.mktemp("clip") / "tiny"
    write_settings(folder, CONFIG)
    write_weights(folder, Clip(read_config(folder), rngs=nnx.Rngs(0)), logit_scale=2.6)
    return folder


@pytest.fixture
def folder(made, tmp_path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "tiny"))


@pytest.fixture(scope="module")
def clip(made) -> ClipFolder:
    return ClipFolder.load(made)


def change_json(path: Path, **values) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def random_images(count: int, height: int, width: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return list(rng.integers(0, 256, (count, height, width, 3), np.uint8))


def shard(folder: Path) -> None:
    """Splits the weights into two files and an index."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    halves = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for file, part in halves.items():
        save_file({name: tensors[name] for name in part}, folder / file)
    places = {name: file for file, part in halves.items() for name in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))


def test_it_says_its_id_and_sizes(clip, folder):
    assert clip.id == SMALL_CLIP_ID
    assert (clip.embedding_size, clip.image_size) == (6, 16)
    change_json(folder / "config.json", _name_or_path="")
    assert ClipFolder.load(folder).id == "tiny"


def test_embeddings_are_of_length_one_and_independent_of_batches(clip):
    texts = ["a chair", "a blue lamp", "", "été 37 椅"]
    images = random_images(5, 16, 16)
    embedded = clip.embed_texts(texts), clip.embed_images(images)
    for rows, count in zip(embedded, (4, 5), strict=True):
        assert rows.shape == (count, 6)
        assert rows.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(clip.embed_texts(texts, batch_size=3), embedded[0], atol=1e-6)
    np.testing.assert_allclose(clip.embed_images(images, batch_size=2), embedded[1], atol=1e-6)


def test_nothing_in_gives_nothing_out(clip):
    assert clip.embed_texts([]).shape == (0, 6)
    assert clip.embed_images(iter([])).shape == (0, 6)


def test_ids_are_the_tokenizers_own(clip):
    (row,) = clip.token_ids(["a Chair"])
    expected = clip.tokenizer("a chair")["input_ids"]
    np.testing.assert_array_equal(row, expected + [513] * (12 - len(expected)))


def test_a_long_text_is_cut_and_keeps_its_end(clip):
    (row,) = clip.token_ids(["abcdefghijklmnopqrstuvwxyz"])
    assert row[0] == 512
    assert row[-1] == 513
    assert 513 not in row[:-1]


def test_texts_that_differ_in_one_character_have_ids_of_their_own(clip):
    texts = ["ab", "a b", "ba", "a", "é", "è", "椅", "1", "2", "!"]
    assert len({tuple(row) for row in clip.token_ids(texts)}) == len(texts)


@pytest.mark.parametrize(
    ("height", "width"), [(16, 16), (16, 30), (40, 16), (9, 13), (64, 48)], ids=str
)
def test_images_are_prepared_as_the_processor_does(made, clip, height, width):
    images = random_images(3, height, width)
    processor = import_transformers().CLIPImageProcessorPil.from_pretrained(made)
    expected = processor(images, input_data_format="channels_last", return_tensors="np")
    prepared = clip.images.to_tower(clip.images.pixels(images))
    np.testing.assert_allclose(
        prepared, expected["pixel_values"].transpose(0, 2, 3, 1), atol=1e-5, rtol=0
    )


def test_a_processor_that_resizes_past_the_crop_does_so_to_images_of_the_towers_size(folder):
    change_json(folder / "preprocessor_config.json", size={"shortest_edge": 20})
    (image,) = random_images(1, 16, 16)
    processor = import_transformers().CLIPImageProcessorPil.from_pretrained(folder)
    expected = processor(image, input_data_format="channels_last", return_tensors="np")
    preparation = ClipFolder.load(folder).images
    np.testing.assert_allclose(
        preparation.to_tower(preparation.pixels([image])),
        expected["pixel_values"].transpose(0, 2, 3, 1),
        atol=1e-5,
        rtol=0,
    )


def test_pil_images_of_any_mode_are_taken(clip):
    (array,) = random_images(1, 16, 16)
    image = Image.fromarray(array)
    with_alpha = image.copy()
    with_alpha.putalpha(255)
    rows = clip.embed_images([array, image, with_alpha, image.convert("L")])
    np.testing.assert_array_equal(rows[0], rows[1])
    np.testing.assert_array_equal(rows[0], rows[2])


def test_an_array_that_is_no_rgb_image_is_refused(clip):
    with pytest.raises(ClipError, match=r"shape \(16, 16, 4\).*Convert it to RGB"):
        clip.embed_images([np.zeros((16, 16, 4), np.uint8)])
    with pytest.raises(ClipError, match="float64"):
        clip.embed_images([np.zeros((16, 16, 3))])


def test_shards_with_an_index_equal_one_file(clip, folder):
    shard(folder)
    texts = ["a chair", "a table"]
    np.testing.assert_array_equal(
        ClipFolder.load(folder).embed_texts(texts), clip.embed_texts(texts)
    )


def test_weights_survive_the_way_to_hugging_face_names_and_back(folder):
    config = read_config(folder)
    stored = load_file(folder / "model.safetensors")
    written = checkpoint_tensors(load_clip(folder, config), config)
    assert set(stored) - set(written) == {"logit_scale"}
    for name, tensor in written.items():
        np.testing.assert_array_equal(tensor, stored[name].astype(np.float32))


def test_index_buffers_of_old_checkpoints_are_left_aside(folder):
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    save_file({**tensors, "text_model.embeddings.position_ids": np.arange(12)[None]}, weights)
    ClipFolder.load(folder)


def edit_tensors(folder: Path, **changes) -> None:
    """Replaces tensors of the folder (None: removes)."""
    weights = folder / "model.safetensors"
    tensors = {**load_file(weights), **changes}
    save_file({name: value for name, value in tensors.items() if value is not None}, weights)


BIAS = "text_model.encoder.layers.0.mlp.fc2.bias"


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda f: (f / "config.json").unlink(), r"config\.json: no such file"),
        (lambda f: (f / "config.json").write_text("{"), r"config\.json: cannot be read"),
        (lambda f: (f / "config.json").write_text("[]"), r"config\.json: holds no JSON object"),
        (lambda f: change_json(f / "config.json", model_type="bert"), "model_type is 'bert'"),
        (
            lambda f: change_json(f / "config.json", text_config={"hidden_size": "wide"}),
            r"config\.json: transformers refuses it",
        ),
        (
            lambda f: change_json(f / "config.json", vision_config={"hidden_act": "mish"}),
            r"vision_config\.hidden_act is 'mish'",
        ),
        (
            lambda f: change_json(f / "config.json", projection_dim=7),
            r"tensor '(text|visual)_projection\.weight' has shape \(6, 8\).*says \(7, 8\)",
        ),
        (lambda f: edit_tensors(f, **{BIAS: None}), f"1 tensor.*missing.*'{BIAS}'"),
        (lambda f: edit_tensors(f, more=np.zeros(2)), "no place for, the first 'more'"),
        (lambda f: edit_tensors(f, **{BIAS: np.zeros(3)}), rf"'{BIAS}' has shape \(3,\)"),
        (lambda f: (f / "model.safetensors").unlink(), r"model\.safetensors: no such file"),
        (
            lambda f: (f / "model.safetensors").write_bytes(
                (f / "model.safetensors").read_bytes()[:-100]
            ),
            r"model\.safetensors: truncated",
        ),
        (lambda f: (f / "tokenizer.json").unlink(), "no tokenizer"),
        (lambda f: (f / "tokenizer.json").write_text("{}"), "tokenizer cannot be read"),
        (
            lambda f: (f / "preprocessor_config.json").unlink(),
            r"preprocessor_config\.json: no such file",
        ),
        (
            lambda f: change_json(f / "preprocessor_config.json", size="big"),
            r"preprocessor_config\.json: transformers refuses it",
        ),
        (
            lambda f: change_json(
                f / "preprocessor_config.json", crop_size={"height": 14, "width": 14}
            ),
            r"gives images of 14 x 14, but vision_config\.image_size in config\.json is 16",
        ),
    ],
)
def test_a_broken_folder_is_refused_by_name(folder, break_it, message):
    break_it(folder)
    with pytest.raises(ClipError, match=message) as error:
        ClipFolder.load(folder)
    assert str(folder) in str(error.value)


def test_a_broken_index_is_refused_by_name(folder):
    shard(folder)
    index = folder / "model.safetensors.index.json"
    places = json.loads(index.read_text())

    (folder / "model-2.safetensors").rename(folder / "aside")
    with pytest.raises(ClipError, match=r"model-2\.safetensors: no such file"):
        ClipFolder.load(folder)
    (folder / "aside").rename(folder / "model-2.safetensors")

    places["weight_map"][BIAS] = {
        "model-1.safetensors": "model-2.safetensors",
        "model-2.safetensors": "model-1.safetensors",
    }[places["weight_map"][BIAS]]
    index.write_text(json.dumps(places))
    with pytest.raises(ClipError, match=f"tensor '{BIAS}', which .* says it holds, is missing"):
        ClipFolder.load(folder)

    index.write_text("{}")
    with pytest.raises(ClipError, match="not a safetensors index"):
        ClipFolder.load(folder)


def test_a_tokenizer_of_other_weights_is_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    text = {**config["text_config"], "eos_token_id": 511}
    change_json(folder / "config.json", text_config=text)
    with pytest.raises(ClipError, match="ends texts with id 513, the text tower looks for 511"):
        ClipFolder.load(folder)

    text = {**config["text_config"], "vocab_size": 500}
    change_json(folder / "config.json", text_config=text)
    with pytest.raises(ClipError, match="tokenizer knows 514 tokens, the text tower only 500"):
        ClipFolder.load(folder)
