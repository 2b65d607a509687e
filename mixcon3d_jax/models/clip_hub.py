"""Where a CLIP's folder is: on this disk, in this package, or on the Hugging Face hub."""

import importlib
import re
from pathlib import Path
from typing import NamedTuple

from mixcon3d_jax.models.clip_config import ClipError

SMALL = "small"

# Of a repository that may also hold the same weights for other frameworks.
_FILES = (
    "config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-*-of-*.safetensors",
)
_REPOSITORY = r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?"


def small_clip_folder() -> Path:
    """The folder of the small CLIP that ships with this package."""
    return Path(__file__).parent.parent / "small_clip"


class ClipPlace(NamedTuple):
    """A CLIP's folder, and its repository if it is of the hub."""

    folder: Path
    repository: str | None = None


def find_clip(name: str | Path) -> ClipPlace:
    """Where a CLIP is; one of the hub is downloaded first.

    Args:
      name: a folder in Hugging Face layout; `small`; or a repository of the hub as `OWNER/NAME` or
        `OWNER/NAME@REVISION`, taken from the hub's cache (`HF_HOME`) if it is there.

    Raises:
      ClipError: there is no such folder or repository, or the hub can't be reached.
    """
    if str(name) == SMALL:
        return ClipPlace(small_clip_folder())
    folder = Path(name)
    if folder.is_dir():
        return ClipPlace(folder)
    found = re.fullmatch(_REPOSITORY, str(name))
    if not found:
        raise ClipError(
            f"{name}: no such folder. Give the folder of a CLIP in Hugging Face layout, a "
            f"repository of the hub as OWNER/NAME, or '{SMALL}' for the one that comes along."
        )
    return _download(*found.groups())


def _download(repository: str, revision: str | None) -> ClipPlace:
    hub = importlib.import_module("huggingface_hub")
    errors = importlib.import_module("huggingface_hub.errors")
    try:
        folder = hub.snapshot_download(repository, revision=revision, allow_patterns=list(_FILES))
    except (errors.RevisionNotFoundError, errors.RepositoryNotFoundError) as error:
        what = f"revision {revision!r}" if revision else "repository of that name"
        raise ClipError(
            f"{repository}: the hub has no {what}, or it is private (HF_TOKEN), and there is no "
            f"such folder either. Check the spelling."
        ) from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        raise ClipError(
            f"{repository}: not in the hub's cache, and the hub can't be reached ({error}). "
            f"Download it where there is a network ('hf download {repository}') and bring the "
            f"cache along (HF_HOME), or give the folder."
        ) from error
    except (errors.HfHubHTTPError, OSError) as error:
        raise ClipError(
            f"{repository}: can't be downloaded ({error}). Run the same command again; what was "
            f"downloaded is kept."
        ) from error
    return ClipPlace(Path(folder), repository)
