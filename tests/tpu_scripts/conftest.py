"""What the tests of the scripts share: a project to run, and workers that have it."""

import shutil
from pathlib import Path

import pytest

from tests.tpu_scripts.pod import FAKE_PROJECT, Pod, git


@pytest.fixture(scope="session")
def repository(tmp_path_factory) -> Path:
    """A git repository that workers can clone, with a training that only counts."""
    folder = tmp_path_factory.mktemp("repository") / "project"
    shutil.copytree(FAKE_PROJECT, folder, ignore=shutil.ignore_patterns("__pycache__"))
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=first")
    return folder


@pytest.fixture(scope="session")
def first_setup(tmp_path_factory, repository) -> tuple[Pod, str]:
    """A pod of one worker after its first set-up from nothing, and what setup.sh said."""
    pod = Pod(tmp_path_factory.mktemp("first"), REPO=repository)
    pod.cloud.configure(workers=1)
    pod.run("create")
    return pod, pod.run("setup")


@pytest.fixture
def pod(tmp_path, repository, first_setup):
    """A pod whose workers come with an environment; nothing of it is left running."""
    made = Pod(tmp_path, REPO=repository)
    made.cloud.configure(image=str(first_setup[0].cloud.home("pod")))
    yield made
    with made.cloud.state() as state:
        for node in list(state["nodes"]):
            made.cloud.remove_node(state, node)
