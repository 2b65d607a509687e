"""The reference numbers hold, and the check of them notices when something is off."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests import golden_check

OURS = Path(__file__).parent / "reference" / "mixcon3d"
FILES = {"config.json", "init.npz", "batches.npz", "expected.npz", "final.npz"}
LAYER = "state_dict/ppat.transformer.layers.1."


def failed_checks(printed: str) -> set[str]:
    """The names of failed checks; every line must be one check."""
    rows = [line.split(" error ") for line in printed.splitlines()]
    assert rows
    assert all(len(row) == 2 and row[0][:5] in ("ok   ", "FAIL ") for row in rows), printed
    return {name[5:].strip() for name, _ in rows if name.startswith("FAIL")}


def test_the_reference_of_the_mirror_holds(capsys):
    assert golden_check.run(OURS) == 0
    printed = capsys.readouterr().out
    assert failed_checks(printed) == set()
    assert len(printed.splitlines()) >= 20


def test_the_reference_of_the_original_holds(golden_folders):
    folders = [f for f in golden_folders.iterdir() if {p.name for p in f.glob("*")} >= FILES]
    assert folders
    assert [(f.name, golden_check.run(f)) for f in folders] == [(f.name, 0) for f in folders]


def test_each_number_that_is_off_fails_its_own_check_alone(tmp_path, capsys):
    folder = shutil.copytree(OURS, tmp_path / "copy")
    expected, final = dict(np.load(folder / "expected.npz")), dict(np.load(folder / "final.npz"))
    expected["fps_idx"][-1, -1] += 1
    expected["ball_idx"][-1, -1, -1] += 1
    expected["sa_features"][0, 0, 0] += 1e-3
    expected["eval_pc_feat"][-1, -1] = np.nan
    expected["grad/" + LAYER + "1.fn.net.3.bias"] *= -1
    expected["grad/pc_img_proj/weight"] *= 1.01
    del expected["grad/text_proj/bias"]
    expected["trajectory"][5, 0] *= 1.001
    expected["trajectory"][-1, 4] *= 1.001
    final[LAYER + "1.norm.weight"] *= 1.01
    final["ema_state_dict/ppat.sa.mlp_bns.2.running_var"] *= 1.01
    np.savez(folder / "expected.npz", **expected)
    np.savez(folder / "final.npz", **final)

    failures = golden_check.run(folder)
    assert failed_checks(capsys.readouterr().out) == {
        "farthest point indices",
        "ball query indices",
        "set abstraction, sa_features",
        "encoder output, eval_pc_feat",
        "gradients, state_dict",
        "gradients, pc_img_proj",
        "parameters without a golden gradient",
        "trajectory, learning rate (relative)",
        "trajectory, image_text_loss (relative)",
        "final weights (relative L2)",
        "ema weights (relative L2)",
    }
    assert failures == 11


@pytest.mark.parametrize(
    "key",
    ["ppat.sa.mlp_convs.1.weight", "ppat.sa.mlp_bns.0.running_var", "ppat.cls_token", "proj.bias"],
)
def test_one_perturbed_weight_is_noticed(capsys, key):
    golden, report = golden_check.Golden(OURS), golden_check.Report()
    path = golden_check.from_pytorch("state_dict", key)
    leaves = golden_check.flatten(golden.params) | golden_check.flatten(golden.stats)
    leaves[path] *= 1.01
    golden_check.check_outputs(golden, report)
    failed = failed_checks(capsys.readouterr().out)
    assert report.failures == len(failed)
    assert "encoder output, eval_pc_feat" in failed
