"""What a workdir says about its run, so that only the same run continues in it.

It lies on a disk or in a bucket (`gs://`).
"""

import json
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

import mixcon3d_jax
from mixcon3d_jax.buckets import AnyPath, as_path
from mixcon3d_jax.files import ReadError, read_whole, write_whole
from mixcon3d_jax.training.lock import WorkdirError
from mixcon3d_jax.training.run_config import differing_keys, with_later_keys

CONFIG_FILE = "config.json"
DATASET_FILE = "dataset.json"
VERSION_FILE = "version.json"

# Raised when a program that knows an earlier format would misread or spoil a workdir.
FORMAT = 1

# Keys of a config that weights depend on.
_OF_THE_WEIGHTS = ("config.model.", "config.clip.")


def claim_workdir(workdir: AnyPath, config: ConfigDict, checksums: Mapping[str, str]) -> None:
    """Writes config and data set into a new workdir, or checks that an old one is of the same run.

    A workdir with a config but without a data set was made of imported weights: the first training
    in it may be any that has the same model and CLIP.

    Args:
      workdir: made if missing.
      config: of the run.
      checksums: of the data that it trains on, by data set.

    Raises:
      WorkdirError: if the workdir belongs to another config or data set (the message says how they
        differ), or to a newer version of this program.
      WriteError: if it can't be written.
    """
    old = _read_json(workdir, CONFIG_FILE)
    if old is not None:
        _check_format(workdir)
        differing = differing_keys(config, old)
        known = _read_json(workdir, DATASET_FILE)
        if known is not None:
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


def write_config(workdir: AnyPath, config: ConfigDict) -> None:
    """Makes a folder a workdir, of no data set yet.

    Raises:
      WriteError: if it can't be written.
    """
    # The config last: what has one is a workdir.
    written_by = f"mixcon3d_jax {mixcon3d_jax.__version__}"
    _write_json(workdir, VERSION_FILE, {"format": FORMAT, "written_by": written_by})
    _write_json(workdir, CONFIG_FILE, config.to_dict())


def read_config(workdir: AnyPath) -> ConfigDict:
    """The config of a workdir's run.

    Raises:
      WorkdirError: if there is none, it is damaged, or was written by a newer version of this
        program.
    """
    config = _read_json(workdir, CONFIG_FILE)
    if config is None:
        raise WorkdirError(
            f"{workdir} is not a workdir: there is no {CONFIG_FILE} in it; check --workdir"
        )
    _check_format(workdir)
    return with_later_keys(config)


def _check_format(workdir: AnyPath) -> None:
    version = _read_json(workdir, VERSION_FILE)
    if version is None:
        raise WorkdirError(
            f"{workdir} has a {CONFIG_FILE} but no {VERSION_FILE}: it was copied in part, or is "
            "older than version 0.1.0; copy all of it, or use another --workdir"
        )
    found = version.get("format")
    if not isinstance(found, int):
        raise WorkdirError(
            f"{as_path(workdir) / VERSION_FILE} is damaged (format {found!r}); restore it, or use "
            "another --workdir"
        )
    if found > FORMAT:
        raise WorkdirError(
            f"{workdir} was written by {version.get('written_by')} (workdir format {found}), while "
            f"this is mixcon3d_jax {mixcon3d_jax.__version__}, which reads formats up to {FORMAT}; "
            "update this program, or use another --workdir"
        )


def _read_json(workdir: AnyPath, name: str) -> dict[str, Any] | None:
    path = as_path(workdir) / name
    try:
        data = read_whole(path)
        if data is None:
            return None
        content = json.loads(data)
    except ReadError as error:
        raise WorkdirError(f"{workdir} can't be used: {error}") from error
    except ValueError as error:
        raise WorkdirError(
            f"{path} is damaged ({error}); restore it, or use another --workdir"
        ) from error
    if not isinstance(content, dict):
        raise WorkdirError(f"{path} is damaged (no JSON object); use another --workdir")
    return content


def _write_json(workdir: AnyPath, name: str, content: dict[str, Any]) -> None:
    text = json.dumps(content, indent=1, sort_keys=True) + "\n"
    write_whole(as_path(workdir) / name, text.encode())
