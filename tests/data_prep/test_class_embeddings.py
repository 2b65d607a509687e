import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep import class_embeddings, embedding
from data_prep.class_embedding_file import (
    ClassEmbeddingsError,
    read_class_embeddings,
    rows_in_order,
    templates_digest,
)
from data_prep.class_embeddings import main
from mixcon3d_jax.models.clip_folder import ClipFolder
from mixcon3d_jax.models.clip_hub import SMALL
from mixcon3d_jax.models.label_files import LabelsError, read_labels, read_templates
from mixcon3d_jax.models.prompts import PROMPT_TEMPLATES

ROOT = Path(__file__).resolve().parents[2]
LABELS = ["chair", "night_stand", "bow_(weapon)"]


def run(folder, clip, labels=LABELS, templates=None, **options):
    (folder / "labels.json").write_text(json.dumps(labels))
    arguments = [f"--labels={folder / 'labels.json'}", f"--clip={clip}"]
    if templates is not None:
        (folder / "templates.json").write_text(json.dumps(templates))
        arguments.append(f"--templates={folder / 'templates.json'}")
    arguments += [f"--{key}={value}" for key, value in options.items()]
    main([*arguments, f"--output={folder / 'rows.npy'}"])
    return read_class_embeddings(folder / "rows.npy")


def test_the_command_with_the_small_clip(tmp_path):
    (tmp_path / "names.txt").write_text("\n".join(["chair", "", "  toy_car "]))
    output = tmp_path / "new" / "names.npy"
    arguments = [f"--labels={tmp_path / 'names.txt'}", "--clip=small", f"--output={output}"]
    done = subprocess.run(
        [sys.executable, "-m", "data_prep.class_embeddings", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "2 classes in 64 templates" in done.stdout
    assert "embedding prompts: 100%" in done.stderr
    assert sorted(path.name for path in output.parent.iterdir()) == ["names.npy", "names.npy.json"]
    rows = np.load(output)
    clip = ClipFolder.load(SMALL)
    mean = clip.embed_texts([t.format("toy car") for t in PROMPT_TEMPLATES]).mean(axis=0)
    np.testing.assert_allclose(rows[1], mean / np.linalg.norm(mean), atol=1e-5)
    info = json.loads((tmp_path / "new" / "names.npy.json").read_text())
    assert info["labels"] == ["chair", "toy_car"]
    assert info["clip_id"] == clip.id
    assert info["templates_sha256"] == templates_digest(PROMPT_TEMPLATES)


def test_own_templates_and_the_mean_of_unit_embeddings(tmp_path, tiny_clip):
    templates = ["a {}.", "a {} or {0} no {}"]
    rows, info = run(tmp_path, tiny_clip, templates=templates, **{"clip-id": "mine"})
    assert (rows.dtype, rows.shape) == (np.float32, (3, 32))
    clip = ClipFolder.load(tiny_clip)
    filled = ["a night stand.", "a night stand or {0} no night stand"]
    mean = clip.embed_texts(filled).mean(axis=0)
    np.testing.assert_allclose(rows[1], mean / np.linalg.norm(mean), atol=1e-6)
    assert (info.labels, info.clip_id) == (tuple(LABELS), "mine")
    assert info.templates_sha256 == templates_digest(templates)


@pytest.mark.parametrize(
    "change", [{"labels": LABELS[:2]}, {"templates": ["a {}", "the {}"]}, {"clip-id": "other"}]
)
def test_repeated_it_does_nothing_until_something_changes(tmp_path, tiny_clip, change, monkeypatch):
    run(tmp_path, tiny_clip, templates=["a {}"])
    calls = []
    embed = embedding.embed_prompts
    monkeypatch.setattr(
        class_embeddings, "embed_prompts", lambda *given: calls.append(given) or embed(*given)
    )
    run(tmp_path, tiny_clip, templates=["a {}"])
    assert calls == []
    rows, info = run(tmp_path, tiny_clip, **({"templates": ["a {}"]} | change))
    assert len(calls) == 1
    assert len(rows) == len(info.labels)


def test_interrupted_it_continues(tmp_path, tiny_clip, monkeypatch):
    labels = [f"class {index}" for index in range(130)]  # three blocks
    embed_texts, calls = ClipFolder.embed_texts, []

    def count(self, texts, batch_size):
        calls.append(len(texts))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return embed_texts(self, texts, batch_size)

    monkeypatch.setattr(ClipFolder, "embed_texts", count)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, tiny_clip, labels, ["a {}"])
    assert not (tmp_path / "rows.npy").exists()
    rows, _ = run(tmp_path, tiny_clip, labels, ["a {}"])
    assert calls == [64, 64, 2, 2]
    assert rows.shape == (130, 32)
    assert not (tmp_path / "rows.npy.work").exists()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.json", "{}", "no JSON list of strings"),
        ("a.json", "[1]", "no JSON list of strings"),
        ("a.json", "[", "no JSON file"),
        ("a.json", "[]", "names no class"),
        ("a.json", '["a", " "]', "the name of class 1 is empty"),
        ("a.txt", "\n \n", "names no class"),
        ("a.txt", "toy car\nchair\ntoy_car\n", "names the class 'toy car' more than once"),
        ("a.txt", b"\xff\xfe", "can't be read as text"),
        ("absent.txt", None, "can't be read as text"),
    ],
)
def test_labels_that_cannot_be_used(tmp_path, name, content, reason):
    if content is not None:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(LabelsError, match=rf"{name}.* {reason}"):
        read_labels(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "reason"),
    [("[]", "has no template"), ('["a {}", "b"]', "template 1, 'b', has no {}")],
)
def test_templates_that_cannot_be_used(tmp_path, content, reason):
    (tmp_path / "t.json").write_text(content)
    with pytest.raises(LabelsError, match=reason):
        read_templates(tmp_path / "t.json")


def test_an_output_that_is_no_npy_file(tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--labels=a.txt", "--clip=small", f"--output={tmp_path / 'rows.txt'}"])
    assert caught.value.code == 2
    assert "give a file name that ends in .npy" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["missing", "truncated", "exchanged", "no json", "odd json"])
def test_damaged_files(tmp_path, tiny_clip, damage):
    run(tmp_path, tiny_clip, templates=["a {}"])
    path, info = tmp_path / "rows.npy", tmp_path / "rows.npy.json"
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-4])
    elif damage == "exchanged":
        np.save(path, np.zeros((3, 32), np.float32))
    elif damage == "no json":
        info.unlink()
    else:
        info.write_text("[]")
    with pytest.raises(ClassEmbeddingsError, match=r"rows\.npy .*make it again"):
        read_class_embeddings(path)
    run(tmp_path, tiny_clip, templates=["a {}"])


@given(st.permutations(["night_stand", "tv stand", "bed"]))
def test_rows_follow_the_classes(labels):
    rows = np.array([[len(label)] for label in labels])
    classes = ["bed", "night stand", "tv_stand"]
    assert rows_in_order(Path("a.npy"), rows, labels, classes).tolist() == [[3], [11], [8]]


def test_a_class_without_a_row():
    with pytest.raises(ClassEmbeddingsError, match=r"a\.npy has no embedding of 1 of 2 .*'sofa'"):
        rows_in_order(Path("a.npy"), np.zeros((1, 2)), ["bed"], ["bed", "sofa"])
