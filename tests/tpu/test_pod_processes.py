"""A Cloud TPU VM knows its pod: its metadata, served on this machine, to real processes."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.processes import ROOT

# What the metadata server of worker 2 of a pod of 4 hosts says.
ATTRIBUTES = {
    "agent-worker-number": "2",
    "worker-network-endpoints": "unknown:unknown:127.0.0.1,b:b:10.0.0.2,c:c:10.0.0.3,d:d:10.0.0.4",
    "tpu-env": "ACCELERATOR_TYPE: 'v4-32'\nWORKER_ID: '2'\n",
}

PROGRAM = """
import json, os
from jax._src.clusters import cloud_tpu_cluster
# What JAX makes of a machine with chips.
cloud_tpu_cluster.running_in_cloud_tpu_vm = True
os.environ.pop("TPU_SKIP_MDS_QUERY", None)
from mixcon3d_jax.distributed.processes import find_processes
found = find_processes("", 0, -1, 5)
print(json.dumps(found and [found.coordinator, found.count, found.index]))
"""


class _Metadata(BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.removeprefix("/computeMetadata/v1/instance/attributes/")
        known = self.server.attributes.get(name)
        self.send_response(200 if known is not None else 404)
        self.end_headers()
        self.wfile.write((known or "").encode())

    def log_message(self, *arguments):
        pass


@pytest.mark.parametrize(
    ("endpoints", "expected"),
    [
        (ATTRIBUTES["worker-network-endpoints"], ["127.0.0.1:8482", 4, 2]),
        ("unknown:unknown:127.0.0.1", None),  # one host is no pod
    ],
)
def test_the_processes_of_a_pod_are_found(endpoints, expected):
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Metadata)
    server.attributes = ATTRIBUTES | {"worker-network-endpoints": endpoints}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TPU_", "JAX_", "MEGASCALE_"))
    }
    environment["GCE_METADATA_IP"] = f"127.0.0.1:{server.server_address[1]}"
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=environment,
            timeout=120,
        )
    finally:
        server.shutdown()
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == expected
