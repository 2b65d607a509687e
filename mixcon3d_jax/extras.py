"""Packages that only some commands need, which pip brings as extras."""

import contextlib
from collections.abc import Iterator

from mixcon3d_jax.errors import InputError


class MissingExtraError(InputError):
    """A package is not installed that an extra would bring."""


@contextlib.contextmanager
def extra(name: str, what: str) -> Iterator[None]:
    """Around imports: says what to install where one of them fails.

    Args:
      name: of the extra.
      what: needs it, as the beginning of a sentence.

    Raises:
      MissingExtraError: if a package is not there.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{what} needs the package {error.name}: pip install 'mixcon3d-jax[{name}]'"
        ) from error
