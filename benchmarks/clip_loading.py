"""How much memory a host needs to load a CLIP whose weights a mesh shares.

    python -m benchmarks.clip_loading [--width=1024 --layers=8] [--processes=1,2,4]

Makes a checkpoint of random weights in several files and loads it with one process, then with
several that stand for the hosts of a pod, one device each.  Prints the most memory that a process
had beyond what it had before, the files' pages in the page cache not counted.  The memory of a CPU
device is the host's and part of the figure.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from tests.processes import ROOT, free_port

MIB = 2**20
_POLL_SECONDS = 0.002


def make_checkpoint(folder: Path, width: int, layers: int, files: int = 8) -> int:
    """Writes a CLIP of random weights as `files` safetensors files; returns the weights' bytes."""
    from flax import nnx
    from safetensors.numpy import save_file

    from mixcon3d_jax.models.clip import Clip
    from mixcon3d_jax.models.clip_config import read_config
    from mixcon3d_jax.models.clip_weights import INDEX_FILE, checkpoint_tensors

    tower = {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": width // 64,
    }
    words = {"vocab_size": 4096, "bos_token_id": 4094, "eos_token_id": 4095, "pad_token_id": 4095}
    config = {
        "model_type": "clip",
        "projection_dim": width,
        "text_config": tower | words,
        "vision_config": tower,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    sizes = read_config(folder)
    tensors = checkpoint_tensors(Clip(sizes, rngs=nnx.Rngs(0)), sizes)
    places = {}
    for number in range(files):
        name = f"model-{number + 1:05}-of-{files:05}.safetensors"
        part = dict(list(tensors.items())[number::files])
        save_file(part, folder / name)
        places |= dict.fromkeys(part, name)
    (folder / INDEX_FILE).write_text(json.dumps({"weight_map": places}))
    return sum(tensor.nbytes for tensor in tensors.values())


def peaks(folder: Path, processes: int) -> list[int]:
    """Bytes that each of so many processes needed at most while it loaded the checkpoint."""
    port = str(free_port())
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.clip_loading", "--load", folder, str(index),
             str(processes), port],
            stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )
        for index in range(processes)
    ]  # fmt: skip
    outputs = [process.communicate(timeout=300)[0] for process in started]
    if any(process.returncode for process in started):
        raise SystemExit("loading failed")
    return [int(output.splitlines()[-1]) for output in outputs]


def _load(folder: Path, index: int, processes: int, port: str) -> None:
    """In a process of its own: loads, and prints the most memory that it needed for that."""
    import jax

    from mixcon3d_jax.models.clip_config import read_config
    from mixcon3d_jax.models.clip_weights import flat_parameters, load_clip
    from mixcon3d_jax.sharding import make_mesh, use_virtual_cpu_devices

    use_virtual_cpu_devices(1)
    if processes > 1:
        jax.distributed.initialize(f"localhost:{port}", processes, index)
    mesh, config = make_mesh(1, 1, -1), read_config(folder)
    jax.block_until_ready(jax.numpy.zeros(1) + 1)
    before, highest, done = _anonymous_bytes(), [0], threading.Event()

    def watch() -> None:
        while not done.is_set():
            highest[0] = max(highest[0], _anonymous_bytes())
            time.sleep(_POLL_SECONDS)

    watcher = threading.Thread(target=watch)
    watcher.start()
    clip = load_clip(folder, config, mesh=mesh)
    jax.block_until_ready(flat_parameters(clip))
    done.set()
    watcher.join()
    print(highest[0] - before, flush=True)


def _anonymous_bytes() -> int:
    """Memory of this process that no file holds."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+) kB", status)[1]) * 1024


def main(argv: list[str] | None = None) -> None:
    """Prints a line for each number of processes."""
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["--load"]:
        return _load(Path(argv[1]), int(argv[2]), int(argv[3]), argv[4])
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.clip_loading", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--processes", default="1,2,4")
    flags = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        size = make_checkpoint(Path(name), flags.width, flags.layers)
        print(f"weights: {size / MIB:,.0f} MiB in float32, in 8 files")
        for count in map(int, flags.processes.split(",")):
            most = float(np.max(peaks(Path(name), count)))
            share = most / size
            print(f"{count} processes: at most {most / MIB:,.0f} MiB a process, {share:.0%}")
    return None


if __name__ == "__main__":
    main()
