"""Downloads the OpenShape training data: `python -m data_prep.download --help`."""

import argparse
import contextlib
import fcntl
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from data_prep.arguments import command_parser, whole_number
from data_prep.hub import RemoteFile, list_files
from data_prep.transfer import bytes_here, fetch_all
from data_prep.unzip import unpack_zip
from data_prep.verified import Verified
from mixcon3d_jax.errors import InputError, exit_on_input_error
from mixcon3d_jax.files import check_writable

REPO_ID = "OpenShape/openshape-training-data"
META_DATA = "meta_data.zip"
_ENDINGS = (".tar.gz", ".zip")

_DESCRIPTION = """\
Downloads the OpenShape training data (205 GB) from the Hugging Face hub: shapes as archives, which
the conversion reads as they are, and meta data (splits, benchmarks), which is unpacked to
OUTPUT/meta_data; meta_data.zip is kept, too.

The size and the hash of every file are checked.  Interrupted, the same command continues in the
middle of each file; repeated, it finds in seconds that all is there.  A repository that asks for a
login is opened by `hf auth login` or HF_TOKEN, a mirror of the hub named by HF_ENDPOINT.
"""
_EXAMPLE = """\
example:
  python -m data_prep.download --output=openshape --only=ShapeNet,meta_data
"""


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("download", _DESCRIPTION, _EXAMPLE)
    add = parser.add_argument
    add("--output", type=Path, required=True, help="the folder that the files go to")
    add(
        "--only",
        metavar="NAMES",
        help="comma-separated: meta_data, ShapeNet, ABO, 3D-FUTURE, Objaverse (all of it) or "
        "Objaverse/000-012 (default: everything)",
    )
    add("--repo-id", default=REPO_ID, help="a data set repository (default: %(default)s)")
    add(
        "--workers",
        type=whole_number(1),
        default=4,
        help="files at the same time (default: %(default)s)",
    )
    return parser


class DiskSpaceError(InputError):
    """The files do not fit the disk."""


@exit_on_input_error
def main(arguments: list[str] | None = None) -> None:
    """Runs the command."""
    args = _parser().parse_args(arguments)
    remotes = list_files(args.repo_id)
    if args.only is not None:
        remotes = choose(remotes, args.only.split(","))
    download(remotes, args.output, args.workers)


def choose(remotes: Sequence[RemoteFile], names: Sequence[str]) -> list[RemoteFile]:
    """The files that `names` name: without their extension, or a folder for all in it.

    Raises:
      InputError: nothing is named so; the message lists what there is.
    """
    chosen = set()
    for name in (name.strip().strip("/") for name in names):
        named = {
            remote
            for remote in remotes
            if name in (remote.path, _name(remote)) or remote.path.startswith(f"{name}/")
        }
        if not named:
            raise InputError(f"--only: there is no {name!r}; there are {_listed(remotes)}")
        chosen |= named
    return sorted(chosen, key=lambda remote: remote.path)


def download(remotes: Sequence[RemoteFile], output: Path, workers: int) -> None:
    """Brings all files into `output`, checks them, and unpacks the meta data.

    Raises:
      InputError: the disk is too small or can't be written, the hub fails, or a file's content is
        wrong twice.  What was downloaded is kept, and one bad file keeps no other from coming.
    """
    check_writable(output)
    with _sole_user(output):
        verified = Verified(output)
        missing = [remote for remote in remotes if not verified.holds(remote)]
        _announce(remotes, missing, output)
        failures = fetch_all(missing, output, verified, workers) if missing else {}
        for remote in remotes:
            if remote.path == META_DATA and META_DATA not in failures:
                _unpack_meta_data(remote, output, verified)
    if failures:
        reasons = "\n".join(f"  {reason}" for reason in failures.values())
        raise InputError(
            f"{len(failures)} of {len(remotes)} files failed:\n{reasons}\nThe others are complete "
            "and checked; the same command tries these again"
        )
    print(f"{output} holds all {len(remotes)} files, each of the right size and content")


def _announce(remotes: Sequence[RemoteFile], missing: Sequence[RemoteFile], output: Path) -> None:
    """Says how much there is to do, and refuses what does not fit the disk."""
    total = sum(remote.size for remote in remotes)
    needed = sum(remote.size - bytes_here(remote, output) for remote in missing)
    free = shutil.disk_usage(output).free
    print(
        f"{len(remotes)} files of {_size(total)} in all: {len(remotes) - len(missing)} are here "
        f"and checked, {_size(needed)} are left to download; the disk of {output} has "
        f"{_size(free)} free",
        flush=True,
    )
    if needed > free:
        raise DiskSpaceError(
            f"{output}: {_size(needed)} do not fit the {_size(free)} that its disk has left; make "
            "room, choose another --output, or download less (--only)"
        )


def _unpack_meta_data(remote: RemoteFile, output: Path, verified: Verified) -> None:
    folder = output / _name(remote)
    if folder.is_dir() and verified.unpacked(remote):
        return
    count = unpack_zip(output / remote.path, folder)
    verified.remember_unpacked(remote)
    print(f"{count} files of {remote.path} are unpacked in {folder}")


@contextlib.contextmanager
def _sole_user(output: Path) -> Iterator[None]:
    """Two runs that append to the same files would spoil them."""
    with (output / ".download.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"another download into {output} is running: wait for it, or end it first"
            ) from error
        yield


def _name(remote: RemoteFile) -> str:
    """What `--only` calls a file: its path without the extension."""
    for ending in _ENDINGS:
        if remote.path.endswith(ending):
            return remote.path.removesuffix(ending)
    return remote.path


def _listed(remotes: Sequence[RemoteFile]) -> str:
    """All names, those of a folder as a range."""
    names: dict[str, list[str]] = {}
    for remote in remotes:
        folder = PurePosixPath(remote.path).parts[0] if "/" in remote.path else ""
        names.setdefault(folder, []).append(_name(remote))
    alone = names.pop("", [])
    ranges = [
        f"{folder} ({len(inside)} files: {inside[0]} to {inside[-1]})"
        for folder, inside in names.items()
    ]
    return ", ".join([*alone, *ranges])


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e7 else f"{count:,} bytes"


if __name__ == "__main__":
    sys.exit(main())
