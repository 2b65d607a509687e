import csv
import json

import numpy as np
import pytest

from mixcon3d_jax.errors import InputError
from mixcon3d_jax.inference.tables import Table, check_table_path, write_table

TABLE = Table(
    {"model": "a", "labels": ["x", "y"]},
    {"ids": np.array(["1", "2,3"]), "shares": np.array([[0.5, 0.25], [1.0, 0.0]], np.float32)},
    {"shares": ("x", "y")},
)


def test_all_kinds_hold_the_same(tmp_path):
    for kind in ("npz", "json", "csv"):
        write_table(tmp_path / f"a.{kind}", TABLE)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        assert arrays["ids"].tolist() == ["1", "2,3"]
        assert arrays["labels"].tolist() == ["x", "y"]
        np.testing.assert_array_equal(arrays["shares"], TABLE.columns["shares"])
    content = json.loads((tmp_path / "a.json").read_text())
    assert content["rows"][1] == {"ids": "2,3", "shares": [1.0, 0.0]}
    assert content["model"] == "a"
    with (tmp_path / "a.csv").open() as file:
        assert list(csv.reader(file)) == [
            ["ids", "x", "y"],
            ["1", "0.5", "0.25"],
            ["2,3", "1.0", "0.0"],
        ]


def test_where_nothing_can_be_written_is_said_before_the_work(tmp_path):
    with pytest.raises(InputError, match=r"must end in \.npz or \.json or \.csv"):
        check_table_path(tmp_path / "a.txt")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="can't be written"):
        check_table_path(tmp_path / "file" / "a.npz")
