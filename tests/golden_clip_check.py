"""Compares the CLIP towers with outputs of transformers' PyTorch `CLIPModel`.

    python -m tests.golden_clip_check DIR

DIR is a CLIP folder in Hugging Face layout that also holds `golden.npz`: `input_ids` (n, tokens)
and `pixel_values` (n, 3, size, size), with the projected, unnormalised `text_embeds` and
`image_embeds` (n, embedding).  One line a check; exit status 1 where one is beyond its tolerance.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from mixcon3d_jax.errors import exit_on_input_error
from mixcon3d_jax.models.clip_config import read_config
from mixcon3d_jax.models.clip_weights import load_clip

TOLERANCE = 1e-4


def largest_errors(folder: Path) -> dict[str, float]:
    """Largest absolute error of each tower's outputs."""
    clip = load_clip(folder, read_config(folder))
    with np.load(folder / "golden.npz") as golden:
        outputs = {
            "text_embeds": clip.text(golden["input_ids"]),
            "image_embeds": clip.vision(golden["pixel_values"].transpose(0, 2, 3, 1)),
        }
        return {
            name: float(np.max(np.abs(np.asarray(output) - golden[name])))
            for name, output in outputs.items()
        }


@exit_on_input_error
def main() -> int:
    """Prints the checks; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="DIR")
    failed = 0
    for name, error in largest_errors(parser.parse_args().folder).items():
        # `not <=` so that a NaN fails
        bad = not error <= TOLERANCE
        failed += bad
        print(f"{'FAIL' if bad else 'ok  '} {name}: largest error {error:.2e} (<= {TOLERANCE:.0e})")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
