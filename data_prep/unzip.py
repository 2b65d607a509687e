"""Unpacks a zip file without letting it write anywhere else."""

import contextlib
import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from mixcon3d_jax.errors import InputError
from mixcon3d_jax.files import WriteError
from mixcon3d_jax.progress import progress


class ZipError(InputError):
    """A zip file that is damaged or names files outside the folder that it is unpacked to."""


def unpack_zip(archive: Path, folder: Path) -> int:
    """Unpacks `archive` into `folder`; files already there are replaced one by one.

    Where everything in the archive lies in one folder of the target's name, that level is left out.
    What macOS adds (`__MACOSX`, `.DS_Store`) is left out, too.

    Returns:
      The number of files.

    Raises:
      ZipError: a member's name leads outside, and nothing is written; or the archive is damaged,
        and the files before the damage stay.
      WriteError: the disk is too small, full or can't be written.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = _targets(archive, opened, folder.name)
            _check_space(archive, folder, sum(member.file_size for member, _ in members))
            for member, relative in progress(members, len(members), f"unpacking {archive.name}"):
                _write(opened, member, folder / relative)
    # RuntimeError: a member is encrypted.
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ZipError(
            f"{archive} can't be unpacked ({error}); delete it and run the same command again"
        ) from error
    return len(members)


def _targets(
    archive: Path, opened: zipfile.ZipFile, top: str
) -> list[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """Every file to unpack, and where it goes below the folder."""
    found = []
    for member in opened.infolist():
        path = PurePosixPath(member.filename.replace("\\", "/"))
        first = path.parts[0] if path.parts else ".."  # "." and "./" name the folder itself
        link = stat.S_ISLNK(member.external_attr >> 16)
        if path.is_absolute() or ".." in (first, *path.parts) or ":" in first or link:
            problem = "is a link" if link else "leads outside the folder"
            raise ZipError(
                f"{archive}: member {member.filename!r} {problem}; nothing of it was unpacked.  "
                "This is no file of the original's: check where it comes from"
            )
        if not (member.is_dir() or "__MACOSX" in path.parts or path.name == ".DS_Store"):
            found.append((member, path))
    if all(path.parts[0] == top and len(path.parts) > 1 for _, path in found):
        return [(member, PurePosixPath(*path.parts[1:])) for member, path in found]
    return found


def _check_space(archive: Path, folder: Path, needed: int) -> None:
    free = shutil.disk_usage(archive.parent).free
    if needed > free:
        raise WriteError(
            f"{archive} unpacks to {needed / 1e9:.2f} GB, but the disk of {folder} has "
            f"{free / 1e9:.2f} GB left; make room and run the same command again"
        )


def _write(opened: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with opened.open(member) as source, temporary.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)  # checks the member's CRC at its end
        temporary.replace(path)
    except OSError as error:
        raise WriteError.of(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
