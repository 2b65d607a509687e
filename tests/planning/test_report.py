"""What a plan looks like to people and to programs."""

import dataclasses
import json

from mixcon3d_jax.planning.cost import Cost, Messages, Products
from mixcon3d_jax.planning.floor import step_floor
from mixcon3d_jax.planning.memory import Memory
from mixcon3d_jax.planning.options import Options
from mixcon3d_jax.planning.planner import Figures, Plan, Settings
from mixcon3d_jax.planning.report import to_json, to_text
from mixcon3d_jax.planning.topology import parse_topology

CONFIGURED = Options(65_536, 1, "gather", False, "float32", 1)
PROPOSED = dataclasses.replace(CONFIGURED, negatives="ring", accum_steps=4)
COST = Cost(
    products={"float32 (highest)": Products(197 * 10**9, 6)},
    messages={"all-reduce": Messages(3, 10**6, 2 * 10**6)},
    unknown_loops=["while.7"],
)
STEP = Figures(
    options=PROPOSED,
    memory=Memory(parameters=2**20, temporaries=2**30),
    cost=COST,
    floor=step_floor(COST, parse_topology("v5e:16x16").chip),
    fits=True,
)
PLAN = Plan(
    topology=parse_topology("v5e:16x16"),
    mesh={"replica": 1, "data": 256, "fsdp": 1},
    settings=Settings(batch=None, records=1000, efficiency=0.5, search=True, largest=True),
    configured=CONFIGURED,
    refused="it needs 20.00 GiB of 15.75",
    step=STEP,
    flags=("--config.optim.negatives=ring", "--config.optim.accum_steps=4"),
    largest_batch=131_072,
    steps=3600 * 1000,
)


def test_a_proposal_is_told_with_its_flags():
    text = to_text(PLAN, "configs/ensembled.py")
    assert "DOES NOT FIT: it needs 20.00 GiB of 15.75" in text
    assert "FITS with --config.optim.negatives=ring --config.optim.accum_steps=4" in text
    assert "in 4 micro-batches, float32, negatives by ring; 64 rows a chip" in text
    assert "products float32 (highest), GFLOP" in text
    assert "x 6 bfloat16 passes" in text
    assert "loops of unknown length, counted once: while.7" in text
    assert "largest batch with these settings (powers of two): 131,072" in text
    # 6 ms at half the speed, 3.6 million times.
    assert "12.0 ms, 12.0 hours at an efficiency of 0.5" in text
    assert "not measured" in text


def test_json_has_the_same_figures_as_plain_values():
    plan = json.loads(json.dumps(to_json(PLAN, "configs/ensembled.py")))
    assert (plan["fits"], plan["fits_as_configured"]) == (True, False)
    assert plan["step"]["memory"]["peak"] == 2**30 + 2**20
    assert plan["step"]["cost"]["flops"] == 197 * 10**9
    assert plan["step"]["floor"]["bound"] == "products"
    assert plan["training"]["hours"] == PLAN.hours
    assert plan["training"]["measured"] is False


def test_without_anything_that_fits_there_are_no_hours():
    plan = dataclasses.replace(PLAN, step=None, flags=(), largest_batch=None)
    text = to_text(plan, "configs/ensembled.py")
    assert text.endswith("DOES NOT FIT, nor does anything tried")
    assert to_json(plan, "x")["training"]["hours"] is None
    assert to_json(plan, "x")["fits"] is False


def test_a_split_of_unknown_length_asks_for_it():
    plan = dataclasses.replace(
        PLAN, settings=dataclasses.replace(PLAN.settings, records=None), steps=None
    )
    assert "give --records=N" in to_text(plan, "configs/shapenet_only.py")
