"""Whether `classify` says of every shape of a benchmark what evaluation says.

    python -m benchmarks.agreement --workdir=smoke_run/workdir [--benchmark=builtin_seen]

Hands the clouds that evaluation draws to the Python API, classifies them among the benchmark's
names (whose embeddings the API computes by itself), and compares object by object with the logits
of evaluation, EMA weights, by points; and the accuracy with the figure of `mixcon3d_jax.evaluate`.
"""

import argparse
import json
import sys
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

import mixcon3d_jax
from mixcon3d_jax.data.pipeline import PipelineConfig, evaluation_sample
from mixcon3d_jax.errors import InputError, exit_on_input_error
from mixcon3d_jax.evaluation.benchmark import Benchmark
from mixcon3d_jax.evaluation.one_pass import Tasks, run_pass
from mixcon3d_jax.evaluation.run import open_benchmarks
from mixcon3d_jax.inference.weights import ModelWeights
from mixcon3d_jax.models.variables import model_structure, unflatten_like
from mixcon3d_jax.sharding import make_mesh
from mixcon3d_jax.training.run_config import evaluation_pipeline, model_config
from mixcon3d_jax.training.workdir import read_config

_BATCH = 16


def evaluated_classes(
    weights: ModelWeights, benchmark: Benchmark, pipeline: PipelineConfig
) -> np.ndarray:
    """The number of the class that evaluation gives each shape."""
    structure, params, stats = model_structure(model_config(ConfigDict(weights.about.config)))
    trees = tuple(unflatten_like(tree, weights.arrays) for tree in (params, stats))
    mesh = make_mesh(1, 1, 1, jax.devices()[:1])
    tasks = Tasks(predictions=True)
    [found] = run_pass(
        benchmark, {"ema": trees}, structure, pipeline, _BATCH, mesh, tasks=tasks
    ).values()
    return found.rows["predictions"]["point"]["classes"][:, 0]


@exit_on_input_error
def main() -> None:
    """Prints a line a benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--benchmark", help="default: all of the run")
    args = parser.parse_args()
    model = mixcon3d_jax.load(args.workdir)
    config = read_config(args.workdir)
    figures = args.workdir / "eval" / f"{model.weights.step}.json"
    if not figures.exists():
        raise InputError(f"there is no {figures}: evaluate that step first")
    for benchmark in open_benchmarks(config):
        if args.benchmark not in (None, benchmark.name):
            continue
        pipeline = evaluation_pipeline(config, config.eval.seed)
        samples = [
            evaluation_sample(benchmark.source, i, pipeline) for i in range(len(benchmark.source))
        ]
        points, colors = ([sample[name] for sample in samples] for name in ("points", "colors"))
        rows = model.embed_points(points, colors, up_axis="y", drawn=True)
        ours = np.array(model.classify(rows, benchmark.classes).best)
        names = np.array(benchmark.classes)
        theirs = names[evaluated_classes(model.weights, benchmark, pipeline)]
        accuracy = 100 * float(np.mean(ours == names[benchmark.labels]))
        said = json.loads(figures.read_text())[f"ema/{benchmark.name}/point/top1"]
        print(
            f"{benchmark.name}: {(ours == theirs).sum()} of {len(ours)} objects alike; top-1 "
            f"{accuracy:.2f} % by classify, {said:.2f} % by evaluate"
        )


if __name__ == "__main__":
    sys.exit(main())
