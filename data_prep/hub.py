"""A data set repository on the Hugging Face hub: what it holds, and getting a file of it.

Files come by plain HTTP with ranges, because a file of many gigabytes has to be continued where an
earlier run was interrupted; the library's own `hf_hub_download` begins such a file anew.
"""

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import BinaryIO

from huggingface_hub import HfApi, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import build_hf_headers, disable_progress_bars

from mixcon3d_jax.errors import InputError
from mixcon3d_jax.files import WriteError

# Seconds between attempts; they begin anew whenever an attempt brought some bytes.
WAITS_S = (1, 2, 4, 8, 16, 32)
_LIST_TIMEOUT_S = 60

# Never the network's doing.
_FAULTS = (TypeError, AttributeError)

_KEPT = "What was downloaded is kept: run the same command again to continue"


class HubError(InputError):
    """The hub can't be reached, or gives nothing to this user."""


class FileError(InputError):
    """One file can't be had; others may."""


class StoppedError(Exception):
    """Somebody asked for an end of the download."""


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository.

    Attributes:
      path: in the repository, with slashes.
      size: in bytes.
      digest: `sha256:...`, or `git:...` (the hash that git gives a blob) for the small files of
        which the hub knows no other.
      url: of its content in exactly this version.
    """

    path: str
    size: int
    digest: str
    url: str


def list_files(repo_id: str, endpoint: str | None = None) -> list[RemoteFile]:
    """All files of a data set repository as of now, without hidden ones (`.gitattributes`).

    Args:
      repo_id: owner/name.
      endpoint: the hub's address (default: `HF_ENDPOINT`, else huggingface.co).

    Raises:
      HubError: the hub can't be reached, or has no such repository for this user.
    """
    api = HfApi(endpoint=endpoint)
    try:
        info = api.dataset_info(repo_id, files_metadata=True, timeout=_LIST_TIMEOUT_S)
    except _FAULTS:
        raise
    # The client's own network errors differ between its versions and have no public base class.
    except Exception as error:
        raise HubError(_explain(error, repo_id, api.endpoint)) from error
    files = []
    for sibling in info.siblings or ():
        path = PurePosixPath(sibling.rfilename)
        if path.is_absolute() or ".." in path.parts:
            raise HubError(f"{repo_id}: a file is named {sibling.rfilename!r}; nothing is written")
        if path.name.startswith("."):
            continue
        digest = f"sha256:{sibling.lfs.sha256}" if sibling.lfs else f"git:{sibling.blob_id}"
        url = hf_hub_url(
            repo_id, str(path), repo_type="dataset", revision=info.sha, endpoint=api.endpoint
        )
        files.append(RemoteFile(str(path), sibling.size or 0, digest, url))
    return sorted(files, key=lambda file: file.path)


def fetch(
    remote: RemoteFile,
    partial: Path,
    count: Callable[[int], None],
    stop: threading.Event,
) -> None:
    """Appends to `partial` what it lacks of a file; after a failure what came is kept there.

    Args:
      remote: the file.
      partial: the beginning of it, if it exists.
      count: told of the number of bytes that were written, or (negative) thrown away.
      stop: when set, the download ends with `StoppedError`.

    Raises:
      HubError: the connection fails again and again, or the repository gives no files.
      FileError: the hub refuses this file.
      WriteError: the disk is full or can't be written.
    """
    disable_progress_bars("huggingface_hub.http_get")  # `count` feeds one for all files
    partial.parent.mkdir(parents=True, exist_ok=True)
    pauses = iter(WAITS_S)
    while True:
        before = _size(partial)
        try:
            with _Sink(partial, count, stop) as sink:
                headers = build_hf_headers() | {"Accept-Encoding": "identity"}
                http_get(
                    remote.url,
                    sink,
                    resume_size=before,
                    headers=headers,
                    expected_size=remote.size,
                )
            return
        except (StoppedError, WriteError, *_FAULTS):
            raise
        except Exception as error:
            if _size(partial) > before:
                pauses = iter(WAITS_S)
            pause = next(pauses, None) if _may_pass(error) else None
            if pause is None:
                raise _failure(error, remote) from error
        if stop.wait(pause):
            raise StoppedError


def digest_of(path: Path, like: str) -> str:
    """The digest of a file's content, of the same kind as `like` (see `RemoteFile`)."""
    with path.open("rb") as file:
        if like.startswith("sha256:"):
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        blob = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
        while block := file.read(1 << 20):
            blob.update(block)
        return f"git:{blob.hexdigest()}"


class _Sink:
    """What the client writes to: appends to a file, counts, and can be stopped from outside."""

    def __init__(self, path: Path, count: Callable[[int], None], stop: threading.Event) -> None:
        self._path, self._count, self._stop = path, count, stop
        self._file: BinaryIO | None = None

    def __enter__(self) -> "_Sink":
        try:
            self._file = self._path.open("ab")
        except OSError as error:
            raise WriteError.of(self._path, error) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._file.close()
        except OSError as error:  # of bytes that `write` could not flush, and has told of
            raise WriteError.of(self._path, error) from error

    def write(self, chunk: bytes) -> int:
        if self._stop.is_set():
            raise StoppedError
        try:
            written = self._file.write(chunk)
            self._file.flush()  # so that a killed run loses nothing
        except OSError as error:
            raise WriteError.of(self._path, error) from error
        self._count(written)
        return written

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int) -> int:
        return self._file.seek(offset)

    def truncate(self) -> int:
        """Throws away what lies behind the position: the server ignored the range."""
        before = _size(self._path)
        size = self._file.truncate()
        self._count(size - before)
        return size


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _may_pass(error: Exception) -> bool:
    """Whether it is worth trying again: a fault of the network or of the server."""
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code >= 500 or error.response.status_code in (408, 429)
    return not isinstance(error, OfflineModeIsEnabled)


def _failure(error: Exception, remote: RemoteFile) -> InputError:
    """The error to show for a file that can't be had: its own, or one that ends everything."""
    if isinstance(error, (RepositoryNotFoundError, OfflineModeIsEnabled)):
        return HubError(f"{remote.path}: {_explain(error, 'the repository', remote.url)}.  {_KEPT}")
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        return FileError(f"{remote.path}: {remote.url} answers {status} ({_first_line(error)})")
    return HubError(
        f"{remote.path}: the connection to {remote.url} fails again and again "
        f"({_first_line(error)}).  {_KEPT}"
    )


def _explain(error: Exception, repo_id: str, address: str) -> str:
    """What went wrong with a repository as a whole, and what to do."""
    if isinstance(error, HFValidationError):
        return f"--repo-id={repo_id} is no name of a repository ({error}); say OWNER/NAME"
    if isinstance(error, OfflineModeIsEnabled):
        return f"{address} is not asked because HF_HUB_OFFLINE is set; unset it to download"
    if isinstance(error, GatedRepoError):
        return (
            f"{repo_id} at {address} is open only to those who accepted its terms: accept them on "
            "its page, then log in with `hf auth login` or set HF_TOKEN"
        )
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    if status in (401, 403, 404):
        return (
            f"{address} has no data set {repo_id}, or not for you: check --repo-id, and log in "
            "with `hf auth login` or set HF_TOKEN if it is private"
        )
    if status is not None:
        return f"{address} answers {status} for {repo_id}: try again later"
    return (
        f"the hub at {address} can't be reached ({_first_line(error)}); check the network, a proxy "
        "(HTTPS_PROXY) or the address of a mirror (HF_ENDPOINT), then run the same command again"
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
