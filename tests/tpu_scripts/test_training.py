"""The scripts with the real training: a pod of two hosts that is taken away in the middle."""

import shutil

import jax
import numpy as np

from mixcon3d_jax.exchange.runs import read_run
from mixcon3d_jax.training.checkpoint import CHECKPOINTS_FOLDER
from tests.generated import make_dataset
from tests.tpu_scripts.pod import IMAGE, Pod, wait_until

STEPS = 32
# Seconds, on a machine that has other things to do.
PATIENCE = 600
CONFIG_FILE = """
from pathlib import Path
from tests.generated import small_config

def get_config():
    config = small_config(Path({data!r}))
    config.virtual_cpu_devices = 1
    config.optim.epochs = 8.0
    config.checkpoint.every_steps = 8
    config.model.encoder.depth = 1
    with config.unlocked():
        del config.eval.benchmarks["held_out"]
    return config
"""


def test_a_run_of_two_hosts_survives_the_loss_of_its_tpu_bit_for_bit(tmp_path):
    make_dataset(tmp_path / "data")
    config = tmp_path / "config.py"
    config.write_text(CONFIG_FILE.format(data=str(tmp_path / "data")))
    pod = Pod(tmp_path, CONFIG=config)
    # Compiled once, not by each of six processes.
    cache = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled")}
    pod.cloud.configure(environment=IMAGE | cache)
    try:
        supervisor = pod.start("supervise", "--config.seed=3", WATCH_SECONDS=5)
        wait_until(lambda: "compiling the training step" in pod.log(), PATIENCE)
        assert pod.run("status").count(": running, since ") == 2
        checkout = pod.cloud.home("pod", 1) / "mixcon3d_tpu/checkout"
        assert (checkout / "tpu_scripts/env.sh").exists()
        assert not (checkout / ".git").exists()
        # The new machines come with what was installed on these.
        venv = "mixcon3d_tpu/venv"
        shutil.copytree(pod.cloud.home("pod") / venv, tmp_path / "image" / venv, symlinks=True)
        pod.cloud.configure(image=str(tmp_path / "image"))
        wait_until(lambda: (pod.workdir / "checkpoints/8").exists(), PATIENCE)
        pod.cloud.preempt("pod", grace=PATIENCE)
        preempted = pod.log()
        output, _ = supervisor.communicate(timeout=PATIENCE)
        assert supervisor.returncode == 0, output
        assert "first is finished" in output
        assert "2 devices (cpu) of 2 processes" in preempted
        assert "exit status 75" in preempted
        assert "compiling the training step" in pod.log()

        pod.set(WORKDIR=tmp_path / "runs" / "second")
        pod.run("launch", "--config.seed=3")
        wait_until(
            lambda: all("exit status 0" in pod.log(worker=i, run="second") for i in range(2)),
            PATIENCE,
        )
        assert pod.run("status").count(": finished, since ") == 2
    finally:
        with pod.cloud.state() as state:
            for node in list(state["nodes"]):
                pod.cloud.remove_node(state, node)

    first, second = (
        read_run(tmp_path / "runs" / name, None, CHECKPOINTS_FOLDER) for name in ("first", "second")
    )
    assert first.step == second.step == STEPS
    leaves = [jax.tree.leaves(vars(snapshot)) for snapshot in (first, second)]
    for ours, theirs in zip(*leaves, strict=True):
        np.testing.assert_array_equal(ours, theirs)
