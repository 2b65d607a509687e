"""Targets that a frozen CLIP computes in the step, and those that it computed for the shards."""

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mixcon3d_jax.data.schema import DatasetCard, SchemaError, Text
from mixcon3d_jax.data.writer import write_dataset
from mixcon3d_jax.errors import InputError
from mixcon3d_jax.models.clip_config import ClipError
from mixcon3d_jax.models.clip_folder import ClipFolder
from mixcon3d_jax.models.clip_hub import SMALL, small_clip_folder
from mixcon3d_jax.sharding import batch_sharding, make_mesh
from mixcon3d_jax.training.checkpoint import Checkpoints
from mixcon3d_jax.training.loop import train
from mixcon3d_jax.training.towers import in_chunks
from tests.generated import make_record, small_config
from tests.pictures import encode

RECORDS = 32
TEXTS = ("a ball", "something round, wide and red " * 8, "ein Stuhl")


def make_data(folder, **changes):
    """Records with renders and texts, and what the small CLIP makes of them."""
    clip = ClipFolder.load(SMALL)
    texts = dict(zip(TEXTS, clip.embed_texts(list(TEXTS)), strict=True))
    records = []
    for index in range(RECORDS):
        rng = np.random.default_rng(index)
        images = list(rng.integers(0, 256, (3, 70, 64, 3), np.uint8))
        # The longest text, which is cut, among others; and none.
        chosen = TEXTS[: 1 + index % 3] if index % 8 else ()
        records.append(
            dataclasses.replace(
                make_record(index, "train"),
                view_embeddings=clip.embed_images(images),
                thumbnail_embedding=np.zeros((0, clip.embedding_size), np.float32),
                texts=tuple(Text(text, "caption", original=texts[text]) for text in chosen),
                **({"renders": tuple(map(encode, images))} | changes),
            )
        )
    card = DatasetCard("generated", clip.id, clip.embedding_size, 200, 3)
    write_dataset(folder, card, {"train": records}, records_per_shard=20)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("data") / "data")


def config_for(data, targets: str, **changes):
    config = small_config(data)
    config.clip.id, config.clip.embedding_size = "mixcon3d-jax/small-clip", 128
    config.clip.path, config.clip.dtype, config.clip.images_at_once = "small", "float32", 8
    config.model.encoder.depth = 1
    config.targets = targets
    config.optim.epochs, config.log.every_steps = 2.0, 1
    config.update_from_flattened_dict(changes)
    with config.unlocked():
        del config.eval.benchmarks["held_out"]
    return config


def run(config, workdir, sizes=(1, 1, 2)):
    mesh = make_mesh(*sizes, jax.devices()[: int(np.prod(sizes))])
    state = train(config, workdir, mesh, lambda state, missing: {})
    return state, [json.loads(line) for line in (workdir / "metrics.jsonl").open()]


@pytest.fixture(scope="module")
def in_the_step(data, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("towers")
    return workdir, *run(config_for(data, "towers"), workdir)


def test_losses_agree_with_those_of_stored_embeddings(data, in_the_step, tmp_path):
    _, expected = run(config_for(data, "shards"), tmp_path)
    found = in_the_step[2]
    assert len(found) == len(expected) == 4
    for ours, theirs in zip(found, expected, strict=True):
        for key in ("loss", "point_text_loss", "point_image_loss", "image_text_loss"):
            # Stored embeddings are float16.
            assert ours[key] == pytest.approx(theirs[key], rel=1e-3), key


def test_the_clip_is_no_part_of_the_checkpoint(in_the_step):
    workdir, state, _ = in_the_step
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(state.params))
    weights = (small_clip_folder() / "model.safetensors").stat().st_size
    stored = sum(f.stat().st_size for f in (workdir / "checkpoints/4").rglob("*") if f.is_file())
    assert stored < 4 * size + weights
    with Checkpoints(workdir, 1, read_only=True) as checkpoints:
        meta = checkpoints.meta()
    assert meta["clip_id"] == "mixcon3d-jax/small-clip"
    assert meta["clip_fingerprint"] == ClipFolder.load(SMALL).fingerprint()


def test_a_run_does_not_go_on_with_another_clip(data, in_the_step, tmp_path):
    workdir = shutil.copytree(in_the_step[0], tmp_path / "run")
    other = shutil.copytree(small_clip_folder(), tmp_path / "other")
    with (other / "tokenizer_config.json").open("a") as file:
        file.write("\n")
    with pytest.raises(InputError, match="clip"):
        run(config_for(data, "towers", **{"clip.path": str(other)}), workdir)


def test_renders_that_are_missing_or_damaged_are_named(tmp_path):
    without = make_data(tmp_path / "without", renders=())
    with pytest.raises(SchemaError, match=r"record 'train/\d+' has no renders, which config.targ"):
        run(config_for(without, "towers"), tmp_path / "one")
    damaged = make_data(tmp_path / "damaged", renders=(b"no picture",) * 3)
    with pytest.raises(ClipError, match=r"an image of 10 bytes does not decode"):
        run(config_for(damaged, "towers"), tmp_path / "two")


def test_a_clip_of_another_size_is_refused(data, tmp_path):
    config = config_for(data, "towers", **{"clip.embedding_size": 64})
    with pytest.raises(InputError, match=r"embedding_size is 64, .* of small are of size 128"):
        run(config, tmp_path)


@pytest.mark.parametrize(("sizes", "at_once"), [((1, 1, 1), 3), ((2, 2, 2), 2), ((1, 4, 2), 100)])
def test_chunks_are_put_together_in_order(sizes, at_once):
    mesh = make_mesh(*sizes, jax.devices()[: int(np.prod(sizes))])
    pixels = np.random.default_rng(0).integers(0, 256, (16, 3, 4, 4, 3), np.uint8)
    seen = []

    def embed(images):
        seen.append(len(images))
        return images.reshape(len(images), -1)[:, :5].astype(jnp.float32)

    placed = jax.device_put(pixels, batch_sharding(mesh))
    found = jax.jit(lambda p: in_chunks(embed, p, mesh, at_once))(placed)
    np.testing.assert_array_equal(found, pixels.reshape(16, 3, -1)[..., :5])
    assert seen[0] <= at_once * mesh.size
