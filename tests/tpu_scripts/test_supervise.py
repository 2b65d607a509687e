"""The supervisor, with a training that only counts: what it makes of every end a run can have."""

import re
import signal

import pytest

STEPS = "--config.steps=60"


def creations(pod):
    """How often a TPU was asked for."""
    return sum("create" in call for call in pod.cloud.calls())


def launches(pod):
    """How often the training was launched."""
    return sum("worker/launch.sh" in str(call) for call in pod.cloud.calls())


def test_a_preempted_tpu_is_made_again_and_the_run_goes_on(pod):
    pod.cloud.configure(failures=["There is no more capacity in the zone"])
    supervisor = pod.start("supervise", STEPS)
    pod.wait_for_step(15)
    pod.cloud.preempt("pod")
    output, _ = supervisor.communicate(timeout=120)
    assert supervisor.returncode == 0, output
    assert "there is no capacity at the moment" in output
    assert "pod was taken away" in output
    assert "first is finished; the TPU is still there and costs money" in output
    assert re.search(r"^20\d\d-\d\d-\d\d \d\d:\d\d:\d\d launching first", output, re.MULTILINE)
    # A new machine, whose log begins where the checkpoint was.
    start = int(re.search(r"starting from step (\d+)", pod.log())[1])
    assert 15 <= start < 60
    assert (pod.workdir / "checkpoints/60").exists()
    assert creations(pod) == 3


def test_a_preempted_slice_takes_the_queued_resource_with_it(pod):
    pod.set(NUM_SLICES=2, PROVISIONING="queued-spot")
    pod.cloud.configure(workers=1)
    supervisor = pod.start("supervise", STEPS)
    pod.wait_for_step(5, "pod-0")
    pod.cloud.preempt("pod-1", grace=1)
    output, _ = supervisor.communicate(timeout=120)
    assert supervisor.returncode == 0, output
    assert creations(pod) == 2
    assert "in the queue: ACTIVE" in pod.run("status")


def test_a_crash_on_one_worker_stops_the_others_and_launches_again(pod):
    # At first worker 0 never ends by itself, and hears no SIGTERM.
    output = pod.run("supervise", STEPS, "--config.end=15:killed:1:once", "--config.deaf=0")
    assert "ended on some workers only: worker 0 running (-), worker 1 crashed (137)" in output
    assert "worker 0: first did not end within 0.3 s and was killed" in output
    assert "failure 1 of 5 without a newer checkpoint (newest: " in output
    assert pod.log().count("starting from step") == 2
    assert launches(pod) == 2


def test_a_supervisor_that_is_interrupted_and_starts_again_watches_what_runs(pod):
    pod.cloud.configure(workers=1)
    supervisor = pod.start("supervise", "--config.steps=150")
    pod.wait_for_step(5)
    supervisor.send_signal(signal.SIGTERM)
    output, _ = supervisor.communicate(timeout=60)
    assert supervisor.returncode == 130, output
    assert "interrupted; the run and the TPU stay as they are" in output
    assert "worker 0: running" in pod.run("status")
    assert "first is running already" in pod.run("supervise", "--config.steps=150")
    assert launches(pod) == creations(pod) == 1


def test_crashes_without_progress_are_limited(pod):
    pod.cloud.configure(workers=1)
    output = pod.run("supervise", STEPS, "--config.end=15:1:0", MAX_FAILURES=2, status=1)
    assert "failure 2 of 2 without a newer checkpoint (newest: 10)" in output
    assert "giving up after 2 failures in a row" in output
    assert "worker 0| ending with 1" in output
    assert launches(pod) == 2


def test_bad_input_on_some_workers_is_tried_again(pod):
    # As when one crashes at the start, and the others say that it did not come.
    pod.set(PEER_SECONDS=3)
    output = pod.run("supervise", "--config.steps=20", "--config.end=18:2:1:once")
    assert "worker 0 finished (0), worker 1 bad-input (2)" in output
    assert launches(pod) == 2


def test_bad_input_is_not_tried_again(pod):
    pod.cloud.configure(workers=1)
    output = pod.run("supervise", STEPS, "--config.end=1:2:0", status=2)
    assert "worker 0| ending with 2" in output
    assert launches(pod) == 1


@pytest.mark.parametrize("gone", [True, False])
def test_a_tpu_that_somebody_took_away_is_left_so(pod, gone):
    pod.cloud.configure(workers=1)
    supervisor = pod.start("supervise", "--config.steps=100000")
    pod.wait_for_step(1)
    if gone:
        pod.run("delete", "--yes")
    else:
        with pod.cloud.state() as state:
            state["nodes"]["pod"]["state"] = "STOPPED"
    output, _ = supervisor.communicate(timeout=60)
    assert supervisor.returncode == 1, output
    assert "somebody deleted pod" in output if gone else "somebody stopped pod" in output
    assert creations(pod) == 1


def test_failures_to_make_a_tpu_are_limited(pod):
    pod.cloud.configure(failures=["PERMISSION_DENIED"] * 9)
    output = pod.run("supervise", STEPS, MAX_FAILURES=2, status=1)
    assert "giving up after 2 failed attempts to make the TPU" in output
    assert creations(pod) == 2
