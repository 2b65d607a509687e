"""Holding out a part of a manifest's assets to test on."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mixcon3d_jax.assets.manifest import Entry, ManifestError


def hold_out(entries: Sequence[Entry], fraction: float, seed: int) -> list[Entry]:
    """The entries with a random `fraction` of each class in the split "test".

    At least one asset of a class is held out, and at least one is left to train on.

    Raises:
      ManifestError: when the manifest names splits itself.
    """
    named = sorted({entry.split for entry in entries} - {"train"})
    if named:
        raise ManifestError(
            f"the manifest names the split '{named[0]}' itself; leave out --test-fraction"
        )
    test = set()
    for class_name in sorted({entry.class_name for entry in entries}):
        ids = sorted(entry.id for entry in entries if entry.class_name == class_name)
        count = min(max(round(len(ids) * fraction), 1), len(ids) - 1)
        rng = np.random.default_rng([seed, *class_name.encode()])
        test.update(rng.choice(ids, size=count, replace=False))
    return [replace(entry, split="test") if entry.id in test else entry for entry in entries]
