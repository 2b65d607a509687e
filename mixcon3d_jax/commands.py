"""What the commands that take a `--config` share: flags, devices, readable errors."""

import functools
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import jax
from absl import app, flags, logging
from jax.sharding import Mesh
from ml_collections import ConfigDict

from mixcon3d_jax.distributed.processes import find_processes
from mixcon3d_jax.distributed.start import start
from mixcon3d_jax.errors import InputError, exit_on_input_error
from mixcon3d_jax.host_memory import keep_freed_memory
from mixcon3d_jax.sharding import make_mesh, use_virtual_cpu_devices
from mixcon3d_jax.training.preemption import PREEMPTED_STATUS
from mixcon3d_jax.training.run_config import flat_config

# Keys that may differ from host to host of a run.
_OF_ONE_HOST = (
    "distributed.process_id",
    "clip.path",
    "data.num_threads",
    "data.root",
    "data.stage_to",
)
_COORDINATOR_STAYS_S = 3.0


def run(
    main: Callable[[list[str]], Any],
    before_parsing: Callable[[list[str]], None] = lambda argv: None,
) -> None:
    """`absl.app.run`, with errors that a user can mend shown without a traceback.

    Args:
      main: of the command.
      before_parsing: called with the arguments before they are parsed, to define further flags.
    """

    # Libraries report every file of a checkpoint at level INFO.
    logging.set_verbosity(logging.WARNING)

    def parse(argv: list[str]) -> list[str]:
        return _parse_flags(argv, before_parsing)

    app.run(leaves_at_once(exit_on_input_error(main)), flags_parser=exit_on_input_error(parse))


def leaves_at_once(main: Callable[..., Any]) -> Callable[..., Any]:
    """A run's failing process ends without waiting for the others, which may wait for it.

    Process 0 is the coordinator, with which JAX aborts all others: it stays until they have said
    why they leave, where they have found that out together.
    """

    @functools.wraps(main)
    def wrapped(*args, **kwargs) -> Any:
        try:
            return main(*args, **kwargs)
        except BaseException as error:
            status = error.code if isinstance(error, SystemExit) else 1
            if not jax.distributed.is_initialized() or status in (None, 0, PREEMPTED_STATUS):
                raise
            if not isinstance(error, SystemExit):
                traceback.print_exc()
            sys.stdout.flush()
            sys.stderr.flush()
            if jax.process_index() == 0:
                time.sleep(_COORDINATOR_STAYS_S)
            os._exit(status if isinstance(status, int) else 1)

    return wrapped


def _parse_flags(argv: list[str], before_parsing: Callable[[list[str]], None]) -> list[str]:
    try:
        before_parsing(argv)
        rest = flags.FLAGS(argv)
        if "config" in flags.FLAGS:
            flags.FLAGS.config.to_dict()  # a config file that can't be loaded fails when it is used
    except (AttributeError, KeyError) as error:  # ml_collections' way to refuse an unknown key
        reason = str(error).strip("'\"").replace("\\'", "'").replace("\\n", ". ")
        raise InputError(
            f"the config has no such key: {reason} (see configs/base.py for all keys)"
        ) from error
    except flags.Error as error:
        # What a config file raises comes with its whole traceback in the message.
        reason = str(error).strip().splitlines()[-1].removeprefix("ValueError: ")
        raise InputError(f"{reason} (see --help)") from error
    except OSError as error:
        reason = " ".join(str(error).split("Attempted")[-1].split())
        raise InputError(f"the config file can't be loaded: {reason}; correct --config") from error
    if len(rest) > 1:
        raise InputError(f"unexpected argument {rest[1]!r}; flags are written --name=value")
    return rest


def start_devices(config: ConfigDict) -> Mesh:
    """Meets the other processes and makes the config's mesh; nothing touches a device before."""
    if config.virtual_cpu_devices:
        use_virtual_cpu_devices(config.virtual_cpu_devices)
    keep_freed_memory()
    _start_processes(config)
    mesh = make_mesh(config.mesh.replica, config.mesh.data, config.mesh.fsdp)
    if jax.process_index() == 0:
        kinds = {device.device_kind for device in mesh.devices.flat}
        number = "1 device" if mesh.size == 1 else f"{mesh.size} devices"
        where = f" of {jax.process_count()} processes" if jax.process_count() > 1 else ""
        print(f"{number} ({', '.join(sorted(kinds))}){where}", file=sys.stderr)
    return mesh


def _start_processes(config: ConfigDict) -> None:
    given = config.distributed
    processes = find_processes(
        given.coordinator, given.num_processes, given.process_id, given.timeout_seconds
    )
    if processes is None:
        return
    settings = {
        f"config.{key}": str(value)
        for key, value in flat_config(config.to_dict()).items()
        if key not in _OF_ONE_HOST
    }
    start(processes, settings, given.timeout_seconds, given.heartbeat_seconds)
