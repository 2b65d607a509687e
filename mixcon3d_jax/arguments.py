"""What commands with argparse have in common on the command line."""

import argparse
from collections.abc import Callable

CLIP_HELP = "a folder in Hugging Face layout, a repository of the hub (OWNER/NAME), or 'small'"


def command_parser(module: str, description: str, example: str) -> argparse.ArgumentParser:
    """The parser of `python -m MODULE`; description and example are shown as they are."""
    return argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=description,
        epilog=example,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def whole_number(least: int) -> Callable[[str], int]:
    """Reads a flag's value as a whole number of `least` or more."""

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"'{text}' is no whole number of {least} or more")
        return int(text)

    return read
