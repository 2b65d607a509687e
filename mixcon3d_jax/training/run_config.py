"""From a run's config to the pieces that the run is made of."""

import dataclasses
import re
from pathlib import Path
from typing import Any, get_args

import jax
from ml_collections import ConfigDict

from mixcon3d_jax import losses
from mixcon3d_jax.buckets import is_remote
from mixcon3d_jax.data.augment import AugmentConfig
from mixcon3d_jax.data.pipeline import PipelineConfig
from mixcon3d_jax.data.sampling import ViewPolicy
from mixcon3d_jax.errors import InputError
from mixcon3d_jax.metrics import METRICS, RECALL_AT
from mixcon3d_jax.models.mixcon3d import MixCon3DConfig
from mixcon3d_jax.models.pointbert import SCALINGS, PointBERTConfig
from mixcon3d_jax.models.variables import flatten, model_structure
from mixcon3d_jax.training.optimizer import OptimizerConfig, trained_mask
from mixcon3d_jax.training.step import StepConfig
from mixcon3d_jax.training.step_profile import profiled_steps


class ConfigError(InputError):
    """A config's value is not one that the program knows."""


# How an evaluation looks at a shape (see `evaluation.embeddings` and `evaluation.zero_shot`), and
# what looks for what in retrieval (see `evaluation.retrieval`).
EVALUATION_MODES = ("point", "image", "image_multiview", "fused", "fused_multiview", "sum")
RETRIEVAL_MODES = (
    *(f"text_to_{shape}" for shape in ("point", "fused", "fused_multiview")),
    *(f"{shape}_to_text" for shape in ("point", "fused", "fused_multiview")),
    "image_to_point",
    "image_to_fused_multiview",
)
# Keys of `config.eval` that the figures of an evaluation depend on.
EVALUATION_SETTINGS = ("num_views", "view_choice", "thumbnail", "seed", "num_seeds")

# Keys that configs of earlier versions lack, and the values that they had without them.
_LATER_KEYS = {"compilation_cache": True, "profile": "", "eval.retrieval": ""}

# Keys that may differ when a run is continued: they change neither data nor weights.
_FREE_KEYS = ("virtual_cpu_devices", "distributed.", "clip.path", "clip.images_at_once",
              "data.root", "data.stage_to", "data.num_threads", "model.remat", "optim.negatives",
              "optim.logit_block", "mesh.", "checkpoint.", "log.", "eval.", "compilation_cache",
              "profile")  # fmt: skip


def with_later_keys(stored: dict[str, Any]) -> ConfigDict:
    """A config that was stored, perhaps by an earlier version, with all keys that there are now."""
    config = ConfigDict(stored)
    known = flat_config(stored)
    for key, value in _LATER_KEYS.items():
        if key not in known:
            config.update_from_flattened_dict({key: value})
    return config


def check_values(config: ConfigDict) -> None:
    """Raises an `InputError` that names the first key whose value can't be used."""
    at_least = {
        "clip.images_at_once": 1,
        "data.num_points": 1,
        "data.num_views": 1,
        "data.num_threads": 1,
        "optim.batch_size": 1,
        "optim.epochs": 0,
        "optim.warmup_epochs": 0,
        "optim.lag_steps": 0,
        "optim.accum_steps": 1,
        "optim.logit_block": 1,
        "data.neighbor_group": 1,
        "data.parts": 1,
        "eval.num_seeds": 1,
        "checkpoint.keep": 1,
        "checkpoint.every_steps": 0,
        "checkpoint.keep_every": 0,
        "distributed.timeout_seconds": 1,
        "distributed.heartbeat_seconds": 1,
        "log.every_steps": 0,
        "eval.every_steps": 0,
        "eval.batch_size": 1,
        "eval.num_views": 1,
    }
    values = flat_config(config.to_dict())
    for key, smallest in at_least.items():
        if values[key] < smallest:
            raise ConfigError(f"config.{key} is {values[key]}; it must be {smallest} or more")
    profiled_steps(config.profile)
    _check_neighbors(config)
    _check_parts(config)
    _check_patterns(config)
    _choice("targets", config.targets, ("shards", "towers"))
    _choice("clip.dtype", config.clip.dtype, ("float32", "bfloat16"))
    _choice("optim.negatives", config.optim.negatives, get_args(losses.Negatives))
    _choice("log.wandb", config.log.wandb, ("disabled", "offline", "online"))
    _choice("eval.view_choice", config.eval.view_choice, ("random", "spread"))
    for name, entry in config.eval.benchmarks.items():
        _choice(f"eval.benchmarks.{name}.among", entry.among, ("all", "present"))
    retrieval_benchmarks(config)
    _check_best_by(config)
    model_config(config)


def retrieval_benchmarks(config: ConfigDict) -> tuple[str, ...]:
    """The names of the benchmarks that `config.eval.retrieval` chooses.

    Raises:
      ConfigError: if one of them is no benchmark.
    """
    known = config.eval.benchmarks
    chosen = config.eval.retrieval
    if chosen == "all":
        return tuple(known)
    names = tuple(name.strip() for name in chosen.split(",") if name.strip())
    for name in names:
        if name not in known:
            there = ", ".join(known) or "none"
            raise ConfigError(
                f"config.eval.retrieval is {chosen!r}, but there is no benchmark {name!r}; say "
                f"'all', or names with commas between them (there are: {there})"
            )
    return names


def data_root(config: ConfigDict) -> Path:
    """The folder of this host that data lie in, or are staged to from a bucket.

    Raises:
      ConfigError: if the config has none.
    """
    if not config.data.root:
        raise ConfigError(
            "config.data.root is empty; give --config.data.root=DIR, the folder of a prepared "
            "data set, or of several and their splits"
        )
    if not is_remote(config.data.root):
        return Path(config.data.root)
    if not config.data.stage_to:
        raise ConfigError(
            f"config.data.root is {config.data.root}: give --config.data.stage_to=DIR, a folder on "
            "a disk of each host that data are copied to, or mount the bucket and name that folder"
        )
    return Path(config.data.stage_to)


def model_config(config: ConfigDict) -> MixCon3DConfig:
    """The model's shapes."""
    model = config.model
    _choice("model.scaling", model.scaling, SCALINGS)
    _choice("model.head", model.head, ("linear", "mlp"))
    _choice("model.view_pooling", model.view_pooling, ("avg", "max", "avg_proj", "max_proj"))
    _choice("model.dtype", model.dtype, ("float32", "bfloat16"))
    dims = dataclasses.asdict(SCALINGS[model.scaling])
    dims |= {key: value for key, value in model.encoder.items() if value is not None}
    return MixCon3DConfig(
        encoder=PointBERTConfig(**dims),
        embedding_size=config.clip.embedding_size,
        share_proj=model.share_proj,
        head=model.head,
        view_pooling=model.view_pooling,
        dtype=model.dtype,
        remat=model.remat,
    )


def total_steps(config: ConfigDict, num_records: int) -> int:
    """Steps of the whole run on a split of `num_records`."""
    return max(round(config.optim.epochs * num_records / config.optim.batch_size), 1)


def step_config(config: ConfigDict, num_records: int) -> StepConfig:
    """What a training step needs, for a split of `num_records`."""
    optim, augment = config.optim, dict(config.augment)
    enabled = augment.pop("enabled")
    return StepConfig(
        model=model_config(config),
        optimizer=OptimizerConfig(
            learning_rate=optim.learning_rate,
            min_learning_rate=optim.min_learning_rate,
            warmup_steps=round(optim.warmup_epochs * num_records / optim.batch_size),
            total_steps=total_steps(config, num_records),
            lag_steps=optim.lag_steps,
            beta1=optim.beta1,
            beta2=optim.beta2,
            epsilon=optim.epsilon,
            weight_decay=optim.weight_decay,
        ),
        weights=losses.Weights(**config.loss),
        ema_decay=optim.ema_decay,
        augment=AugmentConfig(**augment) if enabled else None,
        seed=config.seed,
        frozen=optim.frozen,
        clamped=optim.clamped,
        accum_steps=optim.accum_steps,
        negatives=optim.negatives,
        logit_block=optim.logit_block,
        frozen_statistics=optim.frozen_statistics,
    )


def train_pipeline(config: ConfigDict) -> PipelineConfig:
    """How training draws samples."""
    data = config.data
    views = ViewPolicy(data.num_views, "random", data.thumbnail_probability)
    return PipelineConfig(data.num_points, views, config.seed, data.num_threads)


def evaluation_pipeline(config: ConfigDict, seed: int) -> PipelineConfig:
    """How evaluation draws samples, with one of its seeds."""
    views = ViewPolicy(config.eval.num_views, config.eval.view_choice, float(config.eval.thumbnail))
    return PipelineConfig(config.data.num_points, views, seed)


def evaluation_settings(config: ConfigDict) -> dict[str, Any]:
    """What the figures of an evaluation depend on, beside weights and benchmarks."""
    settings = {key: config.eval[key] for key in EVALUATION_SETTINGS}
    return settings | {"num_points": config.data.num_points}


def differing_keys(config: ConfigDict, other: dict[str, Any]) -> list[str]:
    """Keys, with both values, that make two configs different experiments."""
    ours, theirs = flat_config(config.to_dict()), flat_config(other)
    return [
        f"config.{key}: {theirs.get(key)!r} there, {ours.get(key)!r} here"
        for key in sorted(ours.keys() | theirs.keys())
        if ours.get(key) != theirs.get(key) and not key.startswith(_FREE_KEYS)
    ]


def flat_config(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts to `dotted.key` -> value."""
    flat = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        flat |= flat_config(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return flat


def _check_best_by(config: ConfigDict) -> None:
    name = config.checkpoint.best_by
    if not name:
        return
    weights, benchmark, mode, metric = [*name.split("/"), "", "", "", ""][:4]
    known = config.eval.benchmarks
    fits = mode in EVALUATION_MODES and metric in METRICS and benchmark in known
    if mode in RETRIEVAL_MODES:  # not the median rank, of which the lowest is best
        recalls = [f"recall{k}" for k in RECALL_AT]
        fits = metric in recalls and benchmark in retrieval_benchmarks(config)
    if not fits or weights not in ("ema", "raw") or name.count("/") != 3:
        raise ConfigError(
            f"config.checkpoint.best_by is {name!r}; it must be a figure as in eval/STEP.json, for "
            f"example 'ema/{next(iter(known), 'BENCHMARK')}/point/top1'"
        )


def _check_neighbors(config: ConfigDict) -> None:
    group, batch = config.data.neighbor_group, config.optim.batch_size
    if batch % group:
        raise ConfigError(
            f"config.data.neighbor_group is {group}, which does not divide config.optim.batch_size "
            f"({batch})"
        )


def _check_parts(config: ConfigDict) -> None:
    data, batch = config.data, config.optim.batch_size
    if batch % data.parts:
        raise ConfigError(
            f"config.data.parts is {data.parts}, which does not divide config.optim.batch_size "
            f"({batch})"
        )
    for key, mixes in (
        ("neighbor_group", data.neighbor_group > 1),
        ("shuffle_targets", data.shuffle_targets),
    ):
        if data.parts > 1 and mixes:
            raise ConfigError(
                f"config.data.parts is {data.parts}, but config.data.{key} takes records of all "
                "parts together; leave one of them out"
            )


def _check_patterns(config: ConfigDict) -> None:
    """Raises a `ConfigError` unless `optim.frozen` freezes nothing or some, not all, parameters."""
    for key in ("frozen", "clamped"):
        try:
            re.compile(config.optim[key])
        except re.error as error:
            raise ConfigError(
                f"config.optim.{key} is {config.optim[key]!r}, no regular expression: {error}"
            ) from error
    frozen = config.optim.frozen
    if not frozen:
        return
    _, params, _ = model_structure(model_config(config))
    trained = jax.tree.leaves(trained_mask(params, frozen))
    if all(trained) or not any(trained):
        names = ", ".join(sorted({name.split("/")[0] for name in flatten(params)}))
        raise ConfigError(
            f"config.optim.frozen is {frozen!r}, which freezes {'no' if all(trained) else 'every'} "
            f"parameter; it has to match whole paths such as 'fusion/.*' (there are: {names})"
        )


def _choice(key: str, value: Any, known: Any) -> None:
    if value not in known:
        choices = ", ".join(map(repr, known))
        raise ConfigError(f"config.{key} is {value!r}; it must be one of {choices}")
