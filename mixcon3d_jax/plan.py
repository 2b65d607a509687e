"""What a training costs on a TPU, before there is one.

    python -m mixcon3d_jax.plan --config=configs/ensembled.py --topology=v5e:16x16 --batch=65536

The TPU compiler compiles the real training step for the topology, on this machine, without a TPU.
`docs/plan.md` says what the figures mean.
"""

import json
import sys

from absl import flags
from ml_collections import config_flags

from mixcon3d_jax import commands
from mixcon3d_jax.errors import InputError
from mixcon3d_jax.planning.compiler import use_compiler_only
from mixcon3d_jax.planning.planner import RECORDS, Settings, make_plan
from mixcon3d_jax.planning.report import targets_to_json, targets_to_text, to_json, to_text
from mixcon3d_jax.planning.targets import plan_targets
from mixcon3d_jax.planning.topology import parse_topology

_CONFIG = config_flags.DEFINE_config_file("config", None, "The run's config file.")
_TOPOLOGY = flags.DEFINE_string(
    "topology", None, "As v5e:16x16, v4-32, or 4*v5e:16x16 for four slices."
)
_PROGRAM = flags.DEFINE_enum(
    "program", "train", ("train", "targets"), "The training step, or embedding ahead by its CLIP."
)
_BATCH = flags.DEFINE_integer(
    "batch", None, "The global batch; default: the config's, and 128 a chip for the targets."
)
_RECORDS = flags.DEFINE_integer("records", None, "Of the split; default: known for OpenShape's.")
_EFFICIENCY = flags.DEFINE_float(
    "efficiency", 0.4, "Share of the floor's speed that a step is expected to reach."
)
_SEARCH = flags.DEFINE_bool("search", True, "If it doesn't fit: look for settings that do.")
_LARGEST = flags.DEFINE_bool("largest", True, "Look for the largest batch.")
_JSON = flags.DEFINE_bool("json", False, "Print one JSON object.")
_IMAGES_A_CHIP = 128
flags.mark_flags_as_required(["config", "topology"])


def main(argv: list[str]) -> None:
    """Prints the plan."""
    del argv
    config = _CONFIG.value
    if not 0 < _EFFICIENCY.value <= 1:
        raise InputError(f"--efficiency={_EFFICIENCY.value} must be more than 0, and 1 at most")
    if _RECORDS.value is not None and _RECORDS.value < 1:
        raise InputError(f"--records={_RECORDS.value} must be 1 or more")
    settings = Settings(
        batch=_BATCH.value,
        records=_RECORDS.value or RECORDS.get(config.data.split),
        efficiency=_EFFICIENCY.value,
        search=_SEARCH.value,
        largest=_LARGEST.value,
    )
    topology = parse_topology(_TOPOLOGY.value)
    use_compiler_only()
    if _PROGRAM.value == "targets":
        batch = _BATCH.value or _IMAGES_A_CHIP * topology.chips
        targets = plan_targets(config, topology, batch, lambda line: print(line, file=sys.stderr))
        found = targets_to_json(targets) if _JSON.value else None
        print(json.dumps(found, indent=2) if found else targets_to_text(targets))
        return
    plan = make_plan(config, topology, settings, lambda line: print(line, file=sys.stderr))
    name = flags.FLAGS["config"].config_filename
    print(json.dumps(to_json(plan, name), indent=2) if _JSON.value else to_text(plan, name))


if __name__ == "__main__":
    commands.run(main)
