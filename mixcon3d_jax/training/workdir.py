"""What a workdir says about its run, so that only the same run continues in it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mixcon3d_jax.errors import InputError
from mixcon3d_jax.files import write_whole
from mixcon3d_jax.training.run_config import differing_keys

CONFIG_FILE = "config.json"
DATASET_FILE = "dataset.json"

# Keys of a config that weights depend on.
_OF_THE_WEIGHTS = ("config.model.", "config.clip.")


class WorkdirError(InputError):
    """A workdir is none, is damaged, or belongs to another run."""


def claim_workdir(workdir: Path, config: ConfigDict, checksums: Mapping[str, str]) -> None:
    """Writes config and data set into a new workdir, or checks that an old one is of the same run.

    A workdir with a config but without a data set was made of imported weights: the first training
    in it may be any that has the same model and CLIP.

    Args:
      workdir: made if missing.
      config: of the run.
      checksums: of the data that it trains on, by data set.

    Raises:
      WorkdirError: if the workdir belongs to another config or data set; the message says how they
        differ.
      WriteError: if it can't be written.
    """
    if (Path(workdir) / CONFIG_FILE).exists():
        differing = differing_keys(config, read_config(workdir).to_dict())
        if (Path(workdir) / DATASET_FILE).exists():
            known = _read_json(workdir, DATASET_FILE)
            differing += [
                f"data set, {key}: checksum {known.get(key)} there, {checksums.get(key)} here"
                for key in sorted(known.keys() | checksums.keys())
                if known.get(key) != checksums.get(key)
            ]
        else:
            differing = [line for line in differing if line.startswith(_OF_THE_WEIGHTS)]
        if differing:
            listed = "\n  ".join(differing)
            raise WorkdirError(
                f"{workdir} belongs to another run:\n  {listed}\n"
                "use another --workdir, or the same config and data to continue that run"
            )
    # In this order: a config alone lets the same command continue.
    write_config(workdir, config)
    _write_json(workdir, DATASET_FILE, dict(checksums))


def write_config(workdir: Path, config: ConfigDict) -> None:
    """Makes a folder a workdir, of no data set yet.

    Raises:
      WriteError: if it can't be written.
    """
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
