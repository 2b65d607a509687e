"""The report as one HTML page, which asks no other host for anything."""

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import jax
from ml_collections import ConfigDict

import mixcon3d_jax
from mixcon3d_jax.buckets import AnyPath, as_path
from mixcon3d_jax.reporting.benchmark_section import benchmark_section
from mixcon3d_jax.reporting.collect import Choice, Collected
from mixcon3d_jax.reporting.evaluations import Evaluation
from mixcon3d_jax.reporting.figure_tables import (
    benchmarks_of,
    published_tables,
    retrieval_table,
    zero_shot_table,
)
from mixcon3d_jax.reporting.markup import Html, join, picture, table, tag
from mixcon3d_jax.reporting.plots import training_plots
from mixcon3d_jax.reporting.style import STYLE
from mixcon3d_jax.training.run_config import EVALUATION_SETTINGS, flat_config

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")
# Nothing but what is in the page itself.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def make_page(found: Collected, config: ConfigDict, workdir: AnyPath, choice: Choice) -> str:
    """The whole page.

    Args:
      found: what there is of the run.
      config: of the run.
      workdir: of the run.
      choice: what is shown.
    """
    title = "MixCon3D: " + "/".join(as_path(workdir).parts[-2:])
    sections = [("training", "Training", _training(found)), ("figures", "Figures", _figures(found))]
    sections += [
        (f"benchmark-{place}", shown.benchmark.name, benchmark_section(shown, choice.weights))
        for place, shown in enumerate(found.shown)
    ]
    sections.append(("config", "Config and versions", _config(config)))
    sections = [section for section in sections if section[2]]
    links = [tag("a", head, href=f"#{name}") for name, head, _ in sections]
    body = tag(
        "body",
        tag("h1", title),
        _facts(found, config, workdir, choice),
        _notes(found),
        tag("nav", *links),
        *(tag("section", tag("h2", head, id=name), part) for name, head, part in sections),
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", Html(STYLE)),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _facts(found: Collected, config: ConfigDict, workdir: AnyPath, choice: Choice) -> Html:
    step = "none yet" if found.step is None else f"{found.step:,}"
    rows: list[tuple[str, Any]] = [
        ("workdir", workdir),
        ("step", step + (" (best)" if choice.best else "")),
        ("trained on", f"{config.data.root}, split {config.data.split}"),
        ("CLIP", config.clip.id),
        ("page made by", f"mixcon3d_jax {mixcon3d_jax.__version__}"),
    ]
    return table(("", ""), rows, numbers_from=2)


def _notes(found: Collected) -> Html:
    if not found.notes:
        return Html()
    return tag("div", *(tag("p", note) for note in found.notes), class_="notes")


def _training(found: Collected) -> Html:
    if not found.rows:
        return Html()
    plots = [picture(png, what) for what, png in training_plots(found.rows)]
    return tag("div", *plots, class_="plots")


def _figures(found: Collected) -> Html:
    if not found.evaluations:
        return Html()
    parts: list[Html] = []
    beside: set[str] = set()  # benchmarks that have the paper's figures beside them already
    for evaluation in found.evaluations:
        benchmarks = benchmarks_of(evaluation.figures)
        part = _evaluation(evaluation, set(benchmarks) - beside)
        beside |= set(benchmarks)
        folded = tag("details", tag("summary", f"Evaluation {evaluation.name}"), part)
        parts.append(folded if parts else part)
    return join(parts)


def _evaluation(evaluation: Evaluation, with_published: set[str]) -> Html:
    settings = evaluation.settings
    said = [f"{key} {settings[key]}" for key in EVALUATION_SETTINGS if key in settings]
    about = f"Step {evaluation.step:,}; accuracies in percent"
    parts = [tag("p", "; ".join([about, ", ".join(said)]) if said else about, class_="soft")]
    for benchmark in benchmarks_of(evaluation.figures):
        parts.append(tag("h3", benchmark))
        zero_shot = zero_shot_table(evaluation.figures, benchmark)
        published = published_tables(benchmark) if benchmark in with_published else None
        parts.append(tag("div", zero_shot or "", published or "", class_="side"))
        retrieval = retrieval_table(evaluation.figures, benchmark)
        if retrieval:
            about = (
                "Retrieval: the percentage of queries that find an answer among the first k (R@k), "
                "and the median rank, of which 1 is the first."
            )
            parts += [tag("p", about, class_="soft"), retrieval]
    return join(parts)


def _config(config: ConfigDict) -> Html:
    keys = flat_config(config.to_dict())
    rows = [(tag("code", f"config.{key}"), str(keys[key])) for key in sorted(keys)]
    versions = [("Python", platform.python_version()), *((p, _version(p)) for p in _PACKAGES)]
    devices = sorted({device.device_kind for device in jax.devices()})
    versions.append(("devices", f"{jax.device_count()} x {', '.join(devices)}"))
    whole = table(("key", "value"), rows, numbers_from=2)
    return join(
        [
            tag("p", "Versions are those that this page was made with."),
            table(("", "version"), versions, numbers_from=2),
            tag("details", tag("summary", f"The run's config, {len(rows)} keys"), whole),
        ]
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
