"""The file of one shape, in an archive or unpacked."""

import dataclasses
from collections.abc import Callable
from pathlib import PurePosixPath

# Larger ones are no shapes: they have some 200 KB.
MAX_BYTES = 1 << 28


@dataclasses.dataclass(frozen=True)
class Member:
    """The file of one shape.

    Attributes:
      name: within its archive or folder.
      position: of its header, in bytes of the unpacked archive; None for an unpacked file.
      refused: why it must not be read; "" if it may.
      read: gives its content.
      source_bytes: of the archive (packed) or folder that were gone through since the last one.
    """

    name: str
    position: int | None
    refused: str
    read: Callable[[], bytes]
    source_bytes: int


def is_shape_file(name: str) -> bool:
    """Whether a file of that name should hold a shape."""
    # macOS puts a `._NAME` beside each NAME.
    return name.endswith(".npy") and not PurePosixPath(name).name.startswith("._")
