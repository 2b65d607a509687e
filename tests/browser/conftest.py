"""The page of a small model, served by the real command, and a browser that looks at it."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from mixcon3d_jax import embed
from tests.inference.conftest import export, snapshot, tiny_clip, workdir  # noqa: F401
from tests.inference.shapes import wedge, write_cloud
from tests.use import call

ROOT = Path(__file__).resolve().parents[2]
# WebGL by the processor.
FLAGS = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
# Milliseconds, on a machine that has other things to do.
PATIENCE = 30_000
MOST_MEGABYTES = 1


@pytest.fixture(scope="session")
def assets(tmp_path_factory) -> Path:
    """A folder with a mesh and clouds."""
    folder = tmp_path_factory.mktemp("assets")
    mesh = wedge()
    mesh.visual.vertex_colors = np.tile([250, 40, 20, 255], (len(mesh.vertices), 1))
    mesh.export(folder / "wedge.glb")
    for seed in range(3):
        write_cloud(folder / f"cloud{seed}.npz", seed, count=50)
    return folder


@pytest.fixture(scope="session")
def address(tmp_path_factory, workdir, tiny_clip, assets) -> Iterator[str]:  # noqa: F811
    """Where the page is."""
    index = tmp_path_factory.mktemp("index") / "shapes.npz"
    model = (f"--model={workdir}", f"--clip={tiny_clip}")
    assert call(embed.main, *model, "--up-axis=y", f"--output={index}", assets).status == 0
    (assets / "cloud2.npz").unlink()  # an index may outlive the files
    with served(*model, f"--index={index}", f"--most-megabytes={MOST_MEGABYTES}") as found:
        yield found


@contextlib.contextmanager
def served(*flags: str) -> Iterator[str]:
    """Runs `python -m mixcon3d_jax.demo` at a free port; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mixcon3d_jax.demo", *flags, f"--port={port}"]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    said: list[str] = []
    try:
        for line in process.stdout:
            said.append(line)
            if line.startswith("the page is at"):
                break
        else:
            pytest.fail("".join(said))
        # Else a full pipe would stop it.
        threading.Thread(target=lambda: said.extend(process.stdout), daemon=True).start()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)
    assert "Traceback" not in "".join(said), "".join(said)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, without a screen."""
    program = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not program:
        pytest.fail("no chromium on the PATH: install it (apt install chromium), or say CHROMIUM=")
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=program, args=FLAGS) as found,
    ):
        yield found


@pytest.fixture
def page(browser, address) -> Iterator[Page]:
    """The page, freshly opened; fails the test if it asked another host for anything."""
    elsewhere: list[str] = []

    def note(request) -> None:
        if not request.url.startswith((address, "data:", "blob:")):
            elsewhere.append(request.url)

    with browser.new_page(viewport={"width": 1400, "height": 1400}) as opened:
        opened.set_default_timeout(PATIENCE)
        opened.on("request", note)
        opened.goto(address)
        opened.locator("#files").wait_for()
        yield opened
    assert not elsewhere
