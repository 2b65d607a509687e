"""What the commands have in common on the command line."""

import argparse
from collections.abc import Callable, Collection

from mixcon3d_jax import arguments
from mixcon3d_jax.arguments import CLIP_HELP as CLIP_HELP
from mixcon3d_jax.arguments import whole_number as whole_number


def command_parser(module: str, description: str, example: str) -> argparse.ArgumentParser:
    """The parser of `python -m data_prep.MODULE`; description and example are shown as they are."""
    return arguments.command_parser(f"data_prep.{module}", description, example)


def names_among(known: Collection[str]) -> Callable[[str], list[str]]:
    """Reads a flag's value as names separated by commas, each one of `known`."""

    def read(text: str) -> list[str]:
        names = [name.strip() for name in text.split(",")]
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"'{name}' is none of {', '.join(known)}")
        return names

    return read
