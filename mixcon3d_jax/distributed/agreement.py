"""What the processes of a running run tell each other, beside their collectives.

Goes through the coordinator, so one process may take hours while the others wait.
"""

import itertools
import json
from collections.abc import Callable
from typing import Any, TypeVar

import jax

from mixcon3d_jax.errors import InputError

T = TypeVar("T")

# A process that dies ends all others (see `start`), so waiting needs no end of its own.
_PATIENCE_MS = 7 * 24 * 3600 * 1000
# All processes talk about the same things in the same order.
_topics = itertools.count()


class OtherProcessError(InputError):
    """Another process met something that a user can mend."""


def gather_texts(text: str) -> list[str]:
    """The texts that all processes call this with, by process."""
    if jax.process_count() == 1:
        return [text]
    client = _client()
    topic = f"mixcon3d_jax/{next(_topics)}"
    client.key_value_set(f"{topic}/{jax.process_index()}", text)
    return [
        client.blocking_key_value_get(f"{topic}/{index}", _PATIENCE_MS)
        for index in range(jax.process_count())
    ]


def wait_for_all() -> None:
    """Returns when all processes have called it."""
    gather_texts("here")


def on_every_process(function: Callable[[], T]) -> T:
    """Calls `function` on every process, and fails on all if it fails on one.

    Raises:
      InputError: that of this process, or one that says what another process met.
    """
    error: InputError | None = None
    try:
        result = function()
    except InputError as met:
        error = met
    for index, text in enumerate(gather_texts(f"error: {error}" if error else "done")):
        if text.startswith("error: ") and error is None:
            raise OtherProcessError(f"process {index}: {text.removeprefix('error: ')}")
    if error is not None:
        raise error
    return result


def as_first_process_finds(function: Callable[[], Any]) -> Any:
    """What `function`, called on process 0 alone, returns: something that JSON can hold.

    Raises:
      InputError: if it does on process 0.
    """
    found: list[Any] = []

    def ask() -> None:
        if jax.process_index() == 0:
            found.append(function())

    on_every_process(ask)
    return json.loads(gather_texts(json.dumps(found))[0])[0]


def _client() -> Any:
    # There is no public name for the coordinator's store of texts.
    from jax._src import distributed

    return distributed.global_state.client
