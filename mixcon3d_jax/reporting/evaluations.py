"""The evaluations that a workdir holds."""

import dataclasses
import json
from typing import Any

from mixcon3d_jax.buckets import AnyPath, as_path
from mixcon3d_jax.errors import InputError
from mixcon3d_jax.files import read_whole


class DamagedError(InputError):
    """A file of figures can't be read."""


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """One file of `WORKDIR/eval`.

    Attributes:
      name: the step, and what was changed: `60`, `60-num_views=12`.
      figures: `WEIGHTS/BENCHMARK/MODE/METRIC` -> figure.
      settings: `config.eval` as it was, as far as known.
    """

    name: str
    figures: dict[str, float]
    settings: dict[str, Any]

    @property
    def step(self) -> int:
        """Of the weights."""
        return step_of(self.name)


def evaluation_names(workdir: AnyPath) -> list[str]:
    """The names of all evaluations, by step; the plain one of a step comes first."""
    names = [path.stem for path in (as_path(workdir) / "eval").glob("*.json")]
    known = [name for name in names if name.split("-")[0].isdigit()]
    return sorted(known, key=lambda name: (step_of(name), name))


def step_of(name: str) -> int:
    """The step of an evaluation by its name."""
    return int(name.split("-")[0])


def read_evaluation(workdir: AnyPath, name: str) -> Evaluation:
    """Reads one evaluation.

    Raises:
      DamagedError: if it isn't whole.
      ReadError: if it can't be read.
    """
    folder = as_path(workdir) / "eval"
    figures = _read(folder / f"{name}.json")
    if not all(
        key.count("/") == 3 and isinstance(value, int | float) for key, value in figures.items()
    ):
        raise DamagedError(f"{folder / f'{name}.json'} holds no figures; evaluate that step again")
    return Evaluation(name, figures, _read(folder / "settings" / f"{name}.json", "{}"))


def _read(path: AnyPath, otherwise: str = "") -> dict[str, Any]:
    try:
        content = json.loads(read_whole(path) or otherwise)
        if isinstance(content, dict):
            return content
        problem = "no JSON object"
    except ValueError as error:
        problem = str(error)
    raise DamagedError(f"{path} is damaged ({problem}); evaluate that step again")
