"""The scripts as text, what they print and refuse, and which gcloud commands they say and run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tpu_scripts.pod import NAMES, SCRIPTS, Pod

FILES = sorted(SCRIPTS.rglob("*.sh"))
QUEUE = {"PROVISIONING": "queued"}


@pytest.fixture
def pod(tmp_path):
    made = Pod(tmp_path)
    yield made
    with made.cloud.state() as state:
        for node in list(state["nodes"]):
            made.cloud.remove_node(state, node)


def test_shellcheck_has_nothing_to_say():
    # Not found beside the interpreter if the environment was made in another way.
    beside = Path(sys.executable).with_name("shellcheck")
    program = beside if beside.exists() else shutil.which("shellcheck")
    assert program, "shellcheck is missing: pip install --editable '.[dev]'"
    done = subprocess.run([program, *FILES], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SCRIPTS)))
def test_a_script_stops_at_an_error_and_fits_a_screen_line(path):
    text = path.read_text()
    assert max(map(len, text.splitlines())) <= 100
    is_program = text.startswith("#!/usr/bin/env bash\n")
    assert os.access(path, os.X_OK) == is_program
    if is_program:
        assert re.search(r"^set -e?uo pipefail$", text, re.MULTILINE)


@pytest.mark.parametrize("name", NAMES)
def test_help_says_how_a_script_is_called(pod, name):
    output = pod.run(name, "--help", PROJECT_ID="")
    assert f"{name}.sh [" in output
    assert "#" not in output
    assert pod.cloud.calls() == []


def test_words_are_quoted_as_shells_read_them(tmp_path):
    words = ["", "plain", "a b", "it's", '"', "$HOME", "`id`", "\\", "\\\\'", "*", "a\nb", "~", "&"]
    script = f'. {SCRIPTS / "lib/commands.sh"}; quoted "$@"'
    done = subprocess.run(["bash", "-c", script, "-", *words], capture_output=True, text=True)
    program = "import json, sys; print(json.dumps(sys.argv[1:]))"
    for shell in ("bash", "sh"):
        command = f"{sys.executable} -c '{program}' {done.stdout}"
        read = subprocess.run([shell, "-c", command], capture_output=True, text=True)
        assert eval(read.stdout) == words


def test_the_page_names_scripts_and_settings_that_exist():
    page = (SCRIPTS.parent / "docs" / "tpu_pods.md").read_text()
    named = set(re.findall(r"\b(\w+)\.sh\b(?!/)", page))
    assert named - {"env"} == set(NAMES)
    settings = (SCRIPTS / "env.sh").read_text()
    # What is set, and what stands alone in backticks.
    variables = set(re.findall(r"\b([A-Z][A-Z_]+)=", page)) | set(re.findall(r"`([A-Z_]+)`", page))
    assert sorted(name for name in variables if name not in settings) == []


@pytest.mark.parametrize(
    ("settings", "command"),
    [
        ({}, "tpu-vm create pod --accelerator-type=v4-32 --version=tpu-ubuntu2204-base"),
        (
            {"PROVISIONING": "spot", "CREATE_FLAGS": "--network=mine"},
            "tpu-vm create pod --accelerator-type=v4-32 --version=tpu-ubuntu2204-base --spot "
            "--network=mine",
        ),
        (
            QUEUE,
            "queued-resources create pod --accelerator-type=v4-32 "
            "--runtime-version=tpu-ubuntu2204-base --node-id=pod --async",
        ),
        (
            {"PROVISIONING": "queued-spot", "NUM_SLICES": 3, "ACCELERATOR_TYPE": "v5litepod-16"},
            "queued-resources create pod --accelerator-type=v5litepod-16 "
            "--runtime-version=tpu-ubuntu2204-base --node-count=3 --node-prefix=pod --spot --async",
        ),
        (
            {"PROVISIONING": "spot", "NUM_SLICES": 2},
            "queued-resources create pod --accelerator-type=v4-32 "
            "--runtime-version=tpu-ubuntu2204-base --node-count=2 --node-prefix=pod --spot --async",
        ),
    ],
)
def test_create_asks_for_what_the_settings_say_and_waits_for_it(pod, settings, command):
    pod.set(**settings)
    pod.run("create")
    expected = f"compute tpus {command} --zone=zone-a --project=project".split()
    creations = [call for call in pod.cloud.calls() if "create" in call]
    assert [sorted(call) for call in creations] == [sorted(expected)]
    with pod.cloud.state() as state:
        assert {node["state"] for node in state["nodes"].values()} == {"READY"}
        assert len(state["nodes"]) == int(settings.get("NUM_SLICES", 1))
    assert "READY" in pod.run("create")
    assert len([call for call in pod.cloud.calls() if "create" in call]) == 1
    pod.run("delete", "--yes")
    with pod.cloud.state() as state:
        assert state["nodes"] == state["queued"] == {}


def test_create_tells_a_full_zone_from_other_failures(pod):
    full = 'There is no more capacity in the zone "zone-a"'
    pod.cloud.configure(failures=[full, "Quota limit of capacity reached", "PERMISSION_DENIED"])
    assert full in pod.run("create", status=75)
    pod.run("create", status=1)
    assert "PERMISSION_DENIED" in pod.run("create", status=1)
    pod.run("create")
    pod.cloud.preempt("pod")
    assert "was taken away; delete it with delete.sh first" in pod.run("create", status=2)
    assert "pod: PREEMPTED" in pod.run("status")
    assert "was taken away; delete it with delete.sh and" in pod.run("launch", status=2)


def test_delete_asks_first(pod):
    pod.run("create")
    assert "nothing was deleted" in pod.run("delete", status=1)
    # Made in another way than the settings now say, it would go on costing money.
    assert "there is a TPU of that name" in pod.run("delete", "--yes", status=2, **QUEUE)
    process = pod.start("delete")
    process.kill()
    with pod.cloud.state() as state:
        assert list(state["nodes"]) == ["pod"]
    yes = f"yes | {SCRIPTS / 'delete.sh'}"
    subprocess.run(["bash", "-c", yes], env=pod.environment, check=True, capture_output=True)
    with pod.cloud.state() as state:
        assert state["nodes"] == {}
    assert "there is no TPU pod in zone-a" in pod.run("delete", "--yes")


@pytest.mark.parametrize("slices", [1, 2])
def test_a_dry_run_prints_what_would_run_and_runs_nothing(pod, slices, tmp_path):
    pod.set(NUM_SLICES=slices, REPO="https://example.com/it.git", TMPDIR=tmp_path)
    secret = {"WANDB_API_KEY": "key-'x"}
    printed = pod.run("supervise", "--dry-run", "--config.a=b c", **secret)
    printed += pod.run("stop", "--dry-run") + pod.run("logs", "--dry-run")
    printed += pod.run("delete", "--dry-run")
    assert pod.cloud.calls() == []
    # What is printed can be pasted; the workers lack the repository, so set-up fails there.
    subprocess.run(
        ["bash", "-c", printed],
        env=pod.environment | secret,
        capture_output=True,
    )
    calls = [" ".join(call[2:4]) for call in pod.cloud.calls()]
    create = ["queued-resources create"] if slices > 1 else ["tpu-vm create"]
    describe = ["queued-resources describe"] * (slices > 1) + ["tpu-vm describe"] * slices
    each = {verb: [f"tpu-vm {verb}"] * slices for verb in ("scp", "ssh")}
    delete = [create[0].replace("create", "delete")]
    setup = launch = [*each["scp"], *each["ssh"]]
    stop = logs = each["ssh"]
    assert calls == [*create, *setup, *launch, *describe, *each["ssh"], *stop, *logs, *delete]
    commands = [call for call in pod.cloud.calls() if "ssh" in call]
    assert "'--config.a=b c'" in str(commands[slices])


@pytest.mark.parametrize(
    ("script", "arguments", "settings", "message"),
    [
        ("create", [], {"PROJECT_ID": ""}, "PROJECT_ID is empty: set it in tpu_scripts/env.sh"),
        ("create", [], {"NUM_SLICES": "two"}, "NUM_SLICES is 'two'"),
        ("create", [], {"NUM_SLICES": "0"}, "NUM_SLICES is '0'"),
        ("create", [], {"PROVISIONING": "cheap"}, "PROVISIONING is 'cheap'; it has to be"),
        ("create", [], {"CREATE_SECONDS": "1m"}, "CREATE_SECONDS is '1m'"),
        ("create", ["--dryrun"], {}, "create.sh has no option '--dryrun' (see --help)"),
        ("setup", [], {"WORKER_DIR": "../x"}, "WORKER_DIR is '../x'"),
        ("setup", [], {"REPO": "https://me:pass@example.com/x"}, "holds a name or password"),
        ("launch", [], {"CONFIG": ""}, "CONFIG is empty"),
        ("launch", [], {"WORKDIR": ""}, "WORKDIR is empty"),
        ("launch", [], {"WORKDIR": "runs/first"}, "which would lie in the workers' checkout"),
        ("launch", [], {"WORKDIR": "gs://b/my run"}, "RUN is 'my run'; it names a folder"),
        ("launch", ["--confg.a=1"], {}, "launch.sh has no option '--confg.a=1'"),
        ("supervise", ["--confg.a=1"], {}, "launch.sh has no option '--confg.a=1'"),
        ("launch", ["--dry-run"], {"PASS_VARIABLES": "A=1"}, "which is no variable's name"),
        ("supervise", [], {"MAX_FAILURES": "no"}, "MAX_FAILURES is 'no'"),
        ("logs", ["--lines=x"], {}, "'x' has to be a whole number"),
        ("stop", [], {"TPU_NAME": "other"}, "there is no TPU other in zone-a; make it with"),
        ("delete", ["-y"], {}, "delete.sh has no option '-y'"),
    ],
)
def test_bad_input_is_named(pod, script, arguments, settings, message):
    assert message in pod.run(script, *arguments, status=2, **settings)
    assert not [call for call in pod.cloud.calls() if "create" in call]
