"""How often an asset's nearest neighbour, by embedding, is of its class.

    python -m benchmarks.nearest_classes --model=DIR --manifest=MANIFEST.json --up-axis=y

Embeds the assets of a manifest, looks for each one's nearest other by cosine (leave-one-out), and
compares their classes.  An asset that is the only one of its class is not counted.  Chance is what
a neighbour drawn at random gets right.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from jaxtyping import Float

from mixcon3d_jax.errors import exit_on_input_error
from mixcon3d_jax.inference.classification import unit_rows
from mixcon3d_jax.inference.command_line import (
    MODES,
    add_asset_flags,
    add_mode_flag,
    add_model_flags,
    model_of,
    say_what_failed,
)
from mixcon3d_jax.inference.inputs import find_assets


def nearest_agreement(
    rows: Float[np.ndarray, "assets D"], classes: list[str]
) -> tuple[int, float, float]:
    """Assets that have others of their class, and of them, in percent: right ones, and chance."""
    names, counts = np.array(classes), Counter(classes)
    unit = unit_rows(rows)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    others = np.array([counts[name] - 1 for name in classes])
    right = names[cosines.argmax(axis=1)] == names
    counted = others > 0
    chance = others[counted] / (len(classes) - 1)
    return int(counted.sum()), 100 * float(right[counted].mean()), 100 * float(chance.mean())


@exit_on_input_error
def main() -> int:
    """Prints one line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_model_flags(parser)
    add_asset_flags(parser)
    add_mode_flag(parser)
    parser.add_argument("--manifest", type=Path, required=True)
    args = parser.parse_args()
    model = model_of(args)
    files = find_assets([args.manifest], args.up_axis)
    found = model.embed_files(files, mode=args.mode, workers=args.workers, shown=True)
    status = say_what_failed(found)
    counted, right, chance = nearest_agreement(
        found.embeddings, [file.class_name for file in found.files]
    )
    print(
        f"{len(found.files)} of {len(files)} assets embedded {MODES[args.mode]}; of {counted} with "
        f"others of their class {right:.1f} % have one as nearest neighbour, chance {chance:.1f} %"
    )
    return status


if __name__ == "__main__":
    sys.exit(main())
