"""The built-in run: `python -m data_prep.smoke --output=DIR`, which is what `make smoke` calls.

Makes the built-in assets, prepares them with the small CLIP, trains, evaluates, writes a report,
and says where everything lies.  Each step is a command of its own, printed before it runs.  Data
that is already prepared is not made again, and training continues from its newest checkpoint.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

from data_prep.shapes import CLASSES, SEEN_CLASSES, UNSEEN_CLASSES
from mixcon3d_jax.errors import InputError, exit_on_input_error
from mixcon3d_jax.evaluation.report import format_table
from mixcon3d_jax.training.log import format_seconds

NAME = "builtin"

# glibc returns large buffers to the kernel after every training step and asks for them anew, which
# takes a third of a step's time on a CPU; other C libraries ignore these.
_KEEP_MEMORY = {
    "MALLOC_TOP_PAD_": "1000000000",
    "MALLOC_TRIM_THRESHOLD_": "8000000000",
    "MALLOC_MMAP_MAX_": "0",
}


class StepError(InputError):
    """A step of the built-in run failed; its own message stands above."""


def run_step(title: str, module: str, *arguments: str) -> None:
    """Runs `python -m module arguments` and shows its output.

    Raises:
      StepError: if it fails.
    """
    shown = shlex.join(["python", "-m", module, *arguments])
    print(f"\n== {title}\n$ {shown}", flush=True)
    began = time.perf_counter()
    environment = os.environ | _KEEP_MEMORY
    status = subprocess.run([sys.executable, "-m", module, *arguments], env=environment).returncode
    if status:
        raise StepError(f"`{shown}` ended with status {status}; see its message above")
    print(f"== took {format_seconds(time.perf_counter() - began)}", flush=True)


def prepare(output: Path) -> Path:
    """Makes and prepares the built-in assets; returns the data set's folder."""
    assets, data = output / "assets", output / "data"
    if not (data / "card.json").exists():
        run_step("making the built-in assets", "data_prep.synthetic", f"--output={assets}")
        run_step(
            "points, renders and CLIP embeddings",
            "data_prep.assets",
            f"--manifest={assets / 'manifest.json'}",
            f"--output={data}",
            f"--name={NAME}",
            "--clip=small",
            "--up-axis=y",
            # Templates for every text would take longer than the training.
            "--no-prompt-texts",
        )
    return data


def train(data: Path, workdir: Path, *overrides: str) -> dict[str, float]:
    """Trains, evaluates and writes a report; returns the figures of the last step."""
    run_step(
        "training and evaluation",
        "mixcon3d_jax.train",
        "--config=configs/smoke.py",
        f"--config.data.root={data}",
        f"--workdir={workdir}",
        *overrides,
    )
    run_step("a report", "mixcon3d_jax.report", f"--workdir={workdir}")
    newest = max((workdir / "eval").glob("*.json"), key=lambda path: int(path.stem))
    return json.loads(newest.read_text())


def summarize(output: Path, data: Path, workdir: Path, figures: dict[str, float]) -> str:
    """What a person wants to see at the end."""
    ema = {key: value for key, value in figures.items() if key.startswith("ema/")}
    seen, unseen, names = len(SEEN_CLASSES), len(UNSEEN_CLASSES), len(CLASSES)
    return f"""
== zero-shot accuracy and retrieval of the EMA weights, percent
{format_table(ema)}

builtin_seen           new objects of the {seen} classes trained on, among all {names} names
builtin_unseen         objects of {unseen} classes that the encoder never saw, among all {names}
builtin_unseen_names   the same objects, among the {unseen} names only

report         {workdir / "report.html"}
figures        {workdir / "eval"}
checkpoints    {workdir / "checkpoints"}
curves         {workdir / "curves.png"}
renders        {data / "contact_sheets"}

next (after `source .venv/bin/activate`):
  python -m mixcon3d_jax.evaluate --workdir={workdir} --config.eval.num_views=12
  python -m data_prep.assets --manifest=YOURS/manifest.json --output=DATA \\
      --clip=small --up-axis=y --test-fraction=0.2
  python -m mixcon3d_jax.train --config=configs/assets.py --config.data.root=DATA --workdir=RUN
"""


def main(argv: list[str] | None = None) -> None:
    """Runs the steps."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for all results")
    parser.add_argument(
        "--control",
        action="store_true",
        help="train on texts and views shuffled across shapes instead: figures must fall to chance",
    )
    flags = parser.parse_args(argv)
    began = time.perf_counter()
    data = prepare(flags.output)
    if flags.control:
        workdir = flags.output / "workdir_control"
        figures = train(data, workdir, "--config.data.shuffle_targets=True")
    else:
        workdir = flags.output / "workdir"
        figures = train(data, workdir)
    print(summarize(flags.output, data, workdir, figures))
    print(f"all of it took {format_seconds(time.perf_counter() - began)}")


if __name__ == "__main__":
    exit_on_input_error(main)()
