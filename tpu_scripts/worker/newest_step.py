"""Prints the newest step that a workdir holds a checkpoint of, -1 if there is none.

newest_step.py WORKDIR
"""

import sys

from etils import epath


def newest_step(workdir: str) -> int:
    """The newest step with a checkpoint in `workdir`, a path or gs:// address; -1 for none."""
    folder = epath.Path(workdir) / "checkpoints"
    names = [path.name for path in folder.iterdir()] if folder.exists() else []
    return max((int(name) for name in names if name.isdigit()), default=-1)


if __name__ == "__main__":
    print(newest_step(sys.argv[1]))
