"""What a training step takes on pods of many sizes, by the TPU compiler; no TPU is needed.

    python -m benchmarks.pod_scaling [--scaling=3] [--topologies v5e:2x4 v4:2x2x2 ...] [--json]

Compiles the training step of `configs/ensembled.py`, with a fixed number of rows a chip, for one
topology after another, and prints what each of their chips takes.  The floor is the least time
that arithmetic, memory or messages leave a step, and the rate what the whole pod does at it;
nothing of this is measured on a TPU.  `grouping` is the share of farthest point sampling, ball
query and gather in the traffic of memory.  A compilation takes minutes.
"""

import argparse
import sys
import time

from benchmarks.timing import report
from configs import ensembled
from mixcon3d_jax.errors import exit_on_input_error
from mixcon3d_jax.models.pointbert import SCALINGS
from mixcon3d_jax.planning.compiler import topology_devices, use_compiler_only
from mixcon3d_jax.planning.floor import step_floor
from mixcon3d_jax.planning.programs import CompiledStep, RefusedStep, compile_training_step
from mixcon3d_jax.planning.topology import Topology, parse_topology

# From 8 to 1,024 chips.
TOPOLOGIES = ("v5e:2x4", "v5e:4x8", "v5e:8x16", "v5e:16x16", "4*v5e:16x16")
_GROUPING = ("sampling", "ball_query", "gather")


@exit_on_input_error
def main() -> None:
    """Prints a row for each topology."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scaling", type=int, choices=SCALINGS, default=3)
    parser.add_argument("--rows", type=int, default=32, help="a chip (default: %(default)s)")
    parser.add_argument("--negatives", choices=("ring", "gather"), default="gather")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--topologies", nargs="+", default=TOPOLOGIES, metavar="NAME")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    use_compiler_only()
    rows = []
    for name in args.topologies:
        topology = parse_topology(name)
        config = ensembled.get_config()
        config.optim.batch_size = args.rows * topology.chips
        config.optim.negatives = args.negatives
        config.model.scaling, config.model.dtype = args.scaling, args.dtype
        config.mesh.replica = topology.slices
        print(f"compiling for {topology.name} ...", file=sys.stderr, flush=True)
        began = time.monotonic()
        step = compile_training_step(config, topology_devices(topology))
        print(f"  {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        rows.append(_row(topology, config.optim.batch_size, step))
    report(rows, as_json=args.json)


def _row(topology: Topology, batch: int, step: CompiledStep | RefusedStep) -> dict:
    row = {"topology": topology.name, "chips": topology.chips, "batch": batch}
    if isinstance(step, RefusedStep):
        print(step.message, file=sys.stderr)
        return row | {"floor, ms": "does not fit"}
    cost = step.cost()
    floor = step_floor(cost, topology.chip)
    grouping = sum(cost.part_bytes.get(part, 0) for part in _GROUPING)
    return row | {
        "peak, MiB": round(step.memory.peak / 2**20),
        "temporaries, MiB": round(step.memory.temporaries / 2**20),
        "GFLOP": round(cost.flops / 1e9),
        "HBM, GB": cost.hbm_bytes / 1e9,
        "grouping, %": 100 * grouping / cost.hbm_bytes,
        "sent, MB": sum(sent.sent for sent in cost.messages.values()) / 1e6,
        "floor, ms": 1e3 * floor.seconds,
        "by": floor.bound,
        "compiler's estimate, ms": 1e3 * floor.schedule,
        "clouds/s at the floor": round(batch / floor.seconds),
    }


if __name__ == "__main__":
    main()
