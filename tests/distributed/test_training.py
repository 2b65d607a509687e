"""Training by several real processes: the same run, whatever their number and mesh."""

import json
import shutil
import signal
import time

import numpy as np
import pytest

from tests.generated import make_dataset
from tests.processes import Run, run, write_config_file

STEPS = 12
# A report after every step; nothing but training.
PLAIN = (
    "--config.optim.epochs=3.0",
    "--config.model.encoder.depth=1",
    "--config.log.every_steps=1",
    "--config.checkpoint.every_steps=4",
    "--config.checkpoint.keep=9",
    "--config.eval.benchmarks.held_out.split=none",
    "--config.eval.benchmarks.held_out.required=False",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a data set, a config file and a run of one process, in `alone`."""
    folder = tmp_path_factory.mktemp("processes")
    make_dataset(folder / "data")
    write_config_file(folder, folder / "data")
    with start(folder, "alone", 1, (4, 1)) as alone:
        assert alone.wait() == [0], alone.logs()
    return folder


def start(folder, name: str, count: int, mesh: tuple[int, int], *flags: str, **settings):
    """`count` processes with four devices in all, in a mesh of `data` x `fsdp`."""
    return run(
        folder / "config.py",
        folder / name,
        (*PLAIN, f"--config.mesh.data={mesh[0]}", f"--config.mesh.fsdp={mesh[1]}", *flags),
        count=count,
        devices=4 // count,
        logs=folder / "logs" / f"{name}-{count}",
        **settings,
    )


def losses(folder, name: str) -> np.ndarray:
    rows = [json.loads(line) for line in (folder / name / "metrics.jsonl").open()]
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    return np.array([row["loss"] for row in rows])


def wait_for(started: Run, text: str, seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while text not in started.log():
        assert time.monotonic() < end, started.logs()
        assert all(process.poll() is None for process in started.processes), started.logs()
        time.sleep(0.05)


def test_the_same_losses_with_4_then_2_then_1_processes_and_other_meshes(place):
    expected = losses(place, "alone")
    with start(place, "moving", 4, (1, 4)) as four:
        assert four.wait() == [0] * 4, four.logs()
    np.testing.assert_allclose(losses(place, "moving"), expected, rtol=1e-5)
    for path in (place / "moving" / "checkpoints").iterdir():
        if int(path.name) > 8:
            shutil.rmtree(path)
    # Without the cache of programs, so that the signal is noticed while they compile.
    with start(place, "moving", 2, (2, 2), environment={"JAX_COMPILATION_CACHE_DIR": ""}) as two:
        wait_for(two, "compiling")
        two.signal(1, signal.SIGTERM)
        assert two.wait() == [75, 75], two.logs()
        assert "continuing from step 8 of 12" in two.log()
        assert "asked to leave at step" in two.log()
        assert "run the same command again" not in two.log(1)
    left = max(int(path.name) for path in (place / "moving" / "checkpoints").iterdir())
    assert 8 < left < STEPS
    with start(place, "moving", 1, (4, 1)) as one:
        assert one.wait() == [0], one.logs()
        assert f"continuing from step {left} of 12" in one.log()
    np.testing.assert_allclose(losses(place, "moving"), expected, rtol=1e-5)


def test_a_process_that_does_not_come_is_named_within_the_time_out(place):
    began = time.monotonic()
    flags = ("--config.distributed.timeout_seconds=12",)
    with start(place, "absent", 2, (2, 2), *flags) as both:
        both.processes[1].kill()
        assert both.processes[0].wait(60) == 69, both.logs()
        assert "process 1 of 2 did not come to localhost:" in both.log()
        assert "Traceback" not in both.log()
    assert time.monotonic() - began < 60
    assert not (place / "absent").exists()


def test_hosts_with_different_configs_are_named(place):
    own = ((), ("--config.optim.learning_rate=0.5",))
    with start(place, "differing", 2, (2, 2), own_flags=own) as both:
        assert both.wait(60) == [2, 2], both.logs()
        for index in range(2):
            assert "config.optim.learning_rate is 0.5, on process 0" in both.log(index)
    assert not (place / "differing").exists()


def test_what_one_process_lacks_ends_all(place):
    own = ((), (f"--config.data.root={place / 'nowhere'}",))
    with start(place, "lacking", 2, (2, 2), own_flags=own) as both:
        assert both.wait(60) == [2, 2], both.logs()
        assert "holds no finished data set" in both.log(1)
        assert "process 1: " in both.log(0)


def test_one_process_that_is_asked_to_leave_saves_first(place):
    with start(place, "leaving", 1, (4, 1)) as alone:
        wait_for(alone, "compiling")
        alone.signal(0, signal.SIGTERM)
        assert alone.wait() == [75], alone.logs()
    assert [path.name for path in (place / "leaving" / "checkpoints").iterdir()] == ["1"]
