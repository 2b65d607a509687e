"""CLIPs by name: folders, the shipped one, and a hub that is a server on this machine."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mixcon3d_jax.models.clip_config import ClipError
from mixcon3d_jax.models.clip_hub import SMALL, find_clip, small_clip_folder

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "config.json": b'{"model_type": "clip"}',
    "model.safetensors": b"weights",
    "pytorch_model.bin": b"the same weights again",
}
FIND = """
import sys
from mixcon3d_jax.models.clip_hub import find_clip
print(*find_clip(sys.argv[1]))
"""


def git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Hub(BaseHTTPRequestHandler):
    """Holds one repository, `acme/clip`, with a revision `main`."""

    def do_HEAD(self):
        self.answer(with_content=False)

    def do_GET(self):
        self.answer(with_content=True)

    def answer(self, with_content: bool) -> None:
        if self.path.startswith("/api/models/acme/clip/revision/main"):
            siblings = [{"rfilename": name} for name in FILES]
            body = {"id": "acme/clip", "sha": COMMIT, "siblings": siblings}
            return self.send(json.dumps(body).encode(), {"Content-Type": "application/json"})
        if self.path.startswith(f"/api/models/acme/clip/tree/{COMMIT}"):
            tree = [
                {"type": "file", "path": name, "oid": git_hash(content), "size": len(content)}
                for name, content in FILES.items()
            ]
            return self.send(json.dumps(tree).encode(), {"Content-Type": "application/json"})
        name = self.path.rsplit("/", 1)[-1]
        if self.path.startswith("/acme/clip/resolve/") and name in FILES:
            content = FILES[name]
            headers = {"ETag": f'"{git_hash(content)}"', "X-Repo-Commit": COMMIT}
            return self.send(content, headers, with_content)
        code = "RevisionNotFound" if "acme/clip/" in self.path else "RepoNotFound"
        return self.send(b"{}", {"X-Error-Code": code}, status=404)

    def send(self, body: bytes, headers: dict, with_content: bool = True, status: int = 200):
        self.send_response(status)
        for key, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(key, value)
        self.end_headers()
        if with_content:
            self.wfile.write(body)

    def log_message(self, *arguments) -> None:
        pass


@pytest.fixture
def hub():
    server = ThreadingHTTPServer(("localhost", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def find(name, home, hub=None) -> subprocess.CompletedProcess:
    """What a command of its own finds, as the library reads its settings when it is imported."""
    port = hub.server_port if hub else 9  # nobody listens there
    environment = os.environ | {"HF_ENDPOINT": f"http://localhost:{port}", "HF_HOME": str(home)}
    return subprocess.run(
        [sys.executable, "-c", FIND, name], capture_output=True, text=True, env=environment
    )


def test_folders_and_the_shipped_clip(tmp_path):
    assert find_clip(tmp_path).folder == tmp_path
    assert find_clip(SMALL).folder == small_clip_folder()
    with pytest.raises(ClipError, match=r"nowhere: no such folder.*OWNER/NAME.*'small'"):
        find_clip("nowhere")


def test_a_repository_is_downloaded_once(hub, tmp_path):
    first = find("acme/clip", tmp_path, hub)
    assert first.returncode == 0, first.stderr
    folder, repository = first.stdout.split()
    assert repository == "acme/clip"
    assert sorted(os.listdir(folder)) == ["config.json", "model.safetensors"]
    # What is in the cache needs no hub.
    assert find("acme/clip", tmp_path).stdout == first.stdout


def test_what_the_hub_does_not_have_is_named(hub, tmp_path):
    unknown = find("acme/clap", tmp_path, hub).stderr
    assert "ClipError: acme/clap: the hub has no repository of that name" in unknown
    revision = find("acme/clip@later", tmp_path, hub).stderr
    assert "ClipError: acme/clip: the hub has no revision 'later'" in revision


def test_without_a_network_it_says_what_to_do(tmp_path):
    error = find("acme/clip", tmp_path).stderr
    assert "ClipError: acme/clip: not in the hub's cache, and the hub can't be reached" in error
    assert "hf download acme/clip" in error
