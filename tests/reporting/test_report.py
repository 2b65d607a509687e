"""The report of a run: what is on the page, and what it says where something is missing."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from configs import base
from mixcon3d_jax.data.schema import DatasetCard, Text
from mixcon3d_jax.data.writer import write_dataset
from mixcon3d_jax.errors import InputError
from mixcon3d_jax.evaluation.run import Evaluator
from mixcon3d_jax.evaluation.saved import restore_state
from mixcon3d_jax.exchange.runs import make_run
from mixcon3d_jax.models.mixcon3d import TEMPERATURES
from mixcon3d_jax.reporting import published
from mixcon3d_jax.reporting.class_section import class_accuracies
from mixcon3d_jax.reporting.collect import Choice, collect
from mixcon3d_jax.reporting.page import make_page
from mixcon3d_jax.sharding import make_mesh
from mixcon3d_jax.training.metrics_file import METRICS_FILE
from mixcon3d_jax.training.run_config import EVALUATION_MODES
from mixcon3d_jax.training.workdir import write_config
from tests import generated
from tests.exchange.checkpoints import random_snapshot

ROOT = Path(__file__).resolve().parents[2]
CLASSES = ("<script>alert(1)</script>", "50 $ & 60 $", "a 'b' \"c\"", "椅子")
TEXT = "<img src=x onerror=alert(2)> number"


def write_data(folder: Path) -> Path:
    """A data set whose names and texts would do harm if they were taken for HTML."""
    card = DatasetCard("made", generated.CLIP_ID, 16, 200, 12, CLASSES)
    rng = np.random.default_rng(0)

    def record(index: int):
        plain = generated.make_record(index, "test")
        text = Text(f"{TEXT} {index}", "text", original=rng.normal(size=16))
        named = CLASSES[generated.CLASSES.index(plain.class_name)]
        return dataclasses.replace(plain, class_name=named, texts=(text,))

    records = [record(index) for index in range(24)]
    write_dataset(folder / "data", card, {"test": records}, generated.class_embeddings())
    pointed = [
        dataclasses.replace(each, view_embeddings=np.zeros((0, 16)), texts=()) for each in records
    ]
    card = dataclasses.replace(card, num_views=0)
    write_dataset(folder / "pointed", card, {"test": pointed[:9]}, generated.class_embeddings())
    return folder


@pytest.fixture(scope="module")
def mesh():
    return make_mesh(1, 4, 1, jax.devices()[:4])


@pytest.fixture(scope="module")
def place(tmp_path_factory, mesh):
    """A folder with data and a run that was evaluated, and its config."""
    folder = write_data(tmp_path_factory.mktemp("report"))
    config = generated.small_config(folder / "data")
    with config.unlocked():
        config.eval.benchmarks.modelnet40 = base.benchmark("test", path=str(folder / "pointed"))
    config.eval.retrieval = "held_out"
    workdir = folder / "run"
    make_run(workdir, random_snapshot(config, step=12))
    rows = [
        {"step": step, "loss": 2.0, "learning_rate": 0.1}
        | {f"{term}_{what}": 0.5 for term in TEMPERATURES for what in ("loss", "accuracy")}
        for step in (4, 8, 12)
    ]
    (workdir / METRICS_FILE).write_text("".join(json.dumps(row) + "\n" for row in rows))
    Evaluator(config, workdir, mesh)(*restore_state(config, workdir, mesh))
    return folder, config


DEFAULT = Choice()


def page_of(config, workdir, mesh, choice=DEFAULT):
    found = collect(config, workdir, mesh, choice)
    return found, make_page(found, config, workdir, choice)


@pytest.fixture(scope="module")
def whole(place, mesh):
    folder, config = place
    return page_of(config, folder / "run", mesh)


def test_classes_sum_up_to_the_evaluators_figures(whole, place):
    folder, _ = place
    figures = json.loads((folder / "run" / "eval" / "12.json").read_text())
    found, _ = whole
    checked = 0
    for shown in found.shown:
        labels = shown.benchmark.labels
        for mode, counts in shown.measured.counts.items():
            said = shown.measured.rows["predictions"][mode]["classes"][:, 0]
            classes = class_accuracies(counts)
            right = sum(each.right for each in classes)
            assert right == (said == labels).sum()
            top1 = 100 * right / sum(each.of for each in classes)
            key = f"ema/{shown.benchmark.name}/{mode}"
            assert top1 == pytest.approx(figures[f"{key}/top1"])
            mean = np.mean([each.percent for each in classes])
            assert mean == pytest.approx(figures[f"{key}/class_mean"])
            checked += 1
    assert checked == len(EVALUATION_MODES) + 1


def test_everything_is_on_the_page(whole, place):
    _, page = whole
    folder, _ = place
    figures = json.loads((folder / "run" / "eval" / "12.json").read_text())
    for key in ("ema/held_out/fused/top3", "raw/held_out/text_to_point/median_rank"):
        assert f">{figures[key]:.1f}<" in page
    for text in (
        "Accuracy of each class",
        "Taken for one another",
        "A map of the embeddings",
        "Rightly classified",
        "Wrongly classified",
        "What texts find",
        "config.optim.learning_rate",
        jax.__version__,
    ):
        assert text in page
    # Curves, a map for each benchmark, thumbnails.
    assert page.count("data:image/png;base64,") > 3 + 2 + 24


def test_published_figures_stand_beside_the_benchmark_of_that_name_and_are_marked(whole):
    _, page = whole
    assert page.count("Published figures, not of this run") == 1
    assert page.count(published.PAPER_URL) == 2
    for row in published.ACCURACIES["modelnet40"]:
        assert f"<td>{row.trained_on}</td>" in page
    assert "by number of views" not in page


def test_nothing_is_fetched_and_nothing_given_is_taken_for_html(whole):
    _, page = whole
    assert set(re.findall(r'(?:src|href)="(?!data:image/png|#)([^"]*)', page)) == {
        published.PAPER_URL
    }
    for word in ("url(", "@import", "<script", "<link", "<iframe", "<img src=x"):
        assert word not in page
    for text in ("&lt;script&gt;alert(1)&lt;/script&gt;", "50 $ &amp; 60 $", "椅子",
                 "&lt;img src=x onerror=alert(2)&gt; number 0"):  # fmt: skip
        assert text in page
    assert "default-src &#x27;none&#x27;" in page


def test_shapes_without_views_are_seen_by_points(place, mesh):
    folder, config = place
    found, page = page_of(config, folder / "run", mesh, Choice(mode="fused", weights="raw"))
    assert [(shown.benchmark.name, shown.mode) for shown in found.shown] == [
        ("held_out", "fused"),
        ("modelnet40", "point"),
    ]
    assert found.notes == ["Benchmark modelnet40 can't be seen by fused, so it is by point."]
    assert "by the raw weights, mode fused" in page


@pytest.fixture
def copied(place, tmp_path):
    """A copy of the run, to be spoilt."""
    folder, config = place
    shutil.copytree(folder / "run", tmp_path / "run")
    return config.copy_and_resolve_references(), tmp_path / "run"


def test_without_figures_they_are_measured(copied, place, whole, mesh):
    config, workdir = copied
    folder, _ = place
    figures = json.loads((folder / "run" / "eval" / "12.json").read_text())
    shutil.rmtree(workdir / "eval")
    found, page = page_of(config, workdir, mesh)
    assert "were measured for this page" in " ".join(found.notes)
    [measured] = found.evaluations
    assert measured.figures == pytest.approx(
        {key: value for key, value in figures.items() if key.startswith("ema/")}
    )
    assert ">ema weights<" in page
    assert ">raw weights<" not in page


def test_what_is_missing_is_said_and_left_out(copied, mesh):
    config, workdir = copied
    (workdir / METRICS_FILE).write_text('{"step": 4}\n')
    (workdir / "eval" / "12-num_views=9.json").write_text("[1]")
    config.data.root = "/gone"
    found, page = page_of(config, workdir, mesh)
    notes = "\n".join(found.notes)
    assert "metrics.jsonl is damaged, or of another version" in notes
    assert "Benchmark held_out is left out: /gone holds no finished data set" in notes
    assert "12-num_views=9.json is damaged" in notes
    assert [shown.benchmark.name for shown in found.shown] == ["modelnet40"]
    assert "<h3>held_out</h3>" in page  # its figures are still there


def test_without_a_checkpoint_the_rest_is_shown(copied, mesh):
    config, workdir = copied
    shutil.rmtree(workdir / "checkpoints")
    found, page = page_of(config, workdir, mesh)
    assert "There are no weights" in found.notes[0]
    assert (found.step, found.shown) == (12, [])
    assert "contrastive loss by step" in page
    assert "<h3>held_out</h3>" in page
    for choice in (Choice(step=12), Choice(best=True)):
        with pytest.raises(InputError, match="holds no finished checkpoint"):
            collect(config, workdir, mesh, choice)


def test_a_run_that_has_only_begun(tmp_path, place, mesh):
    _, config = place
    write_config(tmp_path / "run", config)
    found, page = page_of(config, tmp_path / "run", mesh)
    assert found.notes[0] == "There are no reports of a training (no metrics.jsonl)."
    assert found.notes[1].startswith("There are no weights")
    assert len(found.notes) == 2
    assert "none yet" in page


def test_figures_that_are_no_longer_true_are_noted(copied, mesh):
    config, workdir = copied
    path = workdir / "eval" / "12.json"
    figures = json.loads(path.read_text())
    figures["ema/modelnet40/point/top1"] += 1
    path.write_text(json.dumps(figures))
    found, _ = page_of(config, workdir, mesh)
    [note] = found.notes
    assert note.startswith("ema/modelnet40/point/top1 is ")


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "mixcon3d_jax.report", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )


def test_the_command(place):
    folder, _ = place
    done = run(
        f"--workdir={folder / 'run'}",
        f"--output={folder / 'page.html'}",
        "--config.virtual_cpu_devices=2",
        "--only=modelnet40",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith(f"{folder / 'page.html'}: 0.")
    page = (folder / "page.html").read_text()
    assert page.startswith("<!doctype html>")
    assert page.endswith("</html>\n")


def test_bad_input_is_one_message(tmp_path):
    done = run(f"--workdir={tmp_path}")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"{tmp_path} is not a workdir" in done.stderr
