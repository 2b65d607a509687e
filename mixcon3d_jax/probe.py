"""Few-shot linear probing of a trained model: `python -m mixcon3d_jax.probe --help`."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mixcon3d_jax.arguments import command_parser, whole_number
from mixcon3d_jax.errors import exit_on_input_error
from mixcon3d_jax.inference.command_line import MODES, add_mode_flag, add_model_flags, model_of

if TYPE_CHECKING:
    from mixcon3d_jax.inference.probing import Accuracy

_DESCRIPTION = """\
Fits logistic regressions on frozen embeddings of some shapes of each class, and says how many of
the test shapes they get right: the mean over repeats, and the standard deviation.

Both data sets are prepared ones.  Embeddings have length 1, points are drawn as in evaluation with
seed 0.  Repeat r draws its shapes with seed r; `all` draws nothing and is fitted once.
"""
_EXAMPLE = """\
example:
  python -m mixcon3d_jax.probe --model=runs/my_assets --train=data/my_assets \\
      --test=data/my_assets:test
"""


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("mixcon3d_jax.probe", _DESCRIPTION, _EXAMPLE)
    add_model_flags(parser)
    add_mode_flag(parser)
    add = parser.add_argument
    place = "FOLDER[:SPLIT]"
    add("--train", required=True, metavar=place, help="to fit on (default split: train)")
    add("--test", required=True, metavar=place, help="to test on (default split: test)")
    add(
        "--shots",
        type=_shots,
        default="1,2,4,8,16,all",
        help="shapes of each class (default: %(default)s)",
    )
    add("--repeats", type=whole_number(1), default=10, help="of each (default: %(default)s)")
    add(
        "--strength",
        type=_positive,
        default=100.0,
        metavar="C",
        help="inverse strength of the regularisation (default: %(default)s)",
    )
    add("--output", type=Path, help="FILE.npz, FILE.json or FILE.csv for the accuracy of each run")
    return parser


@exit_on_input_error
def main(arguments: list[str] | None = None) -> None:
    """Runs the command."""
    args = _parser().parse_args(arguments)
    from mixcon3d_jax.inference.probing import check_classes, embed_split, probe
    from mixcon3d_jax.inference.tables import check_table_path, write_table

    if args.output:
        check_table_path(args.output)
    model = model_of(args)
    train = embed_split(model, *_place(args.train, "train"), args.mode)
    test, others = check_classes(train, embed_split(model, *_place(args.test, "test"), args.mode))
    found = probe(train, test, args.shots, args.repeats, args.strength)
    if others:
        print(f"{others} test shapes are left out: --train has nothing of their classes")
    print(f"{model.weights.description}, {MODES[args.mode]}, {len(test.rows):,} test shapes")
    print(format_accuracies(found))
    if args.output:
        about = {"model": model.weights.description, "mode": args.mode, "strength": args.strength}
        write_table(args.output, _table(found, about))


def format_accuracies(found: "list[Accuracy]") -> str:
    """A table for people."""
    lines = [f"{'shots':>5}  {'trained on':>10}  {'accuracy, %':>11}  {'deviation':>9}  seeds"]
    for one in found:
        runs = len(one.percent)
        name = "all" if one.shots is None else str(one.shots)
        deviation = "-" if runs == 1 else f"{one.deviation:.1f}"
        seeds = "none" if one.shots is None else "0" if runs == 1 else f"0-{runs - 1}"
        lines.append(
            f"{name:>5}  {one.trained_on:>10,}  {one.mean:>11.1f}  {deviation:>9}  {seeds}"
        )
    return "\n".join(lines)


def _table(found: "list[Accuracy]", about: dict):
    import numpy as np

    from mixcon3d_jax.inference.tables import Table

    runs = [
        ("all" if one.shots is None else str(one.shots), seed, one.trained_on, percent)
        for one in found
        for seed, percent in enumerate(one.percent)
    ]
    names = ("shots", "seeds", "trained_on", "percent")
    columns = (np.array(column) for column in zip(*runs, strict=True))
    return Table(about, dict(zip(names, columns, strict=True)))


def _place(given: str, split: str) -> tuple[Path, str]:
    folder, _, named = given.partition(":")
    return Path(folder), named or split


def _shots(text: str) -> list[int | None]:
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name != "all" and not (name.isdecimal() and int(name)):
            raise argparse.ArgumentTypeError(f"'{name}' is neither a number of 1 or more nor 'all'")
    if len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"'{text}' names a number twice")
    return [None if name == "all" else int(name) for name in names]


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is no positive number")
    return value


if __name__ == "__main__":
    sys.exit(main())
