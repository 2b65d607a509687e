"""The shipped configs, and the two recipes."""

import importlib
from pathlib import Path

import pytest

from configs import base
from mixcon3d_jax.training import run_config, workdir

SPLITS = {
    "ensembled": "train_all",
    "ensembled_no_lvis": "train_no_lvis",
    "shapenet_only": "train_shapenet_only",
}
SHARED = ("base", "openshape", "recipes")
SHIPPED = sorted(
    path.stem
    for path in (Path(base.__file__).parent).glob("*.py")
    if path.stem not in (*SHARED, "__init__")
)


def load(name: str, *argument: str):
    return importlib.import_module(f"configs.{name}").get_config(*argument)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_config_is_consistent_and_locked(name):
    config = load(name)
    config.data.root = "somewhere"
    run_config.check_values(config)
    run_config.step_config(config, num_records=1000)
    with pytest.raises(AttributeError, match="learning_rate"):
        config.optim.learning_rat = 1.0


@pytest.mark.parametrize("name", SPLITS)
def test_the_splits_differ_in_their_split_alone(name):
    config, reference = load(name), load("ensembled")
    assert config.data.split == SPLITS[name]
    config.data.split = reference.data.split
    assert config.to_json() == reference.to_json()
    assert set(config.eval.benchmarks) == {"objaverse_lvis", "modelnet40", "scanobjectnn"}


@pytest.mark.parametrize("name", SPLITS)
def test_the_default_recipe_is_the_papers(name):
    assert load(name).to_json() == load(name, "recipe=paper").to_json()
    step = run_config.step_config(load(name), num_records=2048 * 100)
    assert step.weights == run_config.losses.Weights(1 / 3, 1 / 3, 1 / 3, 1.0)
    assert step.optimizer.learning_rate == pytest.approx(1e-3 * 2048 / 256)
    assert (step.optimizer.total_steps, step.optimizer.warmup_steps) == (20_000, 1000)
    assert (step.frozen, step.optimizer.lag_steps) == ("", 0)


def test_the_papers_rate_follows_the_batch_size_until_it_is_set():
    config = load("ensembled")
    config.optim.batch_size = 512
    assert config.optim.learning_rate == pytest.approx(2e-3)
    config.optim.learning_rate = 5e-4
    config.optim.batch_size = 1024
    assert config.optim.learning_rate == 5e-4


@pytest.mark.parametrize("name", SPLITS)
def test_the_released_codes_recipe(name):
    config = load(name, "recipe=released_code")
    config.data.root = "somewhere"
    run_config.check_values(config)
    step = run_config.step_config(config, num_records=2048 * 100)
    assert step.weights == run_config.losses.Weights()
    assert (step.optimizer.learning_rate, step.optimizer.min_learning_rate) == (0.006, 0.003)
    assert step.optimizer.lag_steps == 1
    assert not config.data.reshuffle
    assert config.optim.batch_size == (1024 if name == "shapenet_only" else 2048)


@pytest.mark.parametrize("argument", ["recipe=papr", "paper", "recipe", "split=train_all"])
def test_an_unknown_argument_names_the_recipes(argument):
    with pytest.raises(ValueError, match="recipe=paper or recipe=released_code .*" + argument):
        load("ensembled", argument)


def small(key: str, value):
    """The base config with one key changed."""
    config = base.get_config()
    config.data.root = "somewhere"
    config.update_from_flattened_dict({key: value})
    return config


@pytest.mark.parametrize(
    ("key", "value"),
    [("optim.accum_steps", 0), ("optim.logit_block", 0), ("optim.negatives", "rings")],
)
def test_a_value_that_no_step_knows_is_named(key, value):
    with pytest.raises(run_config.ConfigError, match=rf"config\.{key} is '?{value}"):
        run_config.check_values(small(key, value))


@pytest.mark.parametrize(
    ("key", "value", "free"),
    [
        ("model.remat", True, True),
        ("optim.negatives", "ring", True),
        ("optim.logit_block", 64, True),
        ("optim.accum_steps", 2, False),
        ("optim.frozen_statistics", True, False),
        ("model.dtype", "bfloat16", False),
    ],
)
def test_what_changes_only_memory_may_change_in_a_run(key, value, free):
    config = small(key, value)
    run_config.check_values(config)
    step, usual = (run_config.step_config(c, 1000) for c in (config, base.get_config()))
    assert step != usual
    differing = run_config.differing_keys(config, base.get_config().to_dict())
    assert any(line.startswith(f"config.{key}: ") for line in differing) != free


def test_retrieval_names_benchmarks():
    config = load("smoke")
    assert run_config.retrieval_benchmarks(config) == ("builtin_seen", "builtin_unseen")
    config.eval.retrieval = " builtin_seen ,"
    assert run_config.retrieval_benchmarks(config) == ("builtin_seen",)
    config.eval.retrieval = "builtin_sen"
    with pytest.raises(run_config.ConfigError, match="no benchmark 'builtin_sen'; say 'all'"):
        run_config.check_values(config)


@pytest.mark.parametrize(
    ("figure", "fits"),
    [
        ("ema/builtin_seen/text_to_point/recall5", True),
        ("ema/builtin_seen/point/top1", True),
        # The lowest median rank is the best one.
        ("ema/builtin_seen/text_to_point/median_rank", False),
        ("ema/builtin_seen/text_to_point/top1", False),
        ("ema/builtin_seen/point/recall5", False),
        # Not one of retrieval.
        ("ema/builtin_unseen_names/text_to_point/recall5", False),
    ],
)
def test_the_best_checkpoint_may_be_that_of_a_recall(figure, fits):
    config = load("smoke")
    config.checkpoint.best_by = figure
    if fits:
        run_config.check_values(config)
        return
    with pytest.raises(run_config.ConfigError, match="it must be a figure as in"):
        run_config.check_values(config)


def test_the_config_of_a_workdir_from_before_later_keys_is_still_evaluated(tmp_path):
    config = base.get_config()
    with config.unlocked():
        del config.profile, config.compilation_cache, config.eval.retrieval
    workdir.write_config(tmp_path, config)
    run_config.check_values(workdir.read_config(tmp_path))
