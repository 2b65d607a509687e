"""Whether a model embeds a file alike again, and alike when it is turned and said to be.

    python -m benchmarks.turned_copies --model=smoke_run/workdir smoke_run/assets/unseen/*/000?.glb

Embeds glTF files, which are y-up, twice, and copies of them that were turned to z-up and written
anew; prints how many embeddings are equal to the bit, and the cosines between file and copy.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import trimesh

from mixcon3d_jax.errors import exit_on_input_error
from mixcon3d_jax.inference.classification import unit_rows
from mixcon3d_jax.inference.command_line import MODES, add_mode_flag, add_model_flags, model_of

_QUARTER = trimesh.transformations.rotation_matrix(np.pi / 2, [1, 0, 0])


@exit_on_input_error
def main() -> None:
    """Prints a line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_model_flags(parser)
    add_mode_flag(parser)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    args = parser.parse_args()
    model = model_of(args)
    with tempfile.TemporaryDirectory() as folder:
        copies = [_turned(path, Path(folder) / f"{i}.glb") for i, path in enumerate(args.files)]
        turned = model.embed_assets(copies, "z", mode=args.mode)
    first, again = (model.embed_assets(args.files, mode=args.mode) for _ in range(2))
    equal = int((first == again).all(axis=1).sum())
    cosines = (unit_rows(first) * unit_rows(turned)).sum(axis=1)
    print(
        f"{len(first)} files {MODES[args.mode]}: {equal} embedded alike again, to the bit; cosine "
        f"with the turned copy {cosines.min():.5f} at least, {np.median(cosines):.5f} in the middle"
    )


def _turned(path: Path, copy: Path) -> Path:
    scene = trimesh.load_scene(path)
    scene.apply_transform(_QUARTER)
    scene.export(copy)
    return copy


if __name__ == "__main__":
    main()
