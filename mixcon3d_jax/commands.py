"""What the commands that take a `--config` share: flags, devices, readable errors."""

import sys
from collections.abc import Callable
from typing import Any

import jax
from absl import app, flags, logging
from jax.sharding import Mesh
from ml_collections import ConfigDict

from mixcon3d_jax.errors import InputError, exit_on_input_error
from mixcon3d_jax.sharding import make_mesh, use_virtual_cpu_devices


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

    app.run(exit_on_input_error(main), flags_parser=exit_on_input_error(parse))


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
    """Makes the config's mesh; the first thing in a command that touches a device."""
    if config.virtual_cpu_devices:
        use_virtual_cpu_devices(config.virtual_cpu_devices)
    mesh = make_mesh(config.mesh.replica, config.mesh.data, config.mesh.fsdp)
    if jax.process_index() == 0:
        kinds = {device.device_kind for device in mesh.devices.flat}
        number = "1 device" if mesh.size == 1 else f"{mesh.size} devices"
        print(f"{number} ({', '.join(sorted(kinds))})", file=sys.stderr)
    return mesh
