"""A trained model's weights, from a run or from an exported file."""

import dataclasses
import hashlib
import json
from typing import Literal

import numpy as np
from ml_collections import ConfigDict

from mixcon3d_jax.buckets import AnyPath, as_path
from mixcon3d_jax.errors import InputError
from mixcon3d_jax.exchange.file_contents import snapshot_of_file
from mixcon3d_jax.exchange.runs import find_run, read_run
from mixcon3d_jax.exchange.snapshot import About, Arrays, Snapshot
from mixcon3d_jax.exchange.weights_file import SAFETENSORS, SUFFIXES, read_weights
from mixcon3d_jax.files import local_copy
from mixcon3d_jax.training.run_config import model_config
from mixcon3d_jax.training.workdir import CONFIG_FILE

WeightSet = Literal["ema", "raw"]


class ModelError(InputError):
    """A path holds no model that can be used."""


@dataclasses.dataclass(frozen=True)
class ModelWeights:
    """One set of weights of a trained model.

    Attributes:
      place: where it was read, for people.
      about: what the weights are.
      step: updates done.
      which: the running averages, or what training moves.
      arrays: path -> array; none of modules that `about` says are missing.
      fingerprint: the same for the same weights, wherever they were read.
    """

    place: str
    about: About
    step: int
    which: WeightSet
    arrays: Arrays
    fingerprint: str

    @property
    def description(self) -> str:
        """What to call the model."""
        return f"{self.place} ({self.which} weights of step {self.step}, {self.fingerprint[:12]})"


def read_model(path: str | AnyPath, which: WeightSet = "ema") -> ModelWeights:
    """Reads a model.

    Args:
      path: a workdir, for its newest checkpoint; a checkpoint in its `checkpoints`, or its `best`;
        or a file that `mixcon3d_jax.export` wrote.
      which: of the two sets of weights.

    Raises:
      InputError: if it is none of these, is damaged, or lacks that set.
    """
    if which not in ("ema", "raw"):
        raise ModelError(f"weights {which!r}: say 'ema' or 'raw'")
    place = as_path(path)
    if place.is_file() and place.suffix in SUFFIXES:
        snapshot = _read_file(place, which)
    else:
        found = find_run(place)
        if found is None:
            raise ModelError(
                f"{path} is no model: neither a workdir (there is no {CONFIG_FILE} in it), nor a "
                f"checkpoint in one, nor an exported file ({', '.join(SUFFIXES)}); check the path"
            )
        snapshot = read_run(*found)
    if snapshot.about.up_axis not in ("y", "z"):
        raise ModelError(f"{path} was trained with up axis {snapshot.about.up_axis!r}, not y or z")
    arrays = snapshot.ema if which == "ema" else snapshot.raw
    return ModelWeights(
        place=str(path),
        about=snapshot.about,
        step=snapshot.step,
        which=which,
        arrays=arrays,
        fingerprint=fingerprint(snapshot.about, arrays),
    )


def fingerprint(about: About, arrays: Arrays) -> str:
    """A hash of the weights and of all else that an embedding of the model depends on."""
    config = ConfigDict(about.config)
    shapes = dataclasses.asdict(model_config(config)) | {"remat": None}
    known = [shapes, config.data.num_points, about.clip_id, about.up_axis]
    total = hashlib.sha256(json.dumps(known, sort_keys=True).encode())
    for name in sorted(arrays):
        total.update(name.encode())
        total.update(np.ascontiguousarray(arrays[name], np.float32).data)
    return total.hexdigest()


def _read_file(path: AnyPath, which: WeightSet) -> Snapshot:
    with local_copy(path) as local:
        file = read_weights(local)
    if file.about is None:
        raise ModelError(
            f"{path} was not exported by this project and does not say which CLIP it goes with; "
            f"import it first: python -m mixcon3d_jax.import_torch --input={path} --workdir=DIR"
        )
    held = file.own.get("weights")
    if path.suffix == SAFETENSORS and held != which:
        raise ModelError(
            f"{path} holds {held} weights alone, not the {which} ones; say --weights={held} "
            f"(weights={held!r} in Python), or export the others"
        )
    return snapshot_of_file(file, ConfigDict(file.about.config), None)
