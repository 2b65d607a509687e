"""The file for programs and the table for people."""

import json

from mixcon3d_jax.evaluation.report import format_table, write_figures


def make_figures() -> dict[str, float]:
    """Every figure is another number, so that none can stand in another's place."""
    figures, number = {}, 10.0
    for which in ("ema", "raw"):
        for benchmark, count in (("seen", 50), ("unseen", 7)):
            for mode in ("point", "sum"):
                for metric in ("top1", "top3", "top5", "class_mean"):
                    figures[f"{which}/{benchmark}/{mode}/{metric}"] = number
                    number += 1.1
                figures[f"{which}/{benchmark}/{mode}/count"] = count
    return figures


def test_the_file_is_flat_json_under_the_step(tmp_path):
    figures = make_figures()
    path = write_figures(tmp_path, "120", figures, {"num_views": 4})
    assert path == tmp_path / "eval" / "120.json"
    assert json.loads(path.read_text()) == figures
    assert write_figures(tmp_path, "120", {"a": 1.0}, {"num_views": 12}) == path
    assert json.loads(path.read_text()) == {"a": 1.0}
    assert json.loads((path.parent / "settings" / "120.json").read_text()) == {"num_views": 12}
    assert [found.name for found in path.parent.glob("*.json")] == ["120.json"]


def test_the_table_has_a_block_a_benchmark_a_row_a_mode_and_the_weights_side_by_side():
    figures = make_figures()
    lines = [line.split() for line in format_table(figures).splitlines() if line.strip()]
    columns = ["top1", "top3", "top5", "class_mean"]
    assert [lines[0], lines[4]] == [
        ["seen,", "50", "shapes", "ema", "raw"],
        ["unseen,", "7", "shapes", "ema", "raw"],
    ]
    assert lines[1] == lines[5] == columns * 2
    for line, (benchmark, mode) in zip(
        [*lines[2:4], *lines[6:8]],
        [("seen", "point"), ("seen", "sum"), ("unseen", "point"), ("unseen", "sum")],
        strict=True,
    ):
        expected = [
            f"{figures[f'{which}/{benchmark}/{mode}/{column}']:.1f}"
            for which in ("ema", "raw")
            for column in columns
        ]
        assert line == [mode, *expected]


def test_columns_line_up_with_their_heads():
    lines = [line for line in format_table(make_figures()).splitlines() if line]
    assert len({len(line) for line in lines[1:4]}) == 1
    for head, figure in (("top1", "10.0"), ("class_mean", "13.3")):
        end = lines[1].index(head) + len(head)
        assert lines[2][:end].endswith(figure)


def test_a_perfect_score_fits_its_column():
    figures = {key: 100.0 for key in make_figures()}
    assert "100.0      100.0" in format_table(figures)


def test_figures_over_several_seeds_have_their_deviation():
    figures = {key: 12.34 for key in make_figures()}
    figures |= {f"{key}_std": 0.06 for key in figures if not key.endswith("/count")}
    assert "      12.3±0.1" in format_table(figures)


def test_retrieval_has_a_block_of_its_own():
    metrics = ("recall1", "recall5", "recall10", "median_rank", "count")
    figures = make_figures()
    for which in ("ema", "raw"):
        figures |= {f"{which}/seen/text_to_point/{m}": i + 0.5 for i, m in enumerate(metrics)}
    figures |= {f"ema/texts_only/text_to_point/{metric}": 1234.0 for metric in metrics}
    lines = [line.split() for line in format_table(figures).splitlines() if line.strip()]
    start = lines.index(["seen,", "retrieval", "ema", "raw"])
    assert lines[start + 1] == list(metrics) * 2
    assert lines[start + 2] == ["text_to_point", *["0.5", "1.5", "2.5", "3.5", "4"] * 2]
    assert lines[start + 3][0] == "unseen,"
    assert lines[-3:] == [
        ["texts_only,", "retrieval", "ema"],
        list(metrics),
        ["text_to_point", *["1234.0"] * 4, "1234"],
    ]
