"""A `gcloud` that keeps TPUs in a folder and runs what their workers are told as real processes.

Only the commands and flags that the real one has are understood, and of them those that the scripts
use; anything else is an error.  The folder is named by the variable GCLOUD_STAND_IN:

    state.json          nodes, queued resources, and what new ones shall be like
    calls.jsonl         the arguments of every call
    homes/NODE/w-N/     the home folder of a worker, which goes with its node

Run as a program it is gcloud; tests use `Cloud`.
"""

import argparse
import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = "GCLOUD_STAND_IN"
# A worker's processes are known by this variable, which they inherit.
WORKER = "STAND_IN_WORKER"
# Kept from the states that a real queued resource goes through, one a look.
QUEUE_STATES = ("WAITING_FOR_RESOURCES", "PROVISIONING", "ACTIVE")

State = dict[str, Any]


class CommandError(Exception):
    """What gcloud would say to a command that fails."""


class Cloud:
    """The TPUs in a folder.

    Args:
      folder: see the module; made if it doesn't exist.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(exist_ok=True)

    @contextlib.contextmanager
    def state(self) -> Iterator[State]:
        """The state, written back at the end; nobody else reads or writes it meanwhile."""
        with open(self.folder / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            path = self.folder / "state.json"
            # `failures`: what the next creations say instead of making something.
            empty = {"nodes": {}, "queued": {}, "workers": 2, "failures": [], "environment": {}}
            empty["image"] = None
            state = json.loads(path.read_text()) if path.exists() else empty
            try:
                yield state
            finally:
                path.write_text(json.dumps(state, indent=2))

    def configure(self, **settings: Any) -> None:
        """Sets `workers` a node, `failures` of the next creations, or what workers come with.

        That is `environment`, variables, and `image`, a home folder whose environment they copy.
        """
        with self.state() as state:
            state.update(settings)

    def calls(self) -> list[list[str]]:
        """The arguments of every call, in order."""
        path = self.folder / "calls.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]

    def home(self, node: str, worker: int = 0) -> Path:
        """The home folder of a worker."""
        return self.folder / "homes" / node / f"w-{worker}"

    def processes(self, node: str, worker: int | None = None) -> list[int]:
        """Numbers of the live processes on a worker, or on all workers of a node."""
        folder = self.folder / "homes" / node
        wanted = f"{WORKER}={folder if worker is None else folder / f'w-{worker}'}".encode()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                variables = (process / "environ").read_bytes().split(b"\0")
                dead = (process / "stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX"
                if not dead and any(v == wanted or v.startswith(wanted + b"/") for v in variables):
                    found.append(int(process.name))
        return found

    def preempt(self, node: str, grace: float = 30.0) -> None:
        """Takes a node away: SIGTERM to all that runs there, SIGKILL `grace` seconds later."""
        self._end_processes(node, grace)
        with self.state() as state:
            state["nodes"][node]["state"] = "PREEMPTED"
            queued = state["nodes"][node]["queued"]
            if queued:
                state["queued"][queued]["state"] = "SUSPENDED"

    def _end_processes(self, node: str, grace: float) -> None:
        for number in self.processes(node):
            _send(number, signal.SIGTERM)
        deadline = time.monotonic() + grace
        while self.processes(node) and time.monotonic() < deadline:
            time.sleep(0.1)
        self._kill(node)

    def _kill(self, node: str) -> None:
        while alive := self.processes(node):
            for number in alive:
                _send(number, signal.SIGKILL)
            time.sleep(0.02)

    def add_nodes(self, state: State, names: list[str], queued: str | None = None) -> None:
        """Makes nodes, whose workers find each other by a port of their own."""
        with socket.socket() as free:
            free.bind(("localhost", 0))
            coordinator = f"localhost:{free.getsockname()[1]}"
        for index, name in enumerate(names):
            for worker in range(state["workers"]):
                host = f"t1v-n-{index:08x}-w-{worker}"
                self._add_worker(self.home(name, worker), host, state["image"])
            state["nodes"][name] = {
                "state": "READY",
                "queued": queued,
                "workers": state["workers"],
                "coordinator": coordinator,
                "processes": len(names) * state["workers"],
                "first_process": index * state["workers"],
            }

    def _add_worker(self, home: Path, host: str, image: str | None) -> None:
        programs = home.parent / f"{home.name}-bin"
        home.mkdir(parents=True)
        if image:
            venv = Path("mixcon3d_tpu", "venv")
            # Without what an environment that is up to date has no use for: thousands of files.
            unused = shutil.ignore_patterns("pip*", "setuptools*", "pkg_resources", "__pycache__")
            shutil.copytree(Path(image) / venv, home / venv, symlinks=True, ignore=unused)
        programs.mkdir()
        hostname = programs / "hostname"
        hostname.write_text(f"#!/bin/sh\necho {host}\n")
        hostname.chmod(0o755)

    def remove_node(self, state: State, name: str) -> None:
        """Deletes a node with its processes and disks."""
        self._kill(name)
        shutil.rmtree(self.folder / "homes" / name)
        del state["nodes"][name]

    def start(self, state: State, name: str, worker: int, command: str) -> subprocess.Popen:
        """Starts a command on a worker, as its ssh server would: by a shell, in the home folder."""
        node, home = state["nodes"][name], self.home(name, worker)
        environment = {
            "HOME": str(home),
            "USER": "worker",
            "SHELL": "/bin/bash",
            "LANG": "C.UTF-8",
            "PATH": f"{home.parent / f'{home.name}-bin'}:/usr/local/bin:/usr/bin:/bin",
            WORKER: str(home),
            "JAX_COORDINATOR_ADDRESS": node["coordinator"],
            "JAX_NUM_PROCESSES": str(node["processes"]),
            "JAX_PROCESS_ID": str(node["first_process"] + worker),
            **state["environment"],
        }
        environment["PATH"] = environment.pop("PATH_BEFORE", "") + environment["PATH"]
        return subprocess.Popen(["/bin/bash", "-c", command], cwd=home, env=environment)


def _send(number: int, signal_number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(number, signal_number)


def _parser() -> argparse.ArgumentParser:
    """The commands and flags, as `gcloud compute tpus --help` has them."""
    parser = argparse.ArgumentParser(prog="gcloud", allow_abbrev=False)
    kinds = parser.add_subparsers(dest="kind", required=True)

    def command(group: Any, verb: str, **arguments: Any) -> argparse.ArgumentParser:
        made = group.add_parser(verb, allow_abbrev=False, **arguments)
        made.add_argument("--zone", required=True)
        made.add_argument("--project", required=True)
        made.add_argument("--quiet", action="store_true")
        return made

    tpu_vm = kinds.add_parser("tpu-vm").add_subparsers(dest="verb", required=True)
    create = command(tpu_vm, "create")
    create.add_argument("name")
    create.add_argument("--accelerator-type", required=True)
    create.add_argument("--version", required=True)
    create.add_argument("--spot", action="store_true")
    create.add_argument("--network")
    describe = command(tpu_vm, "describe")
    describe.add_argument("name")
    describe.add_argument("--format", required=True)
    command(tpu_vm, "delete").add_argument("name")
    ssh = command(tpu_vm, "ssh")
    ssh.add_argument("name")
    ssh.add_argument("--worker", default="0")
    ssh.add_argument("--command", required=True)
    ssh.add_argument("--internal-ip", action="store_true")
    scp = command(tpu_vm, "scp")
    scp.add_argument("source")
    scp.add_argument("destination")
    scp.add_argument("--worker", default="0")
    scp.add_argument("--internal-ip", action="store_true")

    queued = kinds.add_parser("queued-resources").add_subparsers(dest="verb", required=True)
    create = command(queued, "create")
    create.add_argument("name")
    create.add_argument("--accelerator-type", required=True)
    create.add_argument("--runtime-version", required=True)
    count = create.add_mutually_exclusive_group(required=True)
    count.add_argument("--node-id")
    count.add_argument("--node-count", type=int)
    create.add_argument("--node-prefix")
    create.add_argument("--spot", action="store_true")
    create.add_argument("--async", action="store_true")
    describe = command(queued, "describe")
    describe.add_argument("name")
    describe.add_argument("--format", required=True)
    delete = command(queued, "delete")
    delete.add_argument("name")
    delete.add_argument("--force", action="store_true")
    return parser


def _known(entries: State, kind: str, name: str) -> State:
    if name not in entries:
        raise CommandError(
            f"NOT_FOUND: Resource 'projects/p/locations/z/{kind}/{name}' was not found"
        )
    return entries[name]


def _reachable(state: State, name: str) -> State:
    node = _known(state["nodes"], "nodes", name)
    if node["state"] in ("PREEMPTED", "TERMINATED"):
        raise CommandError(f'This TPU has terminal state "{node["state"]}", so it cannot be used')
    return node


def _workers(node: State, flag: str) -> range:
    if flag == "all":
        return range(node["workers"])
    if int(flag) >= node["workers"]:
        raise CommandError(f"worker index {flag} is larger than the valid worker indexes")
    return range(int(flag), int(flag) + 1)


def _create(cloud: Cloud, state: State, args: argparse.Namespace) -> None:
    if state["failures"]:
        raise CommandError(state["failures"].pop(0))
    entries = state["nodes" if args.kind == "tpu-vm" else "queued"]
    if args.name in entries:
        raise CommandError(f"ALREADY_EXISTS: {args.name}")
    if args.kind == "tpu-vm":
        cloud.add_nodes(state, [args.name])
        return
    if args.node_count is not None and args.node_count <= 1:
        raise CommandError("--node-count: Node count must be greater than 1")
    prefix = args.node_prefix or args.name
    names = [args.node_id] if args.node_id else [f"{prefix}-{i}" for i in range(args.node_count)]
    state["queued"][args.name] = {"state": QUEUE_STATES[0], "nodes": names}


def _describe(cloud: Cloud, state: State, args: argparse.Namespace) -> str:
    if args.kind == "tpu-vm":
        node = _known(state["nodes"], "nodes", args.name)
        fields = {"state": node["state"], "networkEndpoints.len()": node["workers"]}
    else:
        queued = _known(state["queued"], "queuedResources", args.name)
        fields = {"state.state": queued["state"]}
        if queued["state"] in QUEUE_STATES[:-1]:
            queued["state"] = QUEUE_STATES[QUEUE_STATES.index(queued["state"]) + 1]
            if queued["state"] == "ACTIVE":
                cloud.add_nodes(state, queued["nodes"], args.name)
    keys = args.format.removeprefix("value(").removesuffix(")").split(",")
    return "\t".join(str(fields[key]) for key in keys)


def _delete(cloud: Cloud, state: State, args: argparse.Namespace) -> None:
    if not args.quiet:
        raise CommandError("asks, and nobody answers: say --quiet")
    if args.kind == "tpu-vm":
        _known(state["nodes"], "nodes", args.name)
        cloud.remove_node(state, args.name)
        return
    names = _known(state["queued"], "queuedResources", args.name)["nodes"]
    alive = [name for name in names if name in state["nodes"]]
    if alive and not args.force:
        raise CommandError(f"{args.name} has nodes; say --force")
    for name in alive:
        cloud.remove_node(state, name)
    del state["queued"][args.name]


def _ssh(cloud: Cloud, state: State, args: argparse.Namespace) -> list[subprocess.Popen]:
    workers = _workers(_reachable(state, args.name), args.worker)
    return [cloud.start(state, args.name, worker, args.command) for worker in workers]


def _scp(cloud: Cloud, state: State, args: argparse.Namespace) -> None:
    name, _, path = args.destination.partition(":")
    for worker in _workers(_reachable(state, name), args.worker):
        shutil.copy(args.source, cloud.home(name, worker) / path)


def main(argv: list[str]) -> int:
    """Runs a gcloud command; its exit status."""
    cloud = Cloud(Path(os.environ[FOLDER]))
    with open(cloud.folder / "calls.jsonl", "a") as calls:
        calls.write(json.dumps(argv) + "\n")
    if argv[:2] != ["compute", "tpus"]:
        print(f"ERROR: (gcloud) Invalid choice: {argv[:2]}", file=sys.stderr)
        return 2
    args = _parser().parse_args(argv[2:])
    started = []
    try:
        with cloud.state() as state:
            if args.verb == "describe":
                print(_describe(cloud, state, args))
            elif args.verb == "ssh":
                started = _ssh(cloud, state, args)
            else:
                {"create": _create, "delete": _delete, "scp": _scp}[args.verb](cloud, state, args)
    except CommandError as error:
        print(f"ERROR: (gcloud.compute.tpus.{args.kind}.{args.verb}) {error}", file=sys.stderr)
        return 1
    statuses = [process.wait() for process in started]
    for worker, status in enumerate(statuses):
        if status and len(statuses) > 1:
            print(
                f"##### Command execution on worker {worker} failed with {status}", file=sys.stderr
            )
    return next((status for status in statuses if status), 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
