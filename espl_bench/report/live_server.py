"""`espl-bench view`: serve the same page on 127.0.0.1; the page reloads its data when runs make progress.

The server answers only this machine, and only requests whose Host header names it, so that another site's page cannot reach it
under its own name. Other users of the machine could connect as well: the printed address holds a token, without which nothing is
answered; the browser then keeps it in a cookie. Resources are a fixed list, never a path.
"""

import hashlib
import hmac
import secrets
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

from espl_bench.analysis.study import Known, RunRecord, Stamp, Study, gather, run_folders, stamp
from espl_bench.errors import EsplError, NoRunsError
from espl_bench.leaderboard.collect import holds_runs
from espl_bench.leaderboard.grouping import GroupEntry
from espl_bench.learning.advantages import find_baseline
from espl_bench.report.page import encode, page, policy
from espl_bench.report.payload import run_json, study_json, tables_json
from espl_bench.report.prompt_pages import PromptPages
from espl_bench.report.rollout_index import RolloutIndex
from espl_bench.report.rollout_pages import texts
from espl_bench.report.run_state import state_of
from espl_bench.utils.local_server import LocalHandler, LocalServer

HOST = "127.0.0.1"
CONNECT = "'self'"
TOKEN = "token"
"""Name of the token in the address."""
NO_RUNS = Study((), (), ())
NO_HEADERS: Mapping[str, str] = {}
HTML, JSON = "text/html; charset=utf-8", "application/json"


class WatchedRun:
    """Runs under some paths, read again when their files change; paths may hold none yet. Thread-safe."""

    def __init__(self, paths: Sequence[Path], title: str) -> None:
        """Read the runs that there are. Raises RunDirError if none of them can be read."""
        self.title = title
        self._paths = tuple(paths)
        self._lock = threading.Lock()
        self._known: Known = {}
        self._seen: dict[Path, Stamp] = self._stamps()
        self._study: Study = self._gather()
        self._tables: tuple[tuple[GroupEntry, ...], Mapping[str, Any] | None] = ((), None)
        self._rollout_indexes: dict[Path, RolloutIndex] = {}
        self._prompt_pages: dict[Path, PromptPages] = {}

    @property
    def waits(self) -> bool:
        """Return whether no run has begun."""
        return not self._study.records and not self._study.entries

    def study(self) -> Study:
        """Return the current runs. If they cannot be read in the middle of a write, return the last state."""
        now = self._stamps()
        if now != self._seen:
            with suppress(EsplError):
                self._study, self._seen = self._gather(), now
        return self._study

    def document(self) -> tuple[str, bytes]:
        """Return the ETag of the current state and the page's first document."""
        with self._lock:
            study = self.study()
            if self._tables[0] != study.entries:
                self._tables = study.entries, tables_json(study.entries)
            seen = (sorted(self._seen.items()), [state_of(record) for record in study.records])
            name = hashlib.sha256(repr(seen).encode()).hexdigest()[:32]
            return f'"{name}"', encode(study_json(study, self._tables[1], self.title, live=True))

    def record(self, name: str) -> RunRecord | None:
        """Look up a run by its name in the document."""
        with self._lock:
            return self.study().named.get(name)

    def rollouts(self, record: RunRecord, piece: str | None = None) -> Any:
        """Return the list of a run's rollouts, or the texts of one piece; None if there is no such piece. Raises RunDirError."""
        with self._lock:
            run = record.run
            baseline = find_baseline(record.view.config.method.baseline)
            rollout_index = self._rollout_indexes.setdefault(run.path, RolloutIndex(run, baseline))
            if piece is None:
                return rollout_index.index().to_json()
            rows = rollout_index.piece(piece)
        return None if rows is None else texts(rows)

    def prompts(self, record: RunRecord, piece: str) -> Any:
        """Return the prompts of one piece of a run; None if there is no such piece."""
        if not (piece.isascii() and piece.isdecimal() and len(piece) < 10):
            return None
        with self._lock:
            pages = self._prompt_pages.get(record.run.path)
            if pages is None or pages.record is not record:
                pages = self._prompt_pages[record.run.path] = PromptPages(record)
            return pages.piece(int(piece))

    def _gather(self) -> Study:
        """Read the runs under the paths that hold any."""
        begun = [path for path in self._paths if holds_runs(path)]
        with suppress(NoRunsError):
            return gather(begun, self._known) if begun else NO_RUNS
        return NO_RUNS

    def _stamps(self) -> dict[Path, Stamp]:
        return {folder: stamp(folder) for folder in run_folders(self._paths)}


def find(watched: WatchedRun, path: str) -> Any:
    """Find the resource at a path below the page, as plain data; None if there is none. Raises EsplError if it cannot be read."""
    kind, *names = (unquote(part) for part in path.removeprefix("/").split("/"))
    record = watched.record(names[0]) if names else None
    match kind, names:
        case "run", [_] if record:
            return run_json(record)
        case "prompts", [_, piece] if record:
            return watched.prompts(record, piece)
        case "index", [_] if record:
            return watched.rollouts(record)
        case "rollouts", [_, piece] if record:
            return watched.rollouts(record, piece)
        case _:
            return None


class Handler(LocalHandler):
    """Handler of one request."""

    server: "Viewer"  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        """Send the page, its first document, or a part that was opened."""
        self.answering()
        path, _, query = self.path.partition("?")
        given = parse_qs(query).get(TOKEN, [""])[0]
        if not self.server.admits(given) and not self.server.admits(self._cookie()):
            self._send(HTTPStatus.FORBIDDEN, "text/plain", b"open the address that `espl-bench view` has printed, with its token\n")
            return
        try:
            if path == "/":
                keep = {"Set-Cookie": self.server.cookie} if given else {}
                self._send(HTTPStatus.OK, HTML, page(self.server.watched.title, None, {}, CONNECT), headers=keep)
            elif path == "/study":
                self._send_document()
            elif (part := find(self.server.watched, path)) is not None:
                self._send(HTTPStatus.OK, JSON, encode(part))
            else:
                self._send(HTTPStatus.NOT_FOUND, JSON, encode({"error": "not found"}))
        except EsplError as error:
            self._send(HTTPStatus.INTERNAL_SERVER_ERROR, JSON, encode({"error": str(error)}))

    def _send_document(self) -> None:
        """Send the document with an ETag, so that nothing is sent to a page that already has this state."""
        name, document = self.server.watched.document()
        if self.headers.get("If-None-Match") == name:
            self._send(HTTPStatus.NOT_MODIFIED, JSON, b"", name)
        else:
            self._send(HTTPStatus.OK, JSON, document, name)

    def _cookie(self) -> str:
        """Return the token that the browser has kept; empty without one."""
        try:
            kept = SimpleCookie(self.headers.get("Cookie", "")).get(self.server.cookie_name)
        except CookieError:
            return ""
        return kept.value if kept else ""

    def _send(self, status: HTTPStatus, kind: str, body: bytes, name: str | None = None, headers: Mapping[str, str] = NO_HEADERS) -> None:
        every = {
            "Content-Security-Policy": policy(CONNECT),
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": "no-cache",
            "Referrer-Policy": "no-referrer",
            **({"ETag": name} if name else {}),
            **headers,
        }
        self.send_answer(status, kind, body, every)


class Viewer(LocalServer):
    """HTTP server of the page. `port` 0 takes any free one, named by :attr:`url`. Raises OSError if the port is taken."""

    def __init__(self, watched: WatchedRun, port: int) -> None:
        """Bind the port without serving yet."""
        super().__init__((HOST, port), Handler)
        self.watched = watched
        self._token = secrets.token_urlsafe(32)
        self._names = frozenset(f"{host}:{self.server_port}" for host in (HOST, "localhost"))
        self.cookie_name = f"espl_view_{self.server_port}"

    def accepts(self, host: str) -> bool:
        """Return whether a Host header names this server, its port included."""
        return host.lower() in self._names

    def admits(self, token: str) -> bool:
        """Return whether a token is this server's."""
        return hmac.compare_digest(token.encode("utf-8", "replace"), self._token.encode())

    @property
    def cookie(self) -> str:
        """The cookie in which a browser keeps the token, out of reach of scripts and of other sites."""
        return f"{self.cookie_name}={self._token}; Path=/; HttpOnly; SameSite=Strict"

    @property
    def url(self) -> str:
        """Address of the page, with its token."""
        return f"http://{HOST}:{self.server_port}/?{TOKEN}={self._token}"
