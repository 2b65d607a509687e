"""Runs whose workdir is in a bucket, from the first step to figures, through the commands."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from mixcon3d_jax.buckets import as_path
from mixcon3d_jax.errors import InputError
from mixcon3d_jax.exchange.runs import read_run
from mixcon3d_jax.inspect import describe
from mixcon3d_jax.sharding import make_mesh
from mixcon3d_jax.training import loop
from mixcon3d_jax.training.checkpoint import Checkpoints
from mixcon3d_jax.training.metrics_file import read_metrics
from tests.generated import make_dataset, small_config
from tests.test_commands import CONFIG_FILE

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = (
    "--config.optim.epochs=3.0",
    "--config.checkpoint.every_steps=4",
    "--config.data.root=gs://runs/data",
    "--config.data.parts=4",
)


def start(module, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ,
    )


def finish(process) -> tuple[str, str]:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, out + err
    return out, err


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    make_dataset(folder / "data")
    (folder / "config.py").write_text(CONFIG_FILE.format(data=str(folder / "data")))
    with pytest.MonkeyPatch.context() as patch:
        # All runs compile the same.
        patch.setenv("JAX_COMPILATION_CACHE_DIR", str(folder / "compiled"))
        patch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        yield folder / "config.py"


@pytest.fixture(scope="module")
def bucket(cloud_storage, config):
    """Data and workdirs are in it."""
    cloud_storage.buckets["runs"] = {}
    for path in (config.parent / "data").iterdir():
        cloud_storage.put(f"data/{path.name}", path.read_bytes(), "runs")
    return "gs://runs"


def train(config, workdir):
    return start(
        "mixcon3d_jax.train",
        f"--config={config}",
        f"--workdir={workdir}",
        f"--config.data.stage_to={config.parent / 'staged'}",
        *SETTINGS,
    )


@pytest.fixture(scope="module")
def finished(config, bucket):
    """A workdir in which a run went through without a break."""
    workdir = as_path(f"{bucket}/a/run")
    finish(train(config, workdir))
    return workdir


def test_everything_of_a_run_is_in_the_bucket(finished, cloud_storage):
    names = cloud_storage.files("a/run/", "runs")
    for name in (
        "config.json",
        "version.json",
        "dataset.json",
        "curves.png",
        "eval/12.json",
        "eval/settings/12.json",
        "checkpoints/12/commit_success.txt",
    ):
        assert f"a/run/{name}" in names
    rows = names["a/run/metrics.jsonl"].splitlines()
    assert [json.loads(row)["step"] for row in rows] == [4, 8, 12]
    assert not [name for name in names if "tmp" in name]


def test_it_is_evaluated_on_another_host_and_described(finished, cloud_storage, tmp_path):
    out, _ = finish(
        start(
            "mixcon3d_jax.evaluate",
            f"--workdir={finished}",
            "--config.eval.num_views=2",
            f"--config.data.stage_to={tmp_path}",
        )
    )
    assert f"({finished}/eval/12-num_views=2.json)" in out
    assert "a/run/eval/12-num_views=2.json" in cloud_storage.files("a/run/eval/", "runs")
    told = describe(finished)
    assert "4, 8, 12" in told
    assert "12-num_views=2" in told
    assert "12" in describe(finished / "checkpoints" / "12").splitlines()[0]


def test_a_run_killed_while_it_saves_goes_on_from_the_checkpoint_before_it(
    config, bucket, finished, cloud_storage
):
    workdir = as_path(f"{bucket}/a/killed")
    last = "a/killed/checkpoints/8/commit_success.txt"
    cloud_storage.slow[last] = 30.0
    process = train(config, workdir)
    deadline = time.monotonic() + 240
    while not [request for request in cloud_storage.requests if request[2] == last]:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.wait()
    del cloud_storage.slow[last]
    names = cloud_storage.files("a/killed/checkpoints/8/", "runs")
    assert names, "the kill was to come in the middle of a save"
    with Checkpoints(workdir, keep=3, read_only=True) as checkpoints:
        assert checkpoints.steps() == [4]
    out, _ = finish(train(config, workdir))
    assert "continuing from step 4 of 12" in out
    ours, theirs = read_run(workdir), read_run(finished)
    assert (ours.step, theirs.step) == (12, 12)
    for name, array in theirs.raw.items():
        np.testing.assert_array_equal(ours.raw[name], array)
    jax.tree.map(np.testing.assert_array_equal, ours.moments, theirs.moments)
    assert [row["step"] for row in read_metrics(workdir)] == [4, 8, 12]

    # Damaged since: the one before takes its place.
    names = cloud_storage.files("a/killed/checkpoints/12/state/", "runs")
    name = max(names, key=lambda name: len(names[name]))
    cloud_storage.put(name, b"x" + names[name][1:], "runs")
    out, _ = finish(train(config, workdir))
    assert "checkpoints/12 is damaged" in out
    assert "continuing from step 8 of 12" in out
    assert cloud_storage.files("a/killed/damaged/checkpoints-12/state/", "runs")
    with Checkpoints(workdir, keep=3, read_only=True) as checkpoints:
        assert checkpoints.steps() == [4, 8, 12]
        assert checkpoints.newest_sound() == 12


@pytest.mark.parametrize(
    ("workdir", "message"),
    [
        (
            "gs://no-such-bucket/run",
            "The specified bucket does not exist",
        ),
        (
            "gs://forbidden/run",
            "PERMISSION_DENIED: test-account does not",
        ),
        (
            "gs://read-only/run",
            "PERMISSION_DENIED: test-account does not",
        ),
    ],
)
def test_a_bucket_that_cannot_be_used_is_named(config, cloud_storage, workdir, message):
    cloud_storage.buckets |= {"forbidden": {}, "read-only": {}}
    cloud_storage.denied.add("forbidden")
    cloud_storage.denied_writes.add("read-only")
    mesh = make_mesh(1, 1, 2, jax.devices()[:2])
    with pytest.raises(InputError, match=rf"{workdir}/lock\.json can't be written .*{message}"):
        loop.train(small_config(config.parent / "data"), as_path(workdir), mesh, lambda *_: {})
