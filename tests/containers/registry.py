"""A registry of images in memory, as far as an engine needs it to fetch one; with a user name and a password."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import shutil
import socket
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

USER, PASSWORD = "ann", "canary-of-the-registry"

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


class Registry:
    """Serves one image, `team/tool:1`, which is busybox alone. `asked` is what was asked for, in order."""

    def __init__(self, listening: socket.socket) -> None:
        layer = _layer()
        config = json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {"Entrypoint": ["/busybox"]},
                "rootfs": {"type": "layers", "diff_ids": [_digest(gzip.decompress(layer))]},
            }
        ).encode()
        parts = [
            ("config", "container.image.v1+json", config),
            ("layer", "image.rootfs.diff.tar.gzip", layer),
        ]
        shown = {
            name: {"mediaType": f"application/vnd.docker.{kind}", "size": len(data), "digest": _digest(data)}
            for name, kind, data in parts
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": shown["config"],
            "layers": [shown["layer"]],
        }
        self.manifest = json.dumps(manifest).encode()
        self.blobs = {_digest(data): data for _name, _kind, data in parts}
        self.asked: list[str] = []
        self._server = ThreadingHTTPServer(("", 0), _handler(self), bind_and_activate=False)
        self._server.socket.close()
        self._server.socket = listening
        self.name = f"127.0.0.1:{listening.getsockname()[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    @property
    def digest(self) -> str:
        """Of the image's manifest."""
        return _digest(self.manifest)

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(registry: Registry) -> type[BaseHTTPRequestHandler]:
    right = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            registry.asked.append(self.path)
            if self.headers.get("Authorization") != right:
                self._answer(401, {"errors": [{"code": "UNAUTHORIZED", "message": "who are you?"}]})
            elif self.path == "/v2/":
                self._answer(200, {})
            elif self.path in (f"/v2/team/tool/manifests/{one}" for one in ("1", registry.digest)):
                self._send(200, registry.manifest, _MANIFEST)
            elif (blob := registry.blobs.get(self.path.rpartition("/")[2])) is not None:
                self._send(200, blob, "application/octet-stream")
            else:
                self._answer(404, {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "no such manifest"}]})

        do_HEAD = do_GET  # noqa: N815  the server looks for it

        def _answer(self, status: int, body: Any) -> None:
            self._send(status, json.dumps(body).encode(), "application/json")

        def _send(self, status: int, data: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Docker-Content-Digest", _digest(data))
            if status == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="tests"')
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        def log_message(self, *args: Any) -> None:
            """Nobody reads it."""

    return Handler


def _layer() -> bytes:
    tool = Path(str(shutil.which("busybox"))).read_bytes()
    text = io.BytesIO()
    with tarfile.open(fileobj=text, mode="w") as archive:
        entry = tarfile.TarInfo("busybox")
        entry.size, entry.mode = len(tool), 0o755
        archive.addfile(entry, io.BytesIO(tool))
    return gzip.compress(text.getvalue(), compresslevel=1, mtime=0)


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
