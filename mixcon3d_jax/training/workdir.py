"""What a workdir says about its run, so that only the same run continues in it."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mixcon3d_jax.data.schema import DatasetCard
from mixcon3d_jax.errors import InputError
from mixcon3d_jax.files import write_whole
from mixcon3d_jax.training.run_config import differing_keys

CONFIG_FILE = "config.json"
DATASET_FILE = "dataset.json"


class WorkdirError(InputError):
    """A workdir is none, is damaged, or belongs to another run."""


def claim_workdir(workdir: Path, config: ConfigDict, card: DatasetCard) -> None:
    """Writes config and data set into a new workdir, or checks that an old one is of the same run.

    Args:
      workdir: made if missing.
      config: of the run.
      card: of the data set that it trains on.

    Raises:
      WorkdirError: if the workdir belongs to another config or data set; the message says how they
        differ.
      WriteError: if it can't be written.
    """
    # As JSON gives it back: lists for tuples.
    dataset = json.loads(json.dumps(dataclasses.asdict(card)))
    if (Path(workdir) / CONFIG_FILE).exists():
        differing = differing_keys(config, read_config(workdir).to_dict())
        known = _read_json(workdir, DATASET_FILE)
        differing += [
            f"data set, {key}: {known.get(key)!r} there, {dataset[key]!r} here"
            for key in dataset
            if known.get(key) != dataset[key]
        ]
        if differing:
            listed = "\n  ".join(differing)
            raise WorkdirError(
                f"{workdir} belongs to another run:\n  {listed}\n"
                "use another --workdir, or the same config and data to continue that run"
            )
    _write_json(workdir, DATASET_FILE, dataset)
    _write_json(workdir, CONFIG_FILE, config.to_dict())


def read_config(workdir: Path) -> ConfigDict:
    """The config of a workdir's run.

    Raises:
      WorkdirError: if there is none, or it is damaged.
    """
    return ConfigDict(_read_json(workdir, CONFIG_FILE))


def _read_json(workdir: Path, name: str) -> dict[str, Any]:
    path = Path(workdir) / name
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise WorkdirError(
            f"{workdir} is not a workdir: its {name} can't be read ({error.strerror}); check "
            "--workdir"
        ) from error
    except ValueError as error:
        raise WorkdirError(
            f"{path} is damaged ({error}); restore it, or use another --workdir"
        ) from error
    if not isinstance(content, dict):
        raise WorkdirError(f"{path} is damaged (no JSON object); use another --workdir")
    return content


def _write_json(workdir: Path, name: str, content: dict[str, Any]) -> None:
    text = json.dumps(content, indent=1, sort_keys=True) + "\n"
    write_whole(Path(workdir) / name, text.encode())
