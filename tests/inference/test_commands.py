"""embed, classify, retrieve and probe as a user types them; in this process, on a shared model."""

import csv
import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mixcon3d_jax.inference import preparation
from mixcon3d_jax.inference.classification import unit_rows
from mixcon3d_jax.models.label_files import labels_of
from tests.generated import make_dataset
from tests.inference.shapes import wedge, write_cloud
from tests.use import call, refused

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ("embed", "classify", "retrieve", "probe")
MAINS = {name: importlib.import_module(f"mixcon3d_jax.{name}").main for name in COMMANDS}


@pytest.fixture
def shared(monkeypatch, model):
    """The commands use the one model that is compiled already."""
    for name in COMMANDS:
        monkeypatch.setattr(f"mixcon3d_jax.{name}.model_of", lambda args: model)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A mesh, two clouds, a picture and labels."""
    folder = tmp_path_factory.mktemp("shapes")
    wedge().export(folder / "wedge.glb")
    for seed in range(2):
        write_cloud(folder / f"{seed}.npz", seed)
    Image.fromarray(np.full((8, 8, 3), 99, np.uint8)).save(folder / "grey.png")
    (folder / "names.txt").write_text("ball\nflat_disc\n")
    return folder


@pytest.fixture(scope="module")
def index(folder, model, tmp_path_factory):
    """The folder, embedded."""
    path = tmp_path_factory.mktemp("index") / "index.npz"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mixcon3d_jax.embed.model_of", lambda args: model)
        done = call(MAINS["embed"], "--model=x", "--up-axis=y", f"--output={path}", folder)
    assert done.status == 0, done.err
    return path


def test_embed_writes_what_the_api_gives(model, folder, index):
    with np.load(index, allow_pickle=False) as arrays:
        ids = [str(folder / name) for name in ("0.npz", "1.npz", "wedge.glb")]
        assert arrays["ids"].tolist() == ids
        assert arrays["embeddings"].dtype == np.float32
        expected = unit_rows(model.embed_assets(ids, "y"))
        np.testing.assert_array_equal(arrays["embeddings"], expected)
        assert arrays["model_fingerprint"] == model.weights.fingerprint


@pytest.mark.usefixtures("shared")
def test_embed_leaves_out_a_broken_file_and_ends_with_status_1(folder, tmp_path):
    (tmp_path / "broken.glb").write_text("no")
    files = (folder / "wedge.glb", tmp_path / "broken.glb", folder / "wedge.glb")
    done = call(MAINS["embed"], "--model=x", f"--output={tmp_path / 'a.csv'}", *files)
    assert done.status == 1
    assert f"failed: {tmp_path / 'broken.glb'}" in done.err
    assert "error: 1 of 3 files failed" in done.err
    rows = list(csv.reader((tmp_path / "a.csv").read_text().splitlines()))
    assert rows[0][:3] == ["ids", "paths", "up_axes"]
    assert rows[1] == rows[2]
    done = call(MAINS["embed"], "--model=x", f"--output={tmp_path / 'b.csv'}", files[1])
    assert done.status == 1
    assert not (tmp_path / "b.csv").exists()


@pytest.mark.usefixtures("shared")
def test_a_large_cloud_is_thinned_and_it_is_said(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(preparation.Preparation.__init__, "__defaults__", (0, 200), raising=True)
    arguments = ("--model=x", "--up-axis=y", f"--output={tmp_path / 'a.npz'}", folder / "0.npz")
    done = call(MAINS["embed"], *arguments)
    assert done.status == 0
    assert "0.npz: the cloud has 300 points: 200 of them, at random, are used" in done.err


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize("mode", ["point", "fused"])
def test_classify_ranks_names(model, folder, tmp_path, mode):
    names = f"--labels={folder / 'names.txt'}"
    output = tmp_path / "a.json"
    done = call(
        MAINS["classify"],
        "--model=x",
        names,
        f"--mode={mode}",
        f"--output={output}",
        folder / "wedge.glb",
    )
    assert done.status == 0, done.err
    rows = model.embed_assets([folder / "wedge.glb"], mode=mode)
    found = model.classify(rows, ["ball", "flat_disc"], mode=mode)
    (ranked,) = found.ranked()
    shown = "  ".join(f"{name} {100 * share:.1f} %" for name, share in ranked)
    assert done.out == f"{folder / 'wedge.glb'}  {shown}\n"
    (row,) = json.loads(output.read_text())["rows"]
    assert row["best"] == ranked[0][0]
    np.testing.assert_allclose(row["probabilities"], found.probabilities[0], rtol=1e-5)


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("nowhere.txt", "nowhere.txt can't be read as text"),
        ("no/where", "no/where can't be read as text"),
        ("", "--labels names no class"),
        (" , ", "--labels names no class"),
        ("chair,,table", "--labels: the name of class 1 is empty"),
        ("chair", "'chair' is the only label"),
        ("toy car,toy_car", "--labels names the class 'toy car' more than once"),
    ],
)
def test_labels_that_cannot_be_used(folder, labels, message):
    said = refused(MAINS["classify"], "--model=x", f"--labels={labels}", folder / "wedge.glb")
    assert message in said


def test_labels_are_names_or_a_file(folder):
    assert labels_of(" ball, flat_disc") == ("ball", "flat_disc")
    assert labels_of(str(folder / "names.txt")) == ("ball", "flat_disc")


@pytest.mark.usefixtures("shared")
def test_retrieve_by_every_kind_of_query(model, folder, index, tmp_path):
    output = f"--output={tmp_path / 'found.json'}"
    arguments = ("--model=x", f"--index={index}", "--top=2", output)
    done = call(MAINS["retrieve"], *arguments, "--up-axis=y", f"--shape={folder / '1.npz'}")
    assert done.status == 0, done.err
    lines = done.out.splitlines()
    assert lines[0] == f"{folder / '1.npz'}:"
    assert lines[1] == f"   1  1.000  {folder / '1.npz'}"
    assert len(lines) == 3
    with np.load(index) as arrays:
        shapes, ids = arrays["embeddings"], arrays["ids"]
    for flag, rows in (
        ("--text=a ball", model.embed_text(["a ball"])),
        (f"--image={folder / 'grey.png'}", model.embed_images([folder / "grey.png"])),
    ):
        done = call(MAINS["retrieve"], *arguments, flag)
        assert done.status == 0, done.err
        cosines = (unit_rows(rows) @ shapes.T)[0]
        first = json.loads((tmp_path / "found.json").read_text())["rows"][0]
        assert first["ids"] == ids[cosines.argmax()]
        assert first["cosines"] == pytest.approx(cosines.max(), abs=1e-6)
        assert (first["ranks"], first["queries"]) == (1, flag.split("=")[1])


@pytest.mark.usefixtures("shared")
def test_a_long_query_is_cut_and_it_is_said(index):
    done = call(MAINS["retrieve"], "--model=x", f"--index={index}", f"--text={'chair ' * 1667}")
    assert done.status == 0
    assert done.err.startswith("warning: the text 'chair chair ")
    assert "of 10,002 characters is longer than the CLIP reads" in done.err


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        ("embed", ["--output=a.txt", "a.glb"], "must end in .npz or .json or .csv"),
        (
            "embed",
            ["--output=a.npz", "a.ply"],
            "a.ply: files of this kind don't say which",
        ),
        ("embed", ["--output=a.npz"], "the following arguments are required: FILE"),
        ("retrieve", ["--index=nowhere.npz", "--text=a"], "nowhere.npz: no such file; make it"),
        ("retrieve", ["--index=nowhere.npz"], "one of the arguments --text --image --shape"),
        ("probe", ["--train=/nowhere", "--test=/nowhere"], "/nowhere holds no finished data set"),
        ("probe", ["--train=a", "--test=a", "--shots=0"], "'0' is neither a number of 1 or more"),
        ("probe", ["--train=a", "--test=a", "--shots=1,1"], "'1,1' names a number twice"),
        ("probe", ["--train=a", "--test=a", "--strength=-1"], "'-1' is no positive number"),
    ],
)
def test_what_else_is_refused(command, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in refused(MAINS[command], "--model=x", *arguments)


@pytest.mark.usefixtures("shared")
def test_probe_prints_a_row_for_each_number_of_shots(tmp_path):
    folder = make_dataset(tmp_path / "data", train=20, test=12)
    place = (f"--train={folder}", f"--test={folder}:test", f"--output={tmp_path / 'runs.csv'}")
    done = call(MAINS["probe"], "--model=x", *place, "--shots=1,3,all", "--repeats=2")
    assert done.status == 0, done.err
    lines = [line.split() for line in done.out.splitlines()[-3:]]
    assert [line[:2] for line in lines] == [["1", "4"], ["3", "12"], ["all", "20"]]
    assert [line[-1] for line in lines] == ["0-1", "0-1", "none"]
    rows = list(csv.DictReader((tmp_path / "runs.csv").read_text().splitlines()))
    assert [row["shots"] for row in rows] == ["1", "1", "3", "3", "all"]
    mean = np.mean([float(row["percent"]) for row in rows[2:4]])
    assert lines[1][2] == f"{mean:.1f}"


def test_one_command_as_a_program_of_its_own(export, folder, tmp_path):
    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "mixcon3d_jax.embed", *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=ROOT,
        )

    output = f"--output={tmp_path / 'a.npz'}"
    done = run(f"--model={export}", output, "--workers=1", folder / "wedge.glb")
    assert done.returncode == 0, done.stderr
    assert "1 shape by points, 32 numbers each, by " in done.stdout
    assert "embedding: 100%" in done.stderr
    done = run("--model=/nowhere", output, folder / "wedge.glb")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: /nowhere is no model: neither a workdir")
    done = run("--help")
    assert "python -m mixcon3d_jax.embed --model=runs/my_assets --up-axis=y" in done.stdout
