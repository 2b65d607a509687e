import json
import shutil
import threading

import jax
import numpy as np
import pytest

from mixcon3d_jax.data.order import EpochOrder
from mixcon3d_jax.data.schema import SchemaError
from mixcon3d_jax.data.source import open_split
from mixcon3d_jax.distributed.compilation import CompiledTogether
from mixcon3d_jax.evaluation.run import Evaluator, open_benchmarks
from mixcon3d_jax.sharding import MeshError, make_mesh
from mixcon3d_jax.training import loop
from mixcon3d_jax.training.checkpoint import CheckpointError, Checkpoints
from mixcon3d_jax.training.divergence import DivergenceError
from mixcon3d_jax.training.loop import train
from mixcon3d_jax.training.optimizer import make_optimizer
from mixcon3d_jax.training.run_config import step_config
from mixcon3d_jax.training.state import initial_state
from mixcon3d_jax.training.workdir import WorkdirError, write_config
from tests.generated import make_dataset, small_config


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def mesh():
    return make_mesh(1, 1, 2, jax.devices()[:2])


def run(config, workdir, mesh):
    return train(config, workdir, mesh, Evaluator(config, workdir, mesh))


@pytest.fixture(scope="module")
def finished(data, mesh, tmp_path_factory):
    """A whole run: its workdir and final state."""
    workdir = tmp_path_factory.mktemp("finished")
    config = small_config(data)
    config.optim.epochs = 15.0
    return workdir, run(config, workdir, mesh)


class KilledError(Exception):
    """Stands for the end of a process in the middle of a run."""


def test_shapes_whose_form_says_their_class_are_classified(finished):
    figures = json.loads((finished[0] / "eval" / "60.json").read_text())
    for which in ("ema", "raw"):
        assert figures[f"{which}/held_out/point/count"] == 24
        # 4 classes; ball and shell look alike to a hasty model, chance is 25.
        assert figures[f"{which}/held_out/point/top1"] > 60
        assert figures[f"{which}/held_out/sum/top1"] > 90
    assert set(key.split("/")[2] for key in figures) == {
        "point", "image", "image_multiview", "fused", "fused_multiview", "sum",
    }  # fmt: skip


def test_a_run_leaves_metrics_curves_and_checkpoints(finished):
    workdir, _ = finished
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(4, 61, 4))
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert (workdir / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert (workdir / "checkpoints" / "60").is_dir()


def test_an_interrupted_run_ends_with_the_same_bits(data, mesh, finished, tmp_path):
    config = small_config(data)
    config.optim.epochs = 15.0
    config.eval.every_steps = 20

    def interrupt(state, missing):
        raise KilledError

    with pytest.raises(KilledError):
        train(config, tmp_path, mesh, interrupt)
    config.eval.every_steps = 0
    state = run(config, tmp_path, mesh)
    for ours, theirs in zip(jax.tree.leaves(state), jax.tree.leaves(finished[1]), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    steps = [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").open()]
    assert steps == sorted(set(steps))
    assert steps[-1] == 60


def test_a_finished_run_is_only_evaluated_again(data, mesh, finished):
    workdir, state = finished
    config = small_config(data)
    config.optim.epochs = 15.0
    again = run(config, workdir, mesh)
    for ours, theirs in zip(jax.tree.leaves(again), jax.tree.leaves(state), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_shuffled_targets_teach_nothing_about_shapes(data, mesh, tmp_path):
    config = small_config(data)
    config.optim.epochs = 15.0
    config.data.shuffle_targets = True
    run(config, tmp_path, mesh)
    figures = json.loads((tmp_path / "eval" / "60.json").read_text())
    assert figures["ema/held_out/point/top1"] < 55


def test_a_benchmark_that_cannot_be_opened_stops_the_run_before_it_starts(data, mesh, tmp_path):
    config = small_config(data)
    config.eval.benchmarks.held_out.split = "tets"
    with pytest.raises(SchemaError, match="no split 'tets'"):
        run(config, tmp_path, mesh)
    config.eval.benchmarks.held_out.required = False
    assert open_benchmarks(config) == []
    config.eval.benchmarks.held_out.path = "no/such/folder"
    assert open_benchmarks(config) == []


def test_another_data_set_does_not_continue_a_run(data, mesh, finished, tmp_path):
    config = small_config(make_dataset(tmp_path / "larger", train=80))
    config.optim.epochs = 15.0
    with pytest.raises(WorkdirError, match="data set, generated: checksum"):
        run(config, finished[0], mesh)


def test_nothing_waits_for_the_device_between_two_reports(data, mesh, tmp_path, monkeypatch):
    """No value is read and nothing is waited for, but where something is said, saved or judged."""
    config = small_config(data)
    config.optim.epochs, config.checkpoint.every_steps, config.eval.every_steps = 15.0, 0, 12
    done, waited = [], set()

    class Counted(CompiledTogether):
        def __call__(self, *arguments):
            done.append(super().__call__(*arguments))
            return done[-1]

    def noted(function):
        def wrapped(*arguments):
            if threading.current_thread() is threading.main_thread():
                waited.add(len(done))
            return function(*arguments)

        return wrapped

    def leave(state, missing):
        raise KilledError

    array = type(jax.numpy.zeros(()))
    monkeypatch.setattr(loop, "CompiledTogether", Counted)
    monkeypatch.setattr(array, "_value", property(noted(array._value.fget)))
    monkeypatch.setattr(array, "block_until_ready", noted(array.block_until_ready))
    monkeypatch.setattr(jax, "block_until_ready", noted(jax.block_until_ready))
    with pytest.raises(KilledError):
        train(config, tmp_path, mesh, leave)
    assert waited == {0, 1, 4, 8, 12}


def test_speed_leaves_out_compiling(finished):
    rows = [json.loads(line) for line in (finished[0] / "metrics.jsonl").open()]
    speeds = [row["clouds_per_second"] for row in rows]
    assert speeds[0] < 3 * max(speeds[1:])


def test_data_of_another_clip_is_refused_with_both_names(data, mesh, tmp_path):
    config = small_config(data)
    config.clip.id = "another-clip"
    with pytest.raises(SchemaError, match=r"generated-clip.*another-clip"):
        run(config, tmp_path, mesh)
    assert not list(tmp_path.iterdir())


def test_micro_batches_that_do_not_fit_stop_the_run_before_it_starts(data, mesh, tmp_path):
    config = small_config(data)
    config.optim.accum_steps = 5
    with pytest.raises(MeshError, match=r"config\.optim\.accum_steps is 5"):
        run(config, tmp_path / "run", mesh)
    assert not (tmp_path / "run").exists()


def test_the_weights_with_the_best_figure_are_kept(data, mesh, tmp_path, finished):
    config = small_config(data)
    config.optim.epochs, config.eval.every_steps = 6.0, 8
    config.checkpoint.best_by = "ema/held_out/point/top1"
    figures = {8: 10.0, 16: 30.0, 24: 20.0}

    def evaluate(state, missing):
        return {"ema/held_out/point/top1": figures[int(state.step)]}

    train(config, tmp_path, mesh, evaluate)
    with Checkpoints(tmp_path, keep=1, folder="best") as best:
        assert best.newest_sound() == 16
        kept = best.meta()["best"]
        assert (kept["figure"], kept["value"]) == ("ema/held_out/point/top1", 30.0)
    assert not (finished[0] / "best").exists()


def test_figures_over_several_seeds(data, mesh, finished):
    workdir, state = finished
    config = small_config(data)
    config.eval.num_seeds = 3
    figures = Evaluator(config, workdir, mesh)(state)
    singles = []
    for seed in range(3):
        config.eval.num_seeds, config.eval.seed = 1, seed
        singles.append(Evaluator(config, workdir, mesh)(state)["ema/held_out/point/top1"])
    assert figures["ema/held_out/point/top1"] == pytest.approx(np.mean(singles))
    assert figures["ema/held_out/point/top1_std"] == pytest.approx(np.std(singles, ddof=1))
    assert figures["ema/held_out/point/count"] == 24


def test_a_report_after_the_first_step_has_no_speed_yet(data, mesh, tmp_path, capsys):
    config = small_config(data)
    config.optim.epochs, config.log.every_steps = 0.5, 1
    train(config, tmp_path, mesh, lambda state, missing: {})
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
    assert ["clouds_per_second" in row for row in rows] == [False, True]
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("step ")]
    assert ["left" in line for line in lines] == [False, True]


def test_a_checkpoint_beyond_the_end_of_the_run_is_refused(data, mesh, finished):
    config = small_config(data)
    config.optim.epochs = 5.0
    other = finished[0].parent / "shortened"
    shutil.copytree(finished[0], other)
    (other / "dataset.json").unlink()
    with pytest.raises(CheckpointError, match="of step 60, beyond the 20 steps of this run"):
        run(config, other, mesh)


@pytest.mark.parametrize(("frozen", "expected"), [("fusion/.*", ("fusion",)), ("", ())])
def test_what_an_import_lacked_means_nothing_until_it_is_trained(
    data, mesh, tmp_path, frozen, expected
):
    config = small_config(data)
    config.optim.epochs = 1.0
    config.optim.frozen = frozen
    write_config(tmp_path, config)
    step = step_config(config, num_records=64)
    state = initial_state(step.model, make_optimizer(step.optimizer), mesh, seed=0)
    with Checkpoints(tmp_path, keep=1) as checkpoints:
        checkpoints.save(state, {"missing": ["fusion"]})
    told = []
    train(config, tmp_path, mesh, lambda state, missing: told.append(missing) or {})
    assert told == [expected]
    with Checkpoints(tmp_path, keep=1) as checkpoints:
        assert tuple(checkpoints.meta().get("missing", ())) == expected


def test_a_loss_that_is_no_number_stops_the_run_and_leaves_its_batch(data, mesh, tmp_path):
    config = small_config(data)
    config.optim.learning_rate, config.optim.warmup_epochs = 1e30, 0.0
    config.checkpoint.every_steps, config.log.every_steps = 1, 50
    with pytest.raises(
        DivergenceError, match=r"the loss of step \d+ is no number .*diverged-"
    ) as info:
        run(config, tmp_path, mesh)
    (path,) = tmp_path.glob("diverged-*.json")
    assert path.name in str(info.value)
    found = json.loads(path.read_text())
    assert not np.isfinite(float(found["metrics"]["loss"]))
    batch, count = config.optim.batch_size, 64
    rows = found["step"] * batch + np.arange(batch)
    order = EpochOrder(count, config.seed)
    expected = [open_split(data, "train")[order[int(row)]]["id"].decode() for row in rows]
    assert found["ids"] == expected
    saved = sorted(int(path.name) for path in (tmp_path / "checkpoints").iterdir())
    assert saved == list(range(1, found["step"] + 1))[-3:]


def test_the_same_losses_on_8_devices_then_4_then_1(data, finished, tmp_path):
    config = small_config(data)
    config.optim.epochs, config.eval.every_steps = 15.0, 8

    for stop, sizes in ((8, (2, 2, 2)), (16, (1, 2, 2)), (24, (1, 1, 1))):

        def interrupt(state, missing, stop=stop):
            if int(state.step) == stop:
                raise KilledError
            return {}

        with pytest.raises(KilledError):
            train(config, tmp_path, make_mesh(*sizes, jax.devices()[: np.prod(sizes)]), interrupt)
    found, expected = (
        {row["step"]: row["loss"] for row in map(json.loads, (workdir / "metrics.jsonl").open())}
        for workdir in (tmp_path, finished[0])
    )
    for step in (4, 8, 12, 16, 20):
        assert found[step] == pytest.approx(expected[step], rel=1e-5), step
