"""A server on this machine that speaks as much of Cloud Storage's JSON API as gcsfs, TensorStore
and google-cloud-storage need.

`with bucket_server() as server:` gives `server.environment`, the environment variables under which
any process reads and writes `server.url` (`gs://test-bucket`).  As a command it serves until it is
killed, after printing those variables for a shell:

    python -m tests.bucket_server [--port=PORT]
"""

import argparse
import base64
import datetime
import hashlib
import itertools
import json
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

BUCKET = "test-bucket"


@dataclass(frozen=True)
class StoredObject:
    """One version of an object."""

    content: bytes
    generation: int
    updated: str


@dataclass
class BucketServer:
    """What the server holds and how it misbehaves; all of it may be changed while it runs.

    Attributes:
      endpoint: address of the server.
      buckets: bucket -> name of an object -> its newest version.
      denied: buckets for which every request is answered with 403.
      denied_writes: buckets for which every change is answered with 403.
      failures: name of an object -> how many of the next requests for it get 503.
      damaged: name of an object -> how many of the next answers have a wrong byte.
      slow: name of an object -> seconds by which its answers are late.
      requests: (method, bucket, name of the object) of every request for an object; the method is
        READ for its content.
    """

    endpoint: str = ""
    buckets: dict[str, dict[str, StoredObject]] = field(default_factory=lambda: {BUCKET: {}})
    denied: set[str] = field(default_factory=set)
    denied_writes: set[str] = field(default_factory=set)
    failures: dict[str, int] = field(default_factory=dict)
    damaged: dict[str, int] = field(default_factory=dict)
    slow: dict[str, float] = field(default_factory=dict)
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)
    uploads: dict[str, dict[str, Any]] = field(default_factory=dict)
    # Larger than those of a server before this one.
    _generations: Iterator[int] = field(default_factory=lambda: itertools.count(time.time_ns()))

    @property
    def url(self) -> str:
        """Of the bucket that is there from the start."""
        return f"gs://{BUCKET}"

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to take this server for Cloud Storage."""
        return {
            "STORAGE_EMULATOR_HOST": self.endpoint,  # gcsfs, google-cloud-storage
            "TENSORSTORE_GCS_HTTP_URL": self.endpoint,
            "GOOGLE_AUTH_TOKEN_FOR_TESTING": "test",  # TensorStore
            "GOOGLE_CLOUD_PROJECT": "test-project",
            "GCE_METADATA_HOST": "127.0.0.1:1",  # nobody asks the network who this machine is
            "NO_GCE_CHECK": "true",
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # would ask over gRPC
        }

    def files(self, prefix: str = "", bucket: str = BUCKET) -> dict[str, bytes]:
        """Name -> content of all objects whose name starts with `prefix`."""
        with self.lock:
            found = self.buckets[bucket].items()
            return {name: item.content for name, item in found if name.startswith(prefix)}

    def put(self, name: str, content: bytes, bucket: str = BUCKET) -> StoredObject:
        """Stores an object, without preconditions."""
        with self.lock:
            now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            stored = StoredObject(content, next(self._generations), now)
            self.buckets[bucket][name] = stored
            return stored


class _RefusedError(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status, self.message = status, message


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server_state: BucketServer

    ROUTES = (
        ("GET", r"/storage/v1/b", "_list_buckets"),
        ("POST", r"/storage/v1/b", "_make_bucket"),
        ("GET", r"/storage/v1/b/([^/]+)", "_bucket"),
        ("GET", r"/storage/v1/b/([^/]+)/storageLayout", "_bucket"),
        ("GET", r"/storage/v1/b/([^/]+)/o", "_list"),
        ("GET", r"(?:/download)?/storage/v1/b/([^/]+)/o/([^/]+)", "_read"),
        ("DELETE", r"/storage/v1/b/([^/]+)/o/([^/]+)", "_delete"),
        ("POST", r"/upload/storage/v1/b/([^/]+)/o", "_upload"),
        ("PUT", r"/upload/storage/v1/b/([^/]+)/o", "_upload"),
        ("POST", r"/storage/v1/b/([^/]+)/o/([^/]+)/compose", "_compose"),
        ("POST", r"/storage/v1/b/([^/]+)/o/([^/]+)/moveTo/o/([^/]+)", "_move"),
        (
            "POST",
            r"/storage/v1/b/([^/]+)/o/([^/]+)/(?:rewriteTo|copyTo)/b/([^/]+)/o/([^/]+)",
            "_copy",
        ),
    )

    def do_GET(self) -> None:
        self._answer()

    do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815

    def _answer(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        self.query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        try:
            for method, pattern, name in self.ROUTES:
                match = re.fullmatch(pattern, parts.path.rstrip("/"))
                if match and method == self.command:
                    arguments = [unquote(group) for group in match.groups()]
                    self._check_allowed(arguments)
                    getattr(self, name)(*arguments)
                    return
            raise _RefusedError(501, f"{self.command} {self.path} is not served here")
        except _RefusedError as error:
            content = {"error": {"code": error.status, "message": error.message}}
            self._reply(error.status, json.dumps(content).encode())

    def _check_allowed(self, arguments: list[str]) -> None:
        """Raises what the server was told to answer; notes the request."""
        state = self.server_state
        bucket = arguments[0] if arguments else ""
        name = arguments[1] if len(arguments) > 1 else self._uploaded_name()
        if name:
            with state.lock:
                kind = "READ" if self.query.get("alt") == "media" else self.command
                state.requests.append((kind, bucket, name))
            time.sleep(state.slow.get(name, 0))
        if bucket in state.denied or (bucket in state.denied_writes and self.command != "GET"):
            raise _RefusedError(403, "test-account does not have storage.objects access")
        with state.lock:
            if state.failures.get(name, 0):
                state.failures[name] -= 1
                raise _RefusedError(503, "try again")
            if arguments and bucket not in state.buckets:
                raise _RefusedError(404, "The specified bucket does not exist.")

    def _uploaded_name(self) -> str:
        if "name" in self.query or self.query.get("uploadType") != "multipart":
            return self.query.get("name", "")
        return _multipart(self.headers["Content-Type"], self.body)[0]["name"]

    # Buckets

    def _list_buckets(self) -> None:
        self._json({"kind": "storage#buckets", "items": list(map(_about_bucket, self._buckets))})

    @property
    def _buckets(self) -> dict[str, dict[str, StoredObject]]:
        return self.server_state.buckets

    def _make_bucket(self) -> None:
        name = json.loads(self.body)["name"]
        with self.server_state.lock:
            self._buckets.setdefault(name, {})
        self._json(_about_bucket(name))

    def _bucket(self, bucket: str) -> None:
        self._json(_about_bucket(bucket))

    # Objects

    def _list(self, bucket: str) -> None:
        prefix, delimiter = self.query.get("prefix", ""), self.query.get("delimiter", "")
        start = max(self.query.get("startOffset", ""), self.query.get("pageToken", ""))
        end = self.query.get("endOffset")
        with self.server_state.lock:
            objects = dict(self._buckets[bucket])
        items, prefixes, token = [], [], None
        for name in sorted(objects):
            if not name.startswith(prefix) or name < start or (end and name >= end):
                continue
            inside, cut, _ = name[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
            folder = prefix + inside + cut
            if cut and folder in prefixes:
                continue
            if len(items) + len(prefixes) >= int(self.query.get("maxResults", 1000)):
                token = name
                break
            if cut:
                prefixes.append(folder)
            else:
                items.append(_about(bucket, name, objects[name]))
        answer = {"kind": "storage#objects", "items": items, "prefixes": prefixes}
        self._json(answer | ({"nextPageToken": token} if token else {}))

    def _stored(self, bucket: str, name: str) -> StoredObject:
        with self.server_state.lock:
            stored = self._buckets[bucket].get(name)
        if stored is None:
            raise _RefusedError(404, f"No such object: {bucket}/{name}")
        return stored

    def _read(self, bucket: str, name: str) -> None:
        if "ifGenerationMatch" in self.query:
            self._check_generation(bucket, name)
        stored = self._stored(bucket, name)
        if self.query.get("ifGenerationNotMatch") == str(stored.generation):
            self._reply(304)
        elif self.query.get("alt") != "media":
            self._json(_about(bucket, name, stored))
        else:
            self._content(stored, name)

    def _content(self, stored: StoredObject, name: str) -> None:
        content = bytearray(stored.content)
        with self.server_state.lock:
            if self.server_state.damaged.get(name, 0):
                self.server_state.damaged[name] -= 1
                content[len(content) // 2] ^= 1
        headers = {
            "x-goog-generation": str(stored.generation),
            "x-goog-stored-content-encoding": "identity",
            "Last-Modified": time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime()),
        }
        size, asked = len(content), self.headers.get("Range")
        if not asked:
            self._reply(200, bytes(content), "application/octet-stream", headers)
            return
        first, last = re.fullmatch(r"bytes=(\d*)-(\d*)", asked).groups()
        begin = int(first) if first else max(size - int(last), 0)
        end = min(int(last) + 1, size) if first and last else size
        if begin >= size:
            raise _RefusedError(416, "The requested range cannot be satisfied.")
        headers["Content-Range"] = f"bytes {begin}-{end - 1}/{size}"
        self._reply(206, bytes(content[begin:end]), "application/octet-stream", headers)

    def _delete(self, bucket: str, name: str) -> None:
        with self.server_state.lock:
            self._check_generation(bucket, name)
            self._stored(bucket, name)
            del self._buckets[bucket][name]
        self._reply(204)

    def _check_generation(self, bucket: str, name: str) -> None:
        wanted = self.query.get("ifGenerationMatch")
        stored = self._buckets[bucket].get(name)
        if wanted is not None and int(wanted) != (stored.generation if stored else 0):
            raise _RefusedError(412, "At least one of the pre-conditions did not hold.")

    def _put(self, bucket: str, name: str, content: bytes) -> dict[str, Any]:
        with self.server_state.lock:
            self._check_generation(bucket, name)
            return _about(bucket, name, self.server_state.put(name, content, bucket))

    def _upload(self, bucket: str) -> None:
        kind = self.query["uploadType"]
        if kind == "media":
            self._json(self._put(bucket, self.query["name"], self.body))
        elif kind == "multipart":
            about, content = _multipart(self.headers["Content-Type"], self.body)
            self._json(self._put(bucket, self.query.get("name") or about["name"], content))
        elif "upload_id" in self.query:
            self._resume(bucket, self.query["upload_id"])
        else:
            state, number = self.server_state, hashlib.sha256(os.urandom(8)).hexdigest()[:16]
            name = self.query.get("name") or json.loads(self.body)["name"]
            state.uploads[number] = {"name": name, "content": b"", "query": self.query}
            place = f"{state.endpoint}/upload/storage/v1/b/{bucket}/o?uploadType=resumable"
            self._reply(200, headers={"Location": f"{place}&name={name}&upload_id={number}"})

    def _resume(self, bucket: str, number: str) -> None:
        upload = self.server_state.uploads[number]
        upload["content"] += self.body
        if self.headers["Content-Range"].endswith("/*"):
            last = len(upload["content"]) - 1
            self._reply(308, headers={"Range": f"bytes=0-{last}"} if last >= 0 else {})
            return
        total = int(self.headers["Content-Range"].rpartition("/")[2])
        if len(upload["content"]) < total:
            self._reply(308, headers={"Range": f"bytes=0-{len(upload['content']) - 1}"})
            return
        self.query = upload["query"]
        del self.server_state.uploads[number]
        self._json(self._put(bucket, upload["name"], upload["content"]))

    def _compose(self, bucket: str, name: str) -> None:
        sources = [source["name"] for source in json.loads(self.body)["sourceObjects"]]
        content = b"".join(self._stored(bucket, source).content for source in sources)
        self._json(self._put(bucket, name, content))

    def _copy(self, bucket: str, name: str, to_bucket: str, to_name: str) -> None:
        about = self._put(to_bucket, to_name, self._stored(bucket, name).content)
        self._json({"kind": "storage#rewriteResponse", "done": True, "resource": about})

    def _move(self, bucket: str, name: str, to_name: str) -> None:
        with self.server_state.lock:
            about = self._put(bucket, to_name, self._stored(bucket, name).content)
            del self._buckets[bucket][name]
        self._json(about)

    # Answers

    def _json(self, content: Any) -> None:
        self._reply(200, json.dumps(content).encode())

    def _reply(
        self,
        status: int,
        content: bytes = b"",
        kind: str = "application/json",
        headers: dict[str, str] | None = None,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""

    def handle(self) -> None:
        try:
            super().handle()
        except (ConnectionError, TimeoutError):  # the client was killed
            self.close_connection = True


def _about_bucket(name: str) -> dict[str, Any]:
    return {"kind": "storage#bucket", "id": name, "name": name, "location": "HERE"}


def _about(bucket: str, name: str, stored: StoredObject) -> dict[str, Any]:
    """The object resource of the API."""
    return {
        "kind": "storage#object",
        "bucket": bucket,
        "name": name,
        "generation": str(stored.generation),
        "metageneration": "1",
        "size": str(len(stored.content)),
        "md5Hash": base64.b64encode(hashlib.md5(stored.content).digest()).decode(),
        "timeCreated": stored.updated,
        "updated": stored.updated,
    }


def _multipart(content_type: str, body: bytes) -> tuple[dict[str, Any], bytes]:
    """What an upload of two parts says about the object, and the object's content."""
    boundary = re.search(r"boundary=['\"]?([^'\";]+)", content_type)[1].encode()
    _, described, rest = body.split(b"--" + boundary, 2)
    about = json.loads(re.split(rb"\r?\n\r?\n", described, maxsplit=1)[1])
    content = re.split(rb"\r?\n\r?\n", rest, maxsplit=1)[1]
    end = content.rindex(b"--" + boundary + b"--")
    return about, re.sub(rb"\r?\n\Z", b"", content[:end])


@contextmanager
def bucket_server(port: int = 0) -> Iterator[BucketServer]:
    """Serves one empty bucket on a port of this machine (default: a free one)."""
    state = BucketServer()
    handler = type("Handler", (_Handler,), {"server_state": state})
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.daemon_threads = True
    state.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def main() -> None:
    """Serves until it is killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    with bucket_server(parser.parse_args().port) as server:
        for key, value in server.environment.items():
            print(f"export {key}={value}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
