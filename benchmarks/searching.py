"""Exact search among many embeddings, by NumPy and by FAISS.

    python -m benchmarks.searching [--rows=1000000] [--numbers=512] [--queries=1] [--json]

Random embeddings of length 1 in memory; each round asks once for the 10 nearest of every query.
FAISS takes part where it is installed (`pip install -e '.[faiss]'`); its index is made anew for
each question, as `python -m mixcon3d_jax.retrieve` makes it.
"""

import argparse
import importlib.util

import numpy as np

from benchmarks.timing import report, take_turns
from mixcon3d_jax.arguments import whole_number
from mixcon3d_jax.inference.search import nearest

_TOP = 10
_BLOCK = 10_000


def unit_rows_at_random(rows: int, numbers: int) -> np.ndarray:
    """Made in blocks, so that memory holds little beside them."""
    rng = np.random.default_rng(0)
    made = np.empty((rows, numbers), np.float32)
    for start in range(0, rows, _BLOCK):
        block = made[start : start + _BLOCK]
        rng.standard_normal(out=block, dtype=np.float32)
        block /= np.linalg.norm(block, axis=1, keepdims=True)
    return made


def main() -> None:
    """Prints a row for each backend."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=whole_number(1), default=1_000_000)
    parser.add_argument("--numbers", type=whole_number(1), default=512)
    parser.add_argument("--queries", type=whole_number(1), default=1)
    parser.add_argument("--rounds", type=whole_number(2), default=5)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    index = unit_rows_at_random(args.rows, args.numbers)
    queries = unit_rows_at_random(args.queries, args.numbers)
    backends = ["numpy", *(["faiss"] if importlib.util.find_spec("faiss") else [])]
    sides = {name: lambda name=name: nearest(index, queries, _TOP, name) for name in backends}
    took = take_turns(sides, args.rounds)
    report(
        [
            {
                f"{args.rows:,} x {args.numbers}": name,
                "queries": args.queries,
                "ms (quartiles)": took[name],
            }
            for name in backends
        ],
        as_json=args.json,
    )


if __name__ == "__main__":
    main()
