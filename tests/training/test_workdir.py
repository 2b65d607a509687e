import dataclasses

import pytest

from mixcon3d_jax.data.schema import DatasetCard
from mixcon3d_jax.files import WriteError
from mixcon3d_jax.training.workdir import WorkdirError, claim_workdir, read_config
from tests.generated import small_config

CARD = DatasetCard("d", "clip", 16, 200, 12, ("a", "b"), {"train": 64}, {"d-train": 1000})


def test_a_run_continues_in_its_own_workdir(tmp_path):
    claim_workdir(tmp_path, small_config("here"), CARD)
    moved = small_config("elsewhere")  # where the data lies is free to change
    moved.log.every_steps = 99
    claim_workdir(tmp_path, moved, CARD)
    assert read_config(tmp_path).log.every_steps == 99


def test_another_config_is_refused_with_its_keys(tmp_path):
    claim_workdir(tmp_path, small_config("here"), CARD)
    other = small_config("here")
    other.optim.learning_rate = 0.5
    with pytest.raises(
        WorkdirError, match=r"config\.optim\.learning_rate: 0\.003 there, 0\.5 here"
    ):
        claim_workdir(tmp_path, other, CARD)
    assert read_config(tmp_path).optim.learning_rate == 0.003


def test_another_data_set_is_refused(tmp_path):
    claim_workdir(tmp_path, small_config("here"), CARD)
    larger = dataclasses.replace(CARD, splits={"train": 65})
    with pytest.raises(WorkdirError, match=r"data set, splits: {'train': 64} there, {'train': 65}"):
        claim_workdir(tmp_path, small_config("here"), larger)


@pytest.mark.parametrize("name", ["config.json", "dataset.json"])
@pytest.mark.parametrize("content", ["", '{"seed": 0, "op', "[]"])
def test_a_damaged_file_is_named(tmp_path, name, content):
    claim_workdir(tmp_path, small_config("here"), CARD)
    (tmp_path / name).write_text(content)
    with pytest.raises(WorkdirError, match=f"{name} is damaged"):
        claim_workdir(tmp_path, small_config("here"), CARD)


def test_a_folder_that_is_no_workdir_is_named(tmp_path):
    with pytest.raises(WorkdirError, match="is not a workdir"):
        read_config(tmp_path)


def test_a_workdir_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match=r"file/run/dataset\.json can't be written"):
        claim_workdir(tmp_path / "file" / "run", small_config("here"), CARD)
