"""What running processes tell each other, between three real ones."""

import json
import subprocess
import sys

import jax
import numpy as np

from mixcon3d_jax.distributed.agreement import (
    as_first_process_finds,
    gather_texts,
    on_every_process,
)
from mixcon3d_jax.sharding import batch_sharding, global_array, local_rows, make_mesh
from tests.processes import ROOT, free_port

PROGRAM = """
import json, sys
import jax
import numpy as np
from mixcon3d_jax.distributed.agreement import *
from mixcon3d_jax.distributed.processes import Processes
from mixcon3d_jax.distributed.start import start
from mixcon3d_jax.errors import InputError
from mixcon3d_jax.sharding import *

index, port = int(sys.argv[1]), sys.argv[2]
use_virtual_cpu_devices(2)
start(Processes(f"localhost:{port}", 3, index), {}, 60, 60)

def fails_on_1():
    if jax.process_index() == 1:
        raise InputError("no such file")

def met(function):
    try:
        return function()
    except InputError as error:
        return str(error)

# A mesh in which no process has its devices side by side, as on a TPU.
devices = sorted(jax.devices(), key=lambda device: (device.id % 2, device.id))
rows = {}
for name, order in (("apart", devices), ("default", None)):
    if order is None:
        mesh = make_mesh(1, 3, 2)
    else:
        mesh = jax.sharding.Mesh(np.array(order).reshape(1, 3, 2), MESH_AXES)
    sharding = batch_sharding(mesh)
    mine = local_rows(sharding, 12)
    array = global_array(np.stack([mine, 10 * mine], axis=1), mine, sharding, 12)
    whole = jax.jit(lambda x: x, out_shardings=replicated(mesh))(array)
    rows[name] = [mine.tolist(), np.asarray(whole).tolist()]

print(json.dumps({
    "gathered": gather_texts(f"text {index}"),
    "one fails": met(lambda: on_every_process(fails_on_1)),
    "all do": on_every_process(lambda: 10 * index),
    "first finds": as_first_process_finds(lambda: {"index": jax.process_index()}),
    "first fails": met(lambda: as_first_process_finds(lambda: 1 / 0 if index else fails())),
    "rows": rows,
}), flush=True)
""".replace("fails()", "(_ for _ in ()).throw(InputError('full disk'))")


def test_three_processes_agree():
    port = str(free_port())
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(index), port],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for index in range(3)
    ]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    found = [json.loads(out.strip().splitlines()[-1]) for out, _ in outputs]
    for index, each in enumerate(found):
        assert each["gathered"] == ["text 0", "text 1", "text 2"]
        assert each["all do"] == 10 * index
        assert each["first finds"] == {"index": 0}
        assert each["first fails"].endswith("full disk")
    assert found[1]["one fails"] == "no such file"
    assert found[0]["one fails"] == found[2]["one fails"] == "process 1: no such file"
    whole = [[row, 10 * row] for row in range(12)]
    for index, each in enumerate(found):
        for name in ("apart", "default"):
            assert each["rows"][name][1] == whole
        assert each["rows"]["default"][0] == [4 * index + row for row in range(4)]
        assert each["rows"]["apart"][0] == [2 * index, 2 * index + 1, 2 * index + 6, 2 * index + 7]


def test_one_process_agrees_with_itself():
    assert gather_texts("x") == ["x"]
    assert as_first_process_finds(lambda: [1]) == [1]
    assert on_every_process(lambda: 3) == 3
    sharding = batch_sharding(make_mesh(1, 4, 2))
    rows = local_rows(sharding, 16)
    np.testing.assert_array_equal(rows, np.arange(16))
    array = global_array(10 * rows, rows, sharding, 16)
    assert array.sharding == sharding
    np.testing.assert_array_equal(jax.device_get(array), 10 * rows)
