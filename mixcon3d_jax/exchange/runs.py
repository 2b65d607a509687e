"""Snapshots of runs: read from a workdir, made into one."""

import os
import shutil
from typing import NamedTuple

import jax
from ml_collections import ConfigDict

from mixcon3d_jax.buckets import AnyPath, absolute, is_remote, os_errors
from mixcon3d_jax.errors import InputError
from mixcon3d_jax.exchange.snapshot import About, Snapshot
from mixcon3d_jax.exchange.train_state import fill_state, snapshot_of
from mixcon3d_jax.files import WriteError
from mixcon3d_jax.sharding import make_mesh
from mixcon3d_jax.training.best import BEST_FOLDER
from mixcon3d_jax.training.checkpoint import CHECKPOINTS_FOLDER, Checkpoints
from mixcon3d_jax.training.optimizer import make_optimizer
from mixcon3d_jax.training.run_config import step_config
from mixcon3d_jax.training.state import abstract_state, initial_state
from mixcon3d_jax.training.workdir import CONFIG_FILE, read_config, write_config


class ExistsError(InputError):
    """Something is already where a command should write."""


class RunPlace(NamedTuple):
    """Where a checkpoint is.

    Attributes:
      workdir: of the run.
      step: None for the newest.
      folder: which of the workdir's folders of checkpoints.
    """

    workdir: AnyPath
    step: int | None = None
    folder: str = CHECKPOINTS_FOLDER


def find_run(path: AnyPath) -> RunPlace | None:
    """What `path` names: a workdir, one of its folders of checkpoints, or a checkpoint; or None."""
    if (path / CONFIG_FILE).is_file():
        return RunPlace(path)
    step = int(path.name) if path.name.isdigit() else None
    folder = absolute(path) if step is None else absolute(path).parent
    is_known = folder.name in (CHECKPOINTS_FOLDER, BEST_FOLDER) and path.is_dir()
    if is_known and (folder.parent / CONFIG_FILE).is_file():
        return RunPlace(folder.parent, step, folder.name)
    return None


def read_run(
    workdir: AnyPath, step: int | None = None, folder: str = CHECKPOINTS_FOLDER
) -> Snapshot:
    """A checkpoint of a run, on one device.

    Args:
      workdir: of the run.
      step: default the newest.
      folder: in which of the workdir's folders of checkpoints.

    Raises:
      InputError: if it is no workdir, or has no such checkpoint.
    """
    read_config(workdir)  # says what is wrong with a folder that is no workdir
    with Checkpoints(workdir, 1, folder, read_only=True) as checkpoints:
        about = About.of_meta(checkpoints.meta(step))
        config = step_config(ConfigDict(about.config), num_records=1)
        abstract = abstract_state(config.model, make_optimizer(config.optimizer), _one_device())
        return snapshot_of(checkpoints.restore(abstract, step), about)


def make_run(workdir: AnyPath, snapshot: Snapshot) -> None:
    """Makes a workdir whose one checkpoint is the snapshot; what that lacks starts at random.

    Raises:
      ExistsError: if there is something in the workdir already.
      WriteError: if it can't be written; nothing is left of it.
    """
    workdir = absolute(workdir)
    check_free(workdir)
    config = ConfigDict(snapshot.about.config)
    steps = step_config(config, num_records=1)
    optimizer = make_optimizer(steps.optimizer)
    state = initial_state(steps.model, optimizer, _one_device(), config.seed)
    # A folder in a bucket can't be renamed; without a config, written last, it is no workdir.
    unfinished = workdir
    if not is_remote(workdir):
        unfinished = workdir.with_name(f".{workdir.name}.{os.getpid()}.tmp")
    try:
        with os_errors(workdir):
            with Checkpoints(unfinished, config.checkpoint.keep) as checkpoints:
                checkpoints.save(fill_state(state, snapshot), snapshot.about.to_meta())
                checkpoints.wait()
            write_config(unfinished, config)
            if unfinished != workdir:
                unfinished.rename(workdir)
    except OSError as error:
        raise WriteError.of(workdir, error) from error
    finally:
        if unfinished != workdir:
            shutil.rmtree(unfinished, ignore_errors=True)


def check_free(workdir: AnyPath) -> None:
    """Raises an `ExistsError` unless `workdir` is new or an empty folder."""
    if workdir.exists() and (not workdir.is_dir() or any(workdir.iterdir())):
        raise ExistsError(
            f"{workdir} exists already; import into a --workdir of its own, or remove that one"
        )


def _one_device() -> jax.sharding.Mesh:
    return make_mesh(1, 1, 1, jax.devices()[:1])
