"""A small server that speaks as much of the Hugging Face hub's API as a download needs."""

import hashlib
import json
import threading
import urllib.parse
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

REPO = "OpenShape/openshape-training-data"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
CHUNK = 1 << 14


@dataclass
class FakeHub:
    """What the server holds and how it misbehaves; all of it may be changed while it runs.

    Attributes:
      files: path -> content.  Those that end in .gz or .zip are LFS files: the hub knows their
        sha256 and sends the client on to another address for their content.
      status: of the listing (200), or an error's; `error_code` goes with it.
      refused: path -> the status that its content is refused with.
      cut: path -> the numbers of bytes after which the next answers break off.
      stall: path -> after so many bytes the answer stops until `let_go` is set.
      wrong: path -> how many of the next answers have a wrong byte.
      ranges: False to ignore requests for a part.
      listed_sizes: path -> a size that the listing claims.
      requests: (path of the file, value of the Range header, of the Authorization header).
    """

    files: dict[str, bytes]
    endpoint: str = ""
    status: int = 200
    error_code: str = ""
    refused: dict[str, int] = field(default_factory=dict)
    cut: dict[str, list[int]] = field(default_factory=dict)
    stall: dict[str, int] = field(default_factory=dict)
    wrong: dict[str, int] = field(default_factory=dict)
    ranges: bool = True
    listed_sizes: dict[str, int] = field(default_factory=dict)
    requests: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    let_go: threading.Event = field(default_factory=threading.Event)

    def listing(self) -> dict:
        """What the API answers for the repository."""
        siblings = []
        for path, content in self.files.items():
            blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            size = self.listed_sizes.get(path, len(content))
            sibling = {"rfilename": path, "size": size, "blobId": blob}
            if is_lfs(path):
                sha256 = hashlib.sha256(content).hexdigest()
                sibling["lfs"] = {"sha256": sha256, "size": size, "pointerSize": 134}
            siblings.append(sibling)
        return {"id": REPO, "sha": COMMIT, "siblings": siblings, "private": False, "tags": []}


def is_lfs(path: str) -> bool:
    return path.endswith((".gz", ".zip"))


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub

    def do_GET(self):
        hub, path = self.hub, urllib.parse.unquote(urllib.parse.urlparse(self.path).path)
        if path == f"/api/datasets/{REPO}":
            self._answer_listing()
        elif path.startswith(prefix := f"/datasets/{REPO}/resolve/{COMMIT}/"):
            name = path.removeprefix(prefix)
            if is_lfs(name) and name not in hub.refused:
                # Another host, as the hub's content network is: 127.0.0.1 becomes localhost.
                place = hub.endpoint.replace("127.0.0.1", "localhost")
                self._reply(302, {"Location": f"{place}/content/{urllib.parse.quote(name)}"})
                self._remember(f"resolve {name}")
            else:
                self._answer_content(name)
        elif path.startswith("/content/"):
            self._answer_content(path.removeprefix("/content/"))
        else:
            self._reply(404, {"X-Error-Code": "RepoNotFound"})

    def _answer_listing(self):
        if self.hub.status != 200:
            self._reply(self.hub.status, {"X-Error-Code": self.hub.error_code})
            return
        content = json.dumps(self.hub.listing()).encode()
        self._reply(200, {"Content-Type": "application/json"}, content)

    def _answer_content(self, name):
        hub = self.hub
        self._remember(name)
        if name in hub.refused:
            self._reply(hub.refused[name], {"X-Error-Code": hub.error_code})
            return
        content = bytearray(hub.files[name])
        if hub.wrong.get(name, 0):
            hub.wrong[name] -= 1
            content[len(content) // 2] ^= 1
        asked = self.headers["Range"] if hub.ranges else None
        first = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(content) - first))
        if asked:
            whole = f"bytes {first}-{len(content) - 1}/{len(content)}"
            self.send_header("Content-Range", whole)
        self.end_headers()
        cuts = hub.cut.get(name)
        self._send(name, bytes(content[first:]), cuts.pop(0) if cuts else None)

    def _send(self, name, content, cut):
        hold = self.hub.stall.pop(name, None)
        for start in range(0, len(content), CHUNK):
            if cut is not None and start >= cut:
                self.close_connection = True
                return
            if hold is not None and start >= hold:
                self.wfile.flush()
                self.hub.let_go.wait(60)
            self.wfile.write(content[start : start + CHUNK])

    def _remember(self, name):
        self.hub.requests.append((name, self.headers["Range"], self.headers["Authorization"]))

    def _reply(self, status, headers, content=b""):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass

    def handle(self):
        try:
            super().handle()
        except (ConnectionError, TimeoutError):  # the client was killed
            self.close_connection = True


@contextmanager
def serve(files: dict[str, bytes]):
    """Runs a `FakeHub` on a port of this machine."""
    hub = FakeHub(files)
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.let_go.set()
        server.shutdown()
        server.server_close()
        thread.join()
