"""A hub with a few repositories, with as much of the hub's interface as its client and `datasets` ask for."""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

COMMIT = "a" * 40
SET = "some/set"


class HubHandler(BaseHTTPRequestHandler):
    repositories: Mapping[str, Mapping[str, bytes]] = {}
    """Files by path, by kind and name of the repository: ``datasets/some/set``."""
    licence = "apache-2.0"
    cut: set[str]
    """Files whose first answer breaks off in the middle."""
    stuck: set[str]
    """Files whose first answer stops in the middle, until the reader goes."""
    served: list[str]
    """Bodies that were sent: ``FILE``, or ``FILE from BYTE`` for the rest of one."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def reply(self, code: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), "Content-Type": "application/json", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.split("?")[0].strip("/")
        name = next((name for name in self.repositories if f"/{name}/" in f"/{path}/" or path.startswith(f"{_web(name)}/resolve/")), None)
        if name is None:
            self.reply(401, X_Error_Code="RepoNotFound")
        elif path.startswith(f"api/{name}/tree/"):
            self.tree(name, path.removeprefix(f"api/{name}/tree/").partition("/")[2])
        elif path.startswith(f"api/{name}"):
            self.reply(200, json.dumps(self.info(name)).encode())
        else:
            self.file(name, path.partition("/resolve/")[2].partition("/")[2])

    def tree(self, name: str, folder: str) -> None:
        """List a folder; all that is in its folders too, if that is asked for."""
        start = f"{folder}/" if folder else ""
        inside = {file: content for file, content in self.repositories[name].items() if file.startswith(start)}
        if "recursive=true" in self.path.lower():
            entries = [_entry(file, content) for file, content in inside.items()]
        else:
            entries = [_entry(file, content) for file, content in inside.items() if "/" not in file.removeprefix(start)]
            folders = dict.fromkeys(
                start + file.removeprefix(start).partition("/")[0] for file in inside if "/" in file.removeprefix(start)
            )
            entries += [_folder(each) for each in folders]
        if inside:
            self.reply(200, json.dumps(entries).encode())
        else:
            self.reply(404, b"{}", X_Error_Code="EntryNotFound")

    def info(self, name: str) -> dict[str, object]:
        siblings = [{"rfilename": file} for file in self.repositories[name]]
        return {"id": _id(name), "sha": COMMIT, "tags": [], "siblings": siblings, "cardData": {"license": self.licence}}

    def file(self, name: str, file: str) -> None:
        content = self.repositories[name].get(file)
        if content is None:
            self.reply(404, X_Error_Code="EntryNotFound", X_Repo_Commit=COMMIT)
            return
        headers = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        start = int((self.headers["Range"] or "bytes=0-").removeprefix("bytes=").split("-")[0])
        if self.command == "HEAD" or file not in self.cut | self.stuck:
            if self.command == "GET":
                self.served.append(f"{file} from {start}" if start else file)
            if start:
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.reply(206 if start else 200, content[start:], **{key.replace("-", "_"): value for key, value in headers.items()})
            return
        sticks = file in self.stuck
        (self.stuck if sticks else self.cut).discard(file)
        self.send_response(200)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])
        self.wfile.flush()
        self.served.append(f"half of {file}")
        if sticks:
            self.connection.recv(1)  # nothing comes, until the other side closes
        self.close_connection = True

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}").get("paths", [])
        name = next(name for name in self.repositories if f"/{name}/" in self.path)
        files = self.repositories[name]
        folders = [_folder(path) for path in asked if any(file.startswith(f"{path}/") for file in files)]
        self.reply(200, json.dumps([*(_entry(file, files[file]) for file in asked if file in files), *folders]).encode())


def _id(name: str) -> str:
    return name.partition("/")[2]


def _web(name: str) -> str:
    """Address of a repository's files: models have no prefix."""
    return name.removeprefix("models/")


def _entry(path: str, content: bytes) -> dict[str, object]:
    return {"type": "file", "path": path, "oid": hashlib.sha1(content).hexdigest(), "size": len(content)}


def _folder(path: str) -> dict[str, object]:
    return {"type": "directory", "path": path, "oid": hashlib.sha1(path.encode()).hexdigest(), "size": 0}


@contextmanager
def serving_repositories(
    repositories: Mapping[str, Mapping[str, bytes]], cut: Collection[str] = (), stuck: Collection[str] = ()
) -> Iterator[tuple[str, list[str]]]:
    """Serve repositories, and yield the hub's address and the list of what it has sent."""
    served: list[str] = []
    handler = type("Hub", (HubHandler,), {"repositories": repositories, "cut": set(cut), "stuck": set(stuck), "served": served})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def serving_hub(files: Mapping[str, bytes]) -> Iterator[str]:
    """Serve one data set, and yield the hub's address."""
    with serving_repositories({f"datasets/{SET}": files}) as (address, _):
        yield address
