"""Set-up, launch, status, logs, stop: what happens on the workers."""

import hashlib
import json
import os
import signal
import stat
import subprocess

import pytest

from tests.tpu_scripts.pod import wait_until

LONG = "--config.steps=100000"


def about(pod, node="pod", worker=0):
    """What the training wrote about itself when it started."""
    path = pod.cloud.home(node, worker) / "about.json"
    wait_until(path.exists)
    return json.loads(path.read_text())


def test_the_first_setup_installs_the_project(first_setup):
    pod, output = first_setup
    assert "worker 0: Python 3." in output
    assert "packages installed" in output
    home = pod.cloud.home("pod") / "mixcon3d_tpu"
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    program = "import mixcon3d_jax; print(mixcon3d_jax.__file__)"
    done = subprocess.run(
        [home / "venv/bin/python", "-c", program], capture_output=True, text=True, cwd="/"
    )
    assert done.stdout.strip() == str(home / "checkout/mixcon3d_jax/__init__.py")


def test_setup_again_changes_only_the_checkout(pod, repository):
    pod.run("create")
    lines = pod.run("setup").splitlines()
    assert [line[:9] for line in sorted(lines)] == ["worker 0:", "worker 1:"]
    assert all("environment unchanged" in line for line in lines)
    stray = pod.cloud.home("pod") / "mixcon3d_tpu/checkout/mixcon3d_jax/train.py"
    stray.write_text("broken")
    pod.run("setup")
    assert stray.read_text() != "broken"


def test_setup_takes_the_commit_that_is_asked_for(pod, repository):
    pod.run("create")
    first = subprocess.run(
        ["git", "-C", repository, "rev-parse", "HEAD"], capture_output=True, text=True
    ).stdout.strip()
    assert first[:12] in pod.run("setup", REF=first)
    assert "has no branch, tag or commit 'nowhere'" in pod.run("setup", REF="nowhere", status=1)


def test_an_image_with_an_old_python_gets_another_from_uv(pod, tmp_path, first_setup):
    programs = tmp_path / "old"
    programs.mkdir()
    venv = first_setup[0].cloud.home("pod") / "mixcon3d_tpu/venv"
    # Says no to the question for its version; `-m pip install uv` and `-m uv venv` are recorded.
    old = f"""#!/bin/sh
echo "$@" >>"$HOME/called"
case "$1 $2" in
  -c*) exit 1 ;;
  "-m uv") cp -R {venv} venv ;;
esac
"""
    for name in ("python3", "python3.11", "python3.12", "python3.13"):
        (programs / name).write_text(old)
        (programs / name).chmod(0o755)
    with pod.cloud.state() as state:
        state["image"], state["workers"] = None, 1
        state["environment"]["PATH_BEFORE"] = f"{programs}:"
    pod.run("create")
    assert "fetching 3.12 with uv" in pod.run("setup")
    called = (pod.cloud.home("pod") / "called").read_text().splitlines()
    assert called[-2:] == [
        "-m pip install --quiet --user uv",
        "-m uv venv --quiet --seed --python 3.12 venv",
    ]
    output = pod.run("setup", PYTHON="python3.12", status=1)
    assert "python3.12 is not Python 3.11 or newer" in output


def test_flags_reach_the_training_as_they_are(pod):
    pod.ready()
    flags = ["--config.steps=100000", '--config.a=it\'s "two words" $HOME `id` \\', "--config.b="]
    pod.run("launch", *flags, "--", "--verbose=a b")
    for worker in range(2):
        assert about(pod, worker=worker)["arguments"] == [
            "--config=configs/some.py",
            f"--workdir={pod.workdir}",
            *flags,
            "--verbose=a b",
        ]


def test_a_run_from_launch_to_stop(pod):
    assert "TPU pod in zone-a: ABSENT" in pod.run("status")
    assert "there is no TPU pod in zone-a; make it with create.sh" in pod.run("setup", status=2)
    pod.run("create")
    assert "worker 1: not set up" in pod.run("status")
    assert "isn't set up; run setup.sh first" in pod.run("launch", status=2)
    pod.run("setup")
    assert "worker 1: not launched" in pod.run("status")
    assert "worker 0: first was not launched here" in pod.run("stop")

    pod.run("launch", LONG)
    pod.wait_for_step(3)
    output = pod.run("status")
    assert "pod: READY, 2 workers" in output
    assert "worker 0: running, since 20" in output
    assert "      step " in output
    assert "first is running on worker 0 of pod" in pod.run("launch", LONG, status=2)
    # Under another name it would need the same chips.
    assert "first is running; stop it first" in pod.run("launch", LONG, RUN="other", status=1)
    assert "first is running; stop it before" in pod.run("setup", status=1)

    other = subprocess.Popen(["sleep", "1000"])
    try:
        output = pod.run("stop")
        assert "worker 0: first stopped, exit status 75" in output
        assert "worker 1: first stopped, exit status 75" in output
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
    assert "worker 1: preempted (exit status 75)" in pod.run("status")
    assert "has ended already" in pod.run("stop")
    assert pod.cloud.processes("pod") == []

    pod.run("launch", "--config.steps=1")
    wait_until(lambda: "exit status 0" in pod.log(worker=0) + pod.log(worker=1))
    wait_until(lambda: pod.run("status").count("finished, since") == 2)
    # The log goes on where it was.
    output = pod.run("logs", "--lines=9")
    assert "worker 0| ending with 75" in output
    assert "worker 1| === " in output
    output = pod.run("logs", "--lines=1", "--worker=1")
    assert output.startswith("worker 1| === ")
    assert "worker 0" not in output


def test_stop_leaves_other_processes_of_a_worker_alone(pod):
    pod.ready()
    pod.run("launch", LONG)
    with pod.cloud.state() as state:
        other = pod.cloud.start(state, "pod", 0, "exec sleep 1000")
    # A recorded number that now belongs to somebody else.
    folder = pod.cloud.home("pod") / "mixcon3d_logs"
    record = (folder / "first/processes").read_text()
    pid, boot, _ = record.splitlines()[0].split()[1:]
    (folder / "older").mkdir()
    (folder / "older/processes").write_text(
        f"wrapper {other.pid} {boot} 1\nprogram {pid} {boot} 1\n"
    )
    assert "older has ended already" in pod.run("stop", RUN="older")
    assert len(pod.cloud.processes("pod", 0)) == 3
    pod.run("stop")
    assert pod.cloud.processes("pod") == [other.pid]
    other.kill()
    other.wait()


def test_stop_kills_what_does_not_end(pod):
    pod.ready()
    pod.run("launch", LONG, "--config.deaf=1")
    pod.wait_for_step(1)
    output = pod.run("stop", GRACE_SECONDS=1)
    assert "worker 0: first stopped, exit status 75" in output
    assert "worker 1: first did not end within 1 s and was killed" in output
    assert pod.cloud.processes("pod") == []
    assert "worker 1: crashed (exit status 137)" in pod.run("status")


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ("2", "stopped by an error in its input (exit status 2)"),
        ("3", "crashed (exit status 3)"),
        ("killed", "crashed (exit status 137)"),
    ],
)
def test_status_says_how_a_run_ended(pod, status, message):
    pod.cloud.configure(workers=1)
    pod.ready()
    pod.run("launch", LONG, f"--config.end=2:{status}:0")
    wait_until(lambda: "=== exit" in pod.log().replace("exit status", "=== exit"))
    assert message in pod.run("status")


def test_a_run_whose_machine_was_started_anew_counts_as_crashed(pod):
    pod.cloud.configure(workers=1)
    pod.ready()
    pod.run("launch", LONG)
    for number in pod.cloud.processes("pod"):
        os.kill(number, signal.SIGKILL)
    wait_until(lambda: not pod.cloud.processes("pod"))
    assert "crashed without a word" in pod.run("status")


def test_several_slices_are_one_run(pod):
    pod.set(NUM_SLICES=2)
    pod.ready()
    pod.run("launch", LONG)
    for index, node in enumerate(("pod-0", "pod-1")):
        for worker in range(2):
            assert about(pod, node, worker)["processes"] == "4", index
    output = pod.run("status")
    assert "in the queue: ACTIVE" in output
    assert output.count(": running, since ") == 4
    assert "worker 0 of pod-1: running" in output
    assert "pod-1, worker 1| " in pod.run("logs", "--lines=2")
    assert "pod-1, worker 1: first stopped" in pod.run("stop")
    assert "--slice=2: slices are counted from 0" in pod.run("logs", "--slice=2", status=2)


SECRET = "key-'with\" $odd `characters`"


def test_secrets_reach_the_training_and_stand_nowhere(pod, tmp_path):
    pod.ready()
    output = pod.run("launch", LONG, WANDB_API_KEY=SECRET)
    output += pod.run("launch", LONG, "--dry-run", WANDB_API_KEY=SECRET)
    assert about(pod, worker=1)["digest"] == hashlib.sha256(SECRET.encode()).hexdigest()
    output += pod.run("status", WANDB_API_KEY=SECRET)
    pod.run("stop")
    assert "key-" not in output
    # Neither in a recorded command line, nor in any file of workers or operator.
    for path in tmp_path.rglob("*"):
        if path.is_file() and "venv" not in path.parts:
            assert b"key-" not in path.read_bytes(), path
    assert [call for call in pod.cloud.calls() if "scp" in call and "variables" in str(call)]


def test_the_file_of_secrets_is_readable_by_its_owner_only(pod):
    pod.ready()
    # The run is refused, so nobody reads the file; it has to go all the same.
    pod.run("launch", LONG, RUN="other")
    home = pod.cloud.home("pod") / "mixcon3d_tpu"
    (home / "variables.probe").touch()
    pod.run("launch", LONG, status=1, WANDB_API_KEY=SECRET)
    assert [path.name for path in home.glob("variables.*")] == ["variables.probe"]
    command = pod.run("launch", "--dry-run", WANDB_API_KEY=SECRET).splitlines()[0]
    assert command.startswith("(umask 077 && declare -p WANDB_API_KEY >")
