"""Profiles of a run's steps: which steps, what is in them, and how they end."""

import contextlib
import gzip
import json
import os
import re

import jax
import pytest

from mixcon3d_jax.files import WriteError
from mixcon3d_jax.sharding import make_mesh
from mixcon3d_jax.training import step_profile
from mixcon3d_jax.training.loop import train
from mixcon3d_jax.training.run_config import check_values
from mixcon3d_jax.training.step_profile import ProfileError, StepProfile, profiled_steps
from tests.generated import make_dataset, small_config


class KilledError(Exception):
    """Stands for what ends a run in the middle."""


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """A run of 4 steps that profiles the second and the third."""
    config = small_config(make_dataset(tmp_path_factory.mktemp("data")))
    config.optim.epochs, config.profile, config.model.encoder.depth = 1.0, "1:3", 1
    config.checkpoint.every_steps, config.eval.every_steps = 2, 2
    return config


@pytest.mark.parametrize("text", ["5", "5:3", "3:3", "a:b", "-1:3", "1:", "1:2:3", "1.5:3", "١:٣"])
def test_what_names_no_steps_is_refused(config, text):
    config = config.copy_and_resolve_references()
    config.profile = text
    with pytest.raises(ProfileError, match=r"config\.profile is .* START:STOP"):
        check_values(config)


def test_steps_are_counted_by_the_updates_before_them():
    assert list(profiled_steps("3:5")) == [3, 4]
    assert not profiled_steps("")


@pytest.mark.parametrize("text", ["4:5", "90:120", "3:5"])
def test_steps_beyond_the_end_are_refused_before_anything_is_written(config, text, tmp_path):
    config = config.copy_and_resolve_references()
    config.profile = text
    mesh = make_mesh(1, 1, 1, jax.devices()[:1])
    with pytest.raises(ProfileError, match=f"is '{text}', but the run has 4 steps"):
        train(config, tmp_path / "run", mesh, lambda state, missing: {})
    assert not (tmp_path / "run").exists()


def files(workdir):
    folder = workdir / "profile" / "plugins" / "profile"
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.*"))


def test_a_run_that_is_left_and_continued_profiles_both_parts(config, tmp_path, capfd):
    """And every part of a step is found in them by its name."""
    mesh = make_mesh(1, 1, 1, jax.devices()[:1])
    found, steps = [], []

    def leave_once(state, missing):
        steps.append(int(state.step))
        if len(steps) == 1:
            raise KilledError
        return {}

    # Cached programs have the names of the code that they were compiled from first.
    with jax._src.config.compilation_cache_include_metadata_in_key(True):
        for _ in range(3):
            with contextlib.suppress(KilledError):
                train(config, tmp_path, mesh, leave_once)
            found.append(files(tmp_path))
    assert steps == [2, 2, 4, 4]
    first = ["steps-1-2/process-0.perfetto.json.gz", "steps-1-2/process-0.xplane.pb"]
    second = [name.replace("1-2", "2-3") for name in first]
    assert found == [first, first + second, first + second]
    folder = tmp_path / "profile" / "plugins" / "profile"
    for name in (first[1], second[1]):
        content = (folder / name).read_bytes()
        for scope in (b"augmentation", b"embed", b"losses", b"optimizer", b"ema"):
            assert re.search(rb"[/(]" + scope + rb"[/)]", content), scope
    numbers = [
        event["args"]["step_num"]
        for name in (first[0], second[0])
        for event in json.loads(gzip.decompress((folder / name).read_bytes()))["traceEvents"]
        if event.get("name") == "train"
    ]
    assert numbers == ["1", "2"]
    told = capfd.readouterr().out
    assert f"profile of steps 2 to 3: {folder / 'steps-2-3'}" in told
    assert f"xprof --logdir={tmp_path / 'profile'}" in told
    assert "nothing is profiled: steps 1:3 (config.profile) are done already" in told


def test_a_profile_that_cannot_be_written_does_not_end_the_run(tmp_path, monkeypatch, capsys):
    def full(path, data):
        raise WriteError.of(path, OSError(28, os.strerror(28)))

    monkeypatch.setattr(step_profile, "write_whole", full)
    with StepProfile(tmp_path, range(2, 4)) as profile:
        for step in range(6):
            profile.stop_if_due(step, ())
            profile.start_if_due(step, ())
    assert "no profile of steps 2 to 4: " in (told := capsys.readouterr().out)
    assert "No space left on device" in told
    assert not list(tmp_path.iterdir())


def test_a_profile_goes_to_a_bucket(bucket, cloud_storage, monkeypatch, tmp_path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    with StepProfile(f"{bucket}/run", range(1)) as profile:
        profile.start_if_due(0, ())
        assert profile.stop_if_due(1, ())
    assert not list(temporary.iterdir())
    names = cloud_storage.files("run/", bucket.removeprefix("gs://"))
    assert sorted(names) == [
        f"run/profile/plugins/profile/steps-0-1/process-0.{kind}"
        for kind in ("perfetto.json.gz", "xplane.pb")
    ]
