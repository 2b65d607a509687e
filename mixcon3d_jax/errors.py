"""The one kind of error that a user can mend, and how commands show it."""

import contextlib
import functools
import sys
import warnings
from collections.abc import Callable, Iterator


class InputError(Exception):
    """Something given by the user is wrong: a file, a record, a config key, a flag.

    The message says what is wrong, where, and what to do about it.  Commands print it without a
    traceback; everything else is a fault of this project and keeps its traceback.

    Attributes:
      exit_status: of a command that ends with this error.  2: the same command will fail again.
    """

    exit_status = 2


def exit_on_input_error(main: Callable[..., int | None]) -> Callable[..., int | None]:
    """Wraps a command's `main`: of an `InputError` only the message and exit status are seen."""

    @functools.wraps(main)
    def wrapped(*args, **kwargs):
        try:
            return main(*args, **kwargs)
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(error.exit_status)

    return wrapped


class InputWarning(Warning):
    """Something given by the user is used, but not as it was given; the message says how.

    No `UserWarning`: threads that read textures have those ignored, which is of the whole process.
    """


@contextlib.contextmanager
def plain_warnings() -> Iterator[None]:
    """For commands: of an `InputWarning` only the message is seen, as often as it is given."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", InputWarning)
        show = warnings.showwarning

        def plainly(message, category, *rest, **named) -> None:
            if issubclass(category, InputWarning):
                print(f"warning: {message}", file=sys.stderr)
            else:
                show(message, category, *rest, **named)

        warnings.showwarning = plainly
        yield
