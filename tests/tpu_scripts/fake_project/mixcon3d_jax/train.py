"""A training that only counts, with the exit statuses and signals of the real one.

Checkpoints are empty folders, made by process 0 every ten steps, at the end and on SIGTERM.
`--config.end=STEP:STATUS:PROCESS` ends a process when it is at a step or beyond, with STATUS
`killed` by SIGKILL; with `:once` only the first time.  `--config.deaf=PROCESS` hears no SIGTERM and
never ends, unless a process of the run was ended before it started.
"""

import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path

flags = dict(argument.lstrip("-").split("=", 1) for argument in sys.argv[1:])
process = int(os.environ["JAX_PROCESS_ID"])
workdir = Path(flags["workdir"])
folder = workdir / "checkpoints"
marker = workdir / "ended"
deaf = flags.get("config.deaf") == str(process) and not marker.exists()
terminated = []


def save(step: int) -> None:
    if process == 0:
        (folder / str(step)).mkdir(parents=True, exist_ok=True)


def end(status: str) -> None:
    print(f"\nending with {status}", flush=True)
    if status == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    sys.exit(int(status))


signal.signal(signal.SIGTERM, lambda *_: None if deaf else terminated.append(True))
digest = hashlib.sha256(os.environ.get("WANDB_API_KEY", "").encode()).hexdigest()
about = {"arguments": sys.argv[1:], "digest": digest, "processes": os.environ["JAX_NUM_PROCESSES"]}
Path.home().joinpath("about.json").write_text(json.dumps(about))

steps = [int(path.name) for path in folder.glob("*")]
step = max(steps, default=0)
print(f"starting from step {step}", flush=True)
end_step, end_status, end_process, *once = flags.get("config.end", "-1:0:0").split(":")
while True:
    ends_here = 0 <= int(end_step) <= step and process == int(end_process)
    if ends_here and not (once and marker.exists()):
        workdir.mkdir(parents=True, exist_ok=True)
        marker.touch()
        end(end_status)
    if step >= int(flags["config.steps"]) and not deaf:
        break
    time.sleep(0.05)
    step += 1
    print(f"\rstep {step}", end="", flush=True)
    if terminated:
        save(step)
        end("75")
    if step % 10 == 0:
        save(step)
save(step)
print("\nfinished", flush=True)
