"""Embedding a data set anew: the same records, another CLIP's embeddings."""

import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from data_prep.precompute_targets import main
from mixcon3d_jax.data.schema import DatasetCard, Text, decode_record
from mixcon3d_jax.data.source import open_split, read_card
from mixcon3d_jax.data.writer import CLASS_EMBEDDINGS_FILE, write_dataset
from mixcon3d_jax.models.clip_folder import ClipFolder
from mixcon3d_jax.models.clip_images import decode_image
from mixcon3d_jax.models.prompts import prompts
from tests.generated import CLIP_ID, EMBEDDING_SIZE, class_embeddings, make_record
from tests.pictures import encode
from tests.processes import ROOT, free_port

COUNTS = {"train": 7, "test": 3}
LONG = "something round and red " * 20


def record(index: int, split: str, **changes):
    pictures = np.random.default_rng(index).integers(0, 256, (2, 20, 24, 3), np.uint8)
    made = make_record(index, split, texts=index % 3 != 2)
    retrieved = Text(LONG, "retrieval", original=np.ones(EMBEDDING_SIZE))
    return dataclasses.replace(
        made,
        view_embeddings=made.view_embeddings[:2],
        texts=(*made.texts, retrieved),
        **({"renders": tuple(map(encode, pictures))} | changes),
    )


def make(folder, **changes):
    classes = ("ball", "disc", "rod", "shell")
    card = DatasetCard("generated", CLIP_ID, EMBEDDING_SIZE, 200, 2, classes)
    splits = {split: [record(i, split, **changes) for i in range(n)] for split, n in COUNTS.items()}
    write_dataset(folder, card, splits, class_embeddings(), records_per_shard=4)
    return folder


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make(tmp_path_factory.mktemp("precompute") / "data")


def arguments(dataset, clip, output, *more):
    return [f"--dataset={dataset}", f"--clip={clip}", f"--output={output}", "--records=2", *more]


def records_of(folder, split):
    source = open_split(folder, split)
    return read_card(folder), [decode_record(source[i]) for i in range(len(source))]


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_embeddings_are_the_clips_and_all_else_stays(dataset, tiny_clip, tmp_path, capsys):
    assert main(arguments(dataset, tiny_clip, tmp_path / "out")) == 0
    clip = ClipFolder.load(tiny_clip)
    for split, count in COUNTS.items():
        card, found = records_of(tmp_path / "out", split)
        assert (card.splits, len(found)) == (COUNTS, count)
        for index, ours in enumerate(found):
            before = record(index, split)
            assert (ours.id, ours.class_name, ours.renders) == (
                before.id,
                before.class_name,
                before.renders,
            )
            np.testing.assert_allclose(ours.points, before.points, atol=1e-3)
            images = clip.embed_images([decode_image(render) for render in before.renders])
            np.testing.assert_allclose(ours.view_embeddings, images, atol=1e-3)
            assert len(ours.thumbnail_embedding) == 0
            assert [text.text for text in ours.texts] == [text.text for text in before.texts]
            for text in ours.texts:
                (original,) = clip.embed_texts([text.text])
                np.testing.assert_allclose(text.original, original, atol=1e-3)
                if text.source == "retrieval":
                    assert text.prompt_avg is None
                    continue
                mean = clip.embed_texts(prompts(text.text)).mean(axis=0)
                mean /= np.linalg.norm(mean)
                np.testing.assert_allclose(text.prompt_avg, mean, atol=1e-3)
    classes = np.load(tmp_path / "out" / CLASS_EMBEDDINGS_FILE)
    assert classes.shape == (4, clip.embedding_size)
    told = capsys.readouterr().out
    assert "train: 7, test: 3), embedded with 'tiny-clip'" in told
    assert "10 texts were longer than the 77 tokens of the CLIP and cut" in told
    assert "4 records had the embedding of a thumbnail" in told
    assert not (tmp_path / "out/work").exists()


def test_interrupted_it_continues_and_gives_the_same_files(
    dataset, tiny_clip, tmp_path, monkeypatch
):
    assert main(arguments(dataset, tiny_clip, tmp_path / "whole")) == 0
    embed, calls = ClipFolder.embed_images, []

    def counted(self, images, batch_size):
        calls.append(batch_size)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return embed(self, images, batch_size)

    monkeypatch.setattr(ClipFolder, "embed_images", counted)
    with pytest.raises(KeyboardInterrupt):
        main(arguments(dataset, tiny_clip, tmp_path / "broken"))
    assert main(arguments(dataset, tiny_clip, tmp_path / "broken")) == 0
    # Two blocks are kept of the four and two that there are.
    assert len(calls) == 3 + 4
    assert files_of(tmp_path / "broken") == files_of(tmp_path / "whole")


@pytest.mark.parametrize(
    ("renders", "message"),
    [((), "record 'train/0' of"), ((b"no picture",) * 2, "an image of 10 bytes does not decode")],
)
def test_renders_that_are_missing_or_damaged_are_named(
    tiny_clip, tmp_path, capsys, renders, message
):
    data = make(tmp_path / "data", renders=renders)
    with pytest.raises(SystemExit, match="2"):
        main(arguments(data, tiny_clip, tmp_path / "out"))
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out/card.json").exists()


def test_a_data_set_is_not_embedded_onto_itself(dataset, tiny_clip, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(arguments(dataset, tiny_clip, dataset))
    assert "is the data set itself" in capsys.readouterr().err
    assert read_card(dataset).clip_id == CLIP_ID


def together(dataset, outputs, clips) -> list[subprocess.CompletedProcess]:
    """What each process says that embeds a data set with the others, two devices each."""
    port = free_port()
    started = []
    for index, (output, clip) in enumerate(zip(outputs, clips, strict=True)):
        environment = {
            "JAX_PLATFORMS": "cpu",
            "JAX_NUM_CPU_DEVICES": "2",
            "JAX_COORDINATOR_ADDRESS": f"localhost:{port}",
            "JAX_NUM_PROCESSES": str(len(outputs)),
            "JAX_PROCESS_ID": str(index),
        }
        command = [sys.executable, "-m", "data_prep.precompute_targets"]
        started.append(
            subprocess.Popen(
                [*command, *arguments(dataset, clip, output)],
                cwd=ROOT,
                env=os.environ | environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    with contextlib.ExitStack() as stack:
        for process in started:
            stack.callback(process.kill)
        said = [process.communicate(timeout=240) for process in started]
    return [
        subprocess.CompletedProcess(process.args, process.returncode, *streams)
        for process, streams in zip(started, said, strict=True)
    ]


def test_hosts_embed_together_and_the_first_writes(dataset, tiny_clip, tmp_path):
    assert main(arguments(dataset, tiny_clip, tmp_path / "alone")) == 0
    outputs = [tmp_path / "first", tmp_path / "second"]
    first, second = together(dataset, outputs, [tiny_clip, tiny_clip])
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert "train: 7, test: 3), embedded with 'tiny-clip'" in first.stdout
    assert "data set" not in second.stdout
    assert not outputs[1].exists()
    for split in COUNTS:
        alone, together_ = (records_of(tmp_path / name, split) for name in ("alone", "first"))
        assert together_[0] == alone[0]
        for ours, expected in zip(together_[1], alone[1], strict=True):
            assert (ours.id, ours.renders) == (expected.id, expected.renders)
            np.testing.assert_allclose(ours.view_embeddings, expected.view_embeddings, atol=1e-3)
            for text, other in zip(ours.texts, expected.texts, strict=True):
                np.testing.assert_allclose(text.original, other.original, atol=1e-3)
    classes = [np.load(tmp_path / name / CLASS_EMBEDDINGS_FILE) for name in ("alone", "first")]
    np.testing.assert_allclose(*classes, atol=1e-5)


def test_hosts_with_different_clips_are_refused(dataset, tiny_clip, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(tiny_clip, other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"remark": "another file"}))
    outputs = [tmp_path / "first", tmp_path / "second"]
    for process in together(dataset, outputs, [tiny_clip, other]):
        assert process.returncode == 2, process.stderr
        assert "is not the same CLIP on all hosts" in process.stderr
