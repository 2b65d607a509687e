"""Memory of a chip while chips and batch grow together, by the TPU compiler; no TPU is needed.

    python -m benchmarks.pod_memory

Compiles the training step of `configs/ensembled.py`, with a fixed number of rows a chip, for one
topology after another, and prints what each of their chips needs.  A compilation takes minutes.
"""

import argparse
import sys

from configs import ensembled
from mixcon3d_jax.errors import exit_on_input_error
from mixcon3d_jax.planning.compiler import topology_devices, use_compiler_only
from mixcon3d_jax.planning.programs import RefusedStep, compile_training_step
from mixcon3d_jax.planning.topology import parse_topology

TOPOLOGIES = ("v5e:2x4", "v5e:8x8", "v5e:16x16", "4*v5e:16x16")


@exit_on_input_error
def main() -> None:
    """Prints a table: chips, batch, and a chip's memory in MiB."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=64, help="a chip")
    parser.add_argument("--negatives", choices=("ring", "gather"), default="ring")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--topologies", nargs="+", default=TOPOLOGIES, metavar="NAME")
    args = parser.parse_args()
    use_compiler_only()
    print("| topology | chips | batch | temporaries, MiB | peak, MiB | to the first |")
    print("|---|---|---|---|---|---|")
    first = None
    for name in args.topologies:
        topology = parse_topology(name)
        batch = args.rows * topology.chips
        config = ensembled.get_config()
        config.optim.batch_size = batch
        config.optim.negatives = args.negatives
        config.model.dtype = args.dtype
        config.mesh.replica = topology.slices
        step = compile_training_step(config, topology_devices(topology))
        start = f"| {topology.name} | {topology.chips:,} | {batch:,} "
        if isinstance(step, RefusedStep):
            print(f"{start}| - | does not fit | - |", flush=True)
            print(step.message, file=sys.stderr)
            continue
        peak = step.memory.peak
        first = first or peak
        print(
            f"{start}| {step.memory.temporaries / 2**20:,.0f} | {peak / 2**20:,.0f} "
            f"| {peak / first - 1:+.1%} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
