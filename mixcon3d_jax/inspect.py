"""Describes a workdir, a checkpoint, a file of weights or a data set.

python -m mixcon3d_jax.inspect PATH
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mixcon3d_jax.buckets import AnyPath, as_path
from mixcon3d_jax.data.source import read_card
from mixcon3d_jax.data.writer import CARD_FILE
from mixcon3d_jax.errors import InputError, exit_on_input_error
from mixcon3d_jax.exchange.model_from_shapes import Dimensions, read_dimensions
from mixcon3d_jax.exchange.pytorch_names import WeightsError
from mixcon3d_jax.exchange.runs import find_run
from mixcon3d_jax.exchange.snapshot import About
from mixcon3d_jax.exchange.weight_groups import EMA, ENCODER, group_shapes
from mixcon3d_jax.exchange.weights_file import SUFFIXES, read_weights
from mixcon3d_jax.files import ReadError, read_whole
from mixcon3d_jax.models.variables import model_structure, parameter_count
from mixcon3d_jax.sharding import use_virtual_cpu_devices
from mixcon3d_jax.training.best import BEST_FOLDER
from mixcon3d_jax.training.checkpoint import CHECKPOINTS_FOLDER, Checkpoints
from mixcon3d_jax.training.run_config import model_config
from mixcon3d_jax.training.workdir import CONFIG_FILE, read_config

_SECTIONS = ("data", "loss", "optim")

# A label and what stands beside it.
Rows = list[tuple[str, str]]


class NothingKnownError(InputError):
    """A path holds nothing that this project makes."""


def describe(path: AnyPath) -> str:
    """What lies at `path`, as text for people.

    Args:
      path: a workdir, or a checkpoint in its `checkpoints`; a `.pt` or `.safetensors`; a data set,
        or a folder of several.

    Raises:
      InputError: if it is none of these, or is damaged.
    """
    if path.is_file() and path.suffix in SUFFIXES:
        return _table(f"{path}, a file of weights", _file_rows(path))
    place = find_run(path)
    if place is not None:
        return _describe_run(*place)
    folders = [path, *sorted(path.iterdir())] if path.is_dir() else []
    tables = [
        _table(f"{folder}, a data set", _dataset_rows(folder))
        for folder in folders
        if (folder / CARD_FILE).is_file()
    ]
    if not tables:
        raise NothingKnownError(
            f"{path} is no workdir (there is no {CONFIG_FILE} in it), no checkpoint of one, no "
            f"data set (no {CARD_FILE}) and no file of weights ({', '.join(SUFFIXES)})"
        )
    return "\n\n".join(tables)


def _describe_run(workdir: AnyPath, step: int | None, folder: str = CHECKPOINTS_FOLDER) -> str:
    config = read_config(workdir)
    metas, rows = {}, []
    for kept in (CHECKPOINTS_FOLDER, BEST_FOLDER):
        steps, metas[kept] = _checkpoints(workdir, kept, step if kept == folder else None)
        listed = ", ".join(f"{known:,}" for known in steps) or "none yet"
        if kept == CHECKPOINTS_FOLDER:
            rows.append((kept, listed))
        elif steps:
            best = metas[kept]["best"]
            rows.append((kept, f"{listed}, by {best['figure']}: {best['value']:.1f}"))
    about = About(config.to_dict(), config.clip.id)
    if metas[folder]:
        about = About.of_meta(metas[folder])
    title = f"{workdir}, a workdir" if step is None else f"{workdir}, {folder}, step {step:,}"
    return f"{_table(title, [*rows, *_about_rows(about)])}\n\n{_evaluations(workdir, step)}"


def _checkpoints(
    workdir: AnyPath, folder: str, step: int | None
) -> tuple[list[int], dict[str, Any]]:
    """All steps in a folder of a workdir, and what `step` (or the newest) says about itself."""
    if not (workdir / folder).is_dir():
        return [], {}
    with Checkpoints(workdir, 1, folder, read_only=True) as checkpoints:
        steps = checkpoints.steps()
        return steps, checkpoints.meta(step) if steps else {}


def _about_rows(about: About) -> Rows:
    config = ConfigDict(about.config)
    model = model_config(config)
    _, params, _ = model_structure(model)
    total, encoder = parameter_count(params), parameter_count(params["encoder"])
    images = "text_proj" if model.share_proj else "image_proj"
    encoder_name = Dimensions.of(model.encoder).name
    rows = [
        ("encoder", f"{encoder_name}: {_keys(vars(model.encoder))}, {model.dtype}"),
        ("heads", f"{model.head}; images through {images}; views pooled by {model.view_pooling}"),
        ("parameters", _counts(encoder, total - encoder)),
        ("CLIP", f"{about.clip_id}, embeddings of {model.embedding_size}"),
        ("up axis", about.up_axis),
        ("colours", about.color_rule),
        ("split", f"{config.data.split}, {_shapes(about.num_records)}"),
    ]
    rows += [(section, _keys(about.config[section])) for section in _SECTIONS]
    if about.missing:
        rows.append(("missing", f"{', '.join(about.missing)} (random weights stand there)"))
    return rows


def _file_rows(path: Path) -> Rows:
    file = read_weights(path)
    weights = {name for name in file.groups if not name.endswith(EMA)}
    averages = {name.removesuffix(EMA) for name in file.groups if name.endswith(EMA)}
    epoch = file.about.epoch_at(file.step) if file.about else file.epoch
    rows: Rows = [
        ("step", f"{file.step:,}, epoch {epoch:,}"),
        ("weights", ", ".join(sorted(weights))),
        ("EMA of", ", ".join(sorted(averages)) or "none"),
    ]
    if file.about is not None:
        kind = f"an export of this project, {file.own.get('weights')} weights in front"
        return [("kind", kind), *rows, *_about_rows(file.about)]
    try:
        dimensions = read_dimensions(group_shapes(file.groups).get(ENCODER, {}))
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    counts = {group: sum(map(_parameters, file.groups[group].items())) for group in weights}
    encoder = counts.pop(ENCODER)
    return [
        ("kind", "a PyTorch checkpoint"),
        *rows,
        ("encoder", f"{dimensions.name}: {dimensions}"),
        ("parameters", _counts(encoder, sum(counts.values()))),
        ("not said", "config, CLIP, up axis, colour rule, split"),
    ]


def _parameters(named: tuple[str, Any]) -> int:
    name, array = named
    statistic = name.rsplit(".", 1)[-1] in ("running_mean", "running_var", "num_batches_tracked")
    return 0 if statistic else array.size


def _dataset_rows(folder: AnyPath) -> Rows:
    card = read_card(folder)
    splits = ", ".join(f"{name} {count:,}" for name, count in sorted(card.splits.items()))
    gigabytes = sum(card.files.values()) / 1e9
    return [
        ("name", card.name),
        ("CLIP", f"{card.clip_id}, embeddings of {card.embedding_size}"),
        ("up axis", card.up_axis),
        ("colours", card.color_rule),
        ("splits", splits),
        ("a record", f"{card.num_points:,} points, {card.num_views} views"),
        ("classes", f"{len(card.classes):,}" if card.classes else "none"),
        ("size", f"{gigabytes:.3f} GB in {len(card.files)} files"),
    ]


def _evaluations(workdir: AnyPath, step: int | None) -> str:
    """Top-1 of the evaluations, a line for each step, benchmark and set of weights.

    Evaluations with settings of their own stand under their whole name, as `60-num_views=12`.
    """
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    found = [(int(path.stem.split("-")[0]), path) for path in (workdir / "eval").glob("*.json")]
    for number, path in sorted(found):
        if step is not None and number != step:
            continue
        for key, figure in _read_figures(path).items():
            weights, benchmark, mode, metric = key.split("/")
            if metric == "top1":
                rows.setdefault((path.stem, benchmark, weights), {})[mode] = f"{figure:.1f}"
    if not rows:
        return "no evaluations yet"
    modes = list(dict.fromkeys(mode for row in rows.values() for mode in row))
    lines = [("step", "benchmark", "weights", *modes)]
    lines += [(*key, *(row.get(mode, "-") for mode in modes)) for key, row in rows.items()]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    # Names to the left, figures to the right.
    styles = [f"{'<' if i in (1, 2) else '>'}{width}" for i, width in enumerate(widths)]
    return "zero-shot top-1 in percent\n" + "\n".join(
        "  " + "  ".join(f"{cell:{style}}" for cell, style in zip(line, styles, strict=True))
        for line in lines
    )


def _read_figures(path: AnyPath) -> dict[str, float]:
    try:
        return dict(json.loads(read_whole(path) or b""))
    except (ReadError, ValueError, TypeError) as error:
        raise NothingKnownError(f"{path} is damaged ({error}); evaluate that step again") from error


def _counts(encoder: int, heads: int) -> str:
    return f"encoder {encoder:,} + heads {heads:,} = {encoder + heads:,}"


def _shapes(count: int) -> str:
    return f"{count:,} shapes" if count else "number of shapes not known"


def _keys(section: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {_value(value)}" for key, value in section.items() if value != "")


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _table(title: str, rows: Rows) -> str:
    width = max(len(label) for label, _ in rows)
    return "\n".join([title, *(f"  {label:<{width}}  {text}" for label, text in rows)])


@exit_on_input_error
def main(argv: list[str] | None = None) -> None:
    """Prints a description."""
    parser = argparse.ArgumentParser(
        prog="python -m mixcon3d_jax.inspect",
        description="Describes a workdir, a checkpoint in one, a file of weights or a data set.",
        epilog="example: python -m mixcon3d_jax.inspect runs/my_assets/checkpoints/1000",
    )
    parser.add_argument("path", metavar="PATH")
    path = as_path(parser.parse_args(argv).path)
    # No accelerator: one that is training must not be disturbed.
    use_virtual_cpu_devices(1)
    print(describe(path))


if __name__ == "__main__":
    main()
