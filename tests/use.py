"""The commands that use a model, called in the tests' own process."""

import contextlib
import io
from collections.abc import Callable
from typing import NamedTuple

import pytest


class Done(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str


def call(main: Callable[[list[str]], int | None], *arguments: object) -> Done:
    """A command's `main` with arguments; fails the test on anything but an exit."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main([str(argument) for argument in arguments]) or 0
        except SystemExit as error:
            status = error.code
    return Done(status, out.getvalue(), err.getvalue())


def refused(main: Callable[[list[str]], int | None], *arguments: object) -> str:
    """What a command says that ends with status 2."""
    done = call(main, *arguments)
    if done.status != 2 or "Traceback" in done.err:
        pytest.fail(f"status {done.status}: {done.err}")
    return done.err
