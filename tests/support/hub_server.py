"""A hub that has one data set, with as much of the hub's interface as `datasets` asks for."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

COMMIT = "a" * 40
SET = "some/set"


class HubHandler(BaseHTTPRequestHandler):
    files: Mapping[str, bytes] = {}

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def reply(self, code: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), "Content-Type": "application/json", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def entry(self, path: str) -> dict[str, object]:
        return {"type": "file", "path": path, "oid": hashlib.sha1(self.files[path]).hexdigest(), "size": len(self.files[path])}

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        file = path.partition("/resolve/")[2].partition("/")[2]
        if path.startswith(f"/api/datasets/{SET}/tree/"):
            self.reply(200, json.dumps([self.entry(name) for name in self.files]).encode())
        elif path.startswith(f"/api/datasets/{SET}"):
            siblings = [{"rfilename": name} for name in self.files]
            self.reply(200, json.dumps({"id": SET, "sha": COMMIT, "tags": [], "siblings": siblings}).encode())
        elif file in self.files:
            self.reply(200, self.files[file], ETag=f'"{hashlib.sha1(self.files[file]).hexdigest()}"', X_Repo_Commit=COMMIT)
        else:
            self.reply(404, X_Error_Code="EntryNotFound", X_Repo_Commit=COMMIT)

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}").get("paths", [])
        self.reply(200, json.dumps([self.entry(name) for name in asked if name in self.files]).encode())


@contextmanager
def serving_hub(files: Mapping[str, bytes]) -> Iterator[str]:
    """Serve a data set, and yield the hub's address."""
    handler = type("OneSet", (HubHandler,), {"files": files})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
