"""One wandb run for all processes that continue the same training, one after another."""

import json
import tempfile
import uuid
from typing import Any

from ml_collections import ConfigDict

from mixcon3d_jax.buckets import AnyPath, as_path, is_remote
from mixcon3d_jax.files import read_whole, write_whole

TRACKING_FILE = "wandb.json"


def start_tracking(workdir: AnyPath, config: ConfigDict) -> Any:
    """Starts, or goes on with, the wandb run of a workdir.

    Its id is kept in `WORKDIR/wandb.json`, so that a run that was preempted stays one curve.

    Args:
      workdir: of the run; wandb's own files go to `WORKDIR/wandb`, or to a temporary folder of this
        machine if the workdir is in a bucket.
      config: of the run; `config.log` says how wandb is used.

    Returns:
      wandb's run.

    Raises:
      WriteError: if the id can't be kept.
    """
    import wandb

    folder = str(workdir)
    if is_remote(workdir):
        folder = tempfile.mkdtemp(prefix="mixcon3d-wandb-")
        print(f"wandb keeps its files in {folder}", flush=True)
    return wandb.init(
        id=tracking_id(workdir),
        resume="allow",
        project=config.log.wandb_project,
        mode=config.log.wandb,
        dir=folder,
        config=config.to_dict(),
    )


def tracking_id(workdir: AnyPath) -> str:
    """The id of a workdir's wandb run, made and kept at the first call.

    Raises:
      WriteError: if it can't be kept.
    """
    path = as_path(workdir) / TRACKING_FILE
    try:
        return str(json.loads(read_whole(path) or b"")["id"])
    except (ValueError, KeyError, TypeError):  # none yet, or damaged: a new curve is no loss
        run_id = uuid.uuid4().hex[:8]
        write_whole(path, json.dumps({"id": run_id}).encode())
        return run_id
