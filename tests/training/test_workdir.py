import json

import pytest

from mixcon3d_jax import __version__
from mixcon3d_jax.files import WriteError
from mixcon3d_jax.training.workdir import (
    FORMAT,
    WorkdirError,
    claim_workdir,
    read_config,
    write_config,
)
from tests.generated import small_config

CHECKSUMS = {"cars": "12ab", "index": "34cd"}


def test_a_run_continues_in_its_own_workdir(tmp_path):
    claim_workdir(tmp_path, small_config("here"), CHECKSUMS)
    moved = small_config("elsewhere")  # where the data lies is free to change
    moved.log.every_steps = 99
    claim_workdir(tmp_path, moved, CHECKSUMS)
    assert read_config(tmp_path).log.every_steps == 99


def test_another_config_is_refused_with_its_keys(tmp_path):
    claim_workdir(tmp_path, small_config("here"), CHECKSUMS)
    other = small_config("here")
    other.optim.learning_rate = 0.5
    with pytest.raises(
        WorkdirError, match=r"config\.optim\.learning_rate: 0\.003 there, 0\.5 here"
    ):
        claim_workdir(tmp_path, other, CHECKSUMS)
    assert read_config(tmp_path).optim.learning_rate == 0.003


def test_another_data_set_is_refused(tmp_path):
    claim_workdir(tmp_path, small_config("here"), CHECKSUMS)
    other = {"boats": "56ef", "index": "34cd"}
    with pytest.raises(
        WorkdirError, match="data set, cars: checksum 12ab there, None here"
    ) as info:
        claim_workdir(tmp_path, small_config("here"), other)
    assert "boats: checksum None there, 56ef here" in str(info.value)
    assert "34cd" not in str(info.value)


@pytest.mark.parametrize("name", ["config.json", "dataset.json"])
@pytest.mark.parametrize("content", ["", '{"seed": 0, "op', "[]"])
def test_a_damaged_file_is_named(tmp_path, name, content):
    claim_workdir(tmp_path, small_config("here"), CHECKSUMS)
    (tmp_path / name).write_text(content)
    with pytest.raises(WorkdirError, match=f"{name} is damaged"):
        claim_workdir(tmp_path, small_config("here"), CHECKSUMS)


def test_a_workdir_of_a_newer_program_is_refused_with_both_versions(tmp_path):
    claim_workdir(tmp_path, small_config("here"), CHECKSUMS)
    newer = {"format": FORMAT + 1, "written_by": "mixcon3d_jax 9.1"}
    (tmp_path / "version.json").write_text(json.dumps(newer))
    before = (tmp_path / "config.json").read_bytes()
    message = rf"mixcon3d_jax 9\.1 .workdir format {FORMAT + 1}.*mixcon3d_jax {__version__}, which"
    with pytest.raises(WorkdirError, match=message):
        read_config(tmp_path)
    changed = small_config("here")
    changed.log.every_steps = 99
    with pytest.raises(WorkdirError, match=message):
        claim_workdir(tmp_path, changed, CHECKSUMS)
    assert (tmp_path / "config.json").read_bytes() == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"no version\.json: it was copied in part"),
        ("{", r"version\.json is damaged"),
        ("{}", r"version\.json is damaged"),
    ],
)
def test_a_workdir_without_a_readable_version_is_refused(tmp_path, content, message):
    claim_workdir(tmp_path, small_config("here"), CHECKSUMS)
    (tmp_path / "version.json").unlink()
    if content is not None:
        (tmp_path / "version.json").write_text(content)
    with pytest.raises(WorkdirError, match=message):
        read_config(tmp_path)


def test_a_folder_that_is_no_workdir_is_named(tmp_path):
    with pytest.raises(WorkdirError, match="is not a workdir"):
        read_config(tmp_path)


def test_a_workdir_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match=r"file/run/version\.json can't be written"):
        claim_workdir(tmp_path / "file" / "run", small_config("here"), CHECKSUMS)


def test_imported_weights_are_trained_by_any_run_of_their_model(tmp_path):
    write_config(tmp_path, small_config("nowhere"))
    config = small_config("here")
    config.optim.learning_rate = 0.5
    claim_workdir(tmp_path, config, CHECKSUMS)
    assert read_config(tmp_path).optim.learning_rate == 0.5
    with pytest.raises(
        WorkdirError, match=r"config\.optim\.learning_rate: 0\.5 there, 0\.003 here"
    ):
        claim_workdir(tmp_path, small_config("here"), CHECKSUMS)
    with pytest.raises(WorkdirError, match="data set"):
        claim_workdir(tmp_path, config, {"others": "56ef"})


@pytest.mark.parametrize(
    ("section", "key", "value"), [("model", "head", "mlp"), ("clip", "id", "x")]
)
def test_imported_weights_of_another_model_are_refused(tmp_path, section, key, value):
    write_config(tmp_path, small_config("nowhere"))
    config = small_config("here")
    config[section][key] = value
    with pytest.raises(WorkdirError, match=rf"config\.{section}\.{key}: .* there, '{value}' here"):
        claim_workdir(tmp_path, config, CHECKSUMS)
