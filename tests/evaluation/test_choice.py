"""Which benchmarks a command evaluates on, and what the file of figures is called."""

import pytest

from configs import base
from mixcon3d_jax.errors import InputError
from mixcon3d_jax.evaluation.choice import add_benchmark, keep_only, label_of
from mixcon3d_jax.training.run_config import retrieval_benchmarks, with_later_keys


def config_with(retrieval: str):
    config = base.get_config()
    with config.unlocked():
        config.eval.benchmarks.a = base.benchmark("test")
        config.eval.benchmarks.b = base.benchmark("test")
    config.eval.retrieval = retrieval
    return config


def test_a_benchmark_by_name_and_folder():
    config = config_with("all")
    add_benchmark(config, "c=data/c:seen")
    assert config.eval.benchmarks.c.split == "seen"
    assert config.eval.benchmarks.c.path.endswith("data/c")
    assert retrieval_benchmarks(config) == ("a", "b", "c")
    for given in ("c", "c=", "c/d=e", "c=gs://bucket/c"):
        with pytest.raises(InputError, match=f"--benchmark={given}: "):
            add_benchmark(config, given)


def test_only_some():
    config = config_with("a,b")
    keep_only(config, ["b"])
    assert list(config.eval.benchmarks) == ["b"]
    assert retrieval_benchmarks(config) == ("b",)
    with pytest.raises(InputError, match="there is no benchmark 'a', only b"):
        keep_only(config, ["a"])


@pytest.mark.parametrize(
    ("retrieval", "only", "label"),
    [
        ("a", None, ""),
        ("a,b", None, "retrieval=a+b"),
        ("all", None, "retrieval=a+b"),
        ("", None, "retrieval=none"),
        # What isn't evaluated is left out of the name once.
        ("a", ["b"], "on=b"),
        ("a", ["a"], "on=a"),
        ("all", ["b"], "on=b,retrieval=b"),
    ],
)
def test_the_name_says_what_differs_from_the_run(retrieval, only, label):
    config = config_with(retrieval)
    if only:
        keep_only(config, only)
    assert label_of(config, config_with("a")) == label


def test_a_workdir_without_the_key_measures_no_retrieval():
    earlier = config_with("")
    with earlier.unlocked():
        del earlier.eval["retrieval"]
    earlier = with_later_keys(earlier.to_dict())
    assert retrieval_benchmarks(earlier) == ()
    assert label_of(earlier, earlier) == ""
    keep_only(earlier, ["a"])
    assert list(earlier.eval.benchmarks) == ["a"]
