"""An OpenAI-compatible endpoint on 127.0.0.1 that serves a model folder for real, and a proxy that breaks what passes through it.

The server samples with transformers through this project's own sampler, so it honours seeds; a request it has answered it answers
from memory. The proxy works in front of any endpoint. Both speak HTTP/1.1 over real sockets.
"""

import asyncio
import http.client
import itertools
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from espl_bench.engines.adapter_spec import AdapterSpec
from espl_bench.engines.hf.engine import HfEngine
from espl_bench.types import Completion, Message, SampleRequest

CHAT = "/v1/chat/completions"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def reply(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def refuse(self, status: int, message: str, code: str | None = None, param: str | None = None, **headers: str) -> None:
        error = {"error": {"message": message, "type": "error", "code": code, "param": param}}
        self.reply(status, json.dumps(error).encode(), {name.replace("_", "-"): value for name, value in headers.items()})


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address) -> None:
        """A client that has gone away is what some tests are about; anything else is told as ever."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def serving(handler: type[Handler]) -> Iterator[str]:
    """Serve on a free port of the loopback; yields the base URL."""
    server = Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()


@dataclass
class Served:
    """A running endpoint."""

    base_url: str
    model: str
    seen: list[dict] = field(default_factory=list)
    """The JSON of every chat request; empty if the endpoint is not this module's own."""
    forms: set[str] = field(default_factory=set)
    """Parameters that are refused, as OpenAI's newer models refuse some."""
    key: str | None = None
    """What the Authorization header must hold, if anything."""


@contextmanager
def serve(folder: Path, name: str = "tiny-lab") -> Iterator[Served]:
    """Serve a model folder under a name."""
    engine = HfEngine.from_pretrained(folder, AdapterSpec(rank=1, alpha=1.0, seed=0, device="cpu"))
    client = asyncio.run(engine.reference())
    served = Served("", name)

    @cache
    def sample(request: SampleRequest) -> Completion:
        return asyncio.run(client.sample([request]))[0]

    class Model(Handler):
        def do_GET(self) -> None:
            if self.authorised():
                self.reply(200, json.dumps({"object": "list", "data": [{"id": name, "object": "model"}]}).encode())

        def do_POST(self) -> None:
            asked = json.loads(self.body())
            if not self.authorised():
                return
            served.seen.append(asked)
            for parameter in served.forms & asked.keys():
                self.refuse(400, f"Unsupported parameter: '{parameter}'", "unsupported_parameter", parameter)
                return
            if asked["model"] != name:
                self.refuse(404, f"The model `{asked['model']}` does not exist", "model_not_found")
                return
            messages = [Message(each["role"], each["content"]) for each in asked["messages"]]
            limit = asked.get("max_completion_tokens", asked.get("max_tokens"))
            prompt = engine.chat.encode(messages)
            request = SampleRequest(prompt, asked.get("seed", 0), limit, asked["temperature"], asked.get("top_p", 1.0))
            said = sample(request)
            choice = {"index": 0, "message": {"role": "assistant", "content": said.text}, "finish_reason": said.stop_reason.value}
            usage = {"prompt_tokens": len(prompt), "completion_tokens": len(said.tokens_T)}
            self.reply(200, json.dumps({"object": "chat.completion", "choices": [choice], "usage": usage}).encode())

        def authorised(self) -> bool:
            sent = self.headers.get("authorization")
            if served.key is not None and sent != f"Bearer {served.key}":
                self.refuse(401, f"Incorrect API key provided: {sent}", "invalid_api_key")
                return False
            return True

    with serving(Model) as base_url:
        served.base_url = base_url
        yield served


Fault = Callable[[Handler, bytes], None]
"""Answers in place of the endpoint; gets the endpoint's own answer."""


def too_many(handler: Handler, answer: bytes) -> None:
    handler.refuse(429, "slow down", retry_after="0.2")


def server_error(handler: Handler, answer: bytes) -> None:
    handler.reply(500, b"<html>oops</html>")


def dropped(handler: Handler, answer: bytes) -> None:
    """The connection ends in the middle of the body."""
    handler.send_response(200)
    handler.send_header("content-length", str(len(answer)))
    handler.end_headers()
    handler.wfile.write(answer[: len(answer) // 2])
    handler.wfile.flush()
    handler.close_connection = True
    handler.connection.close()


def slow(handler: Handler, answer: bytes) -> None:
    """The body drips: it comes, but it never ends."""
    handler.send_response(200)
    handler.send_header("content-length", str(len(answer)))
    handler.end_headers()
    try:
        for byte in answer[:-1]:
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()
            time.sleep(0.05)
        handler.connection.recv(1)  # until whoever reads gives up
    except OSError:  # whoever read has given up
        handler.close_connection = True


def malformed(handler: Handler, answer: bytes) -> None:
    handler.reply(200, answer[:-7])


def not_a_completion(handler: Handler, answer: bytes) -> None:
    handler.reply(200, b'{"choices": []}')


FAULTS = {fault.__name__: fault for fault in (too_many, server_error, dropped, slow, malformed, not_a_completion)}


@dataclass
class Proxied:
    """A running proxy."""

    base_url: str = ""
    faults: int = 0
    """Faults injected so far."""
    passed: int = 0
    """Chat answers that were let through."""


@contextmanager
def breaking(base_url: str, fault: Fault, when: Callable[[int], bool]) -> Iterator[Proxied]:
    """A proxy that answers chat request n (0, 1, …) with the fault if `when(n)`, and lets everything else through."""
    upstream = urlsplit(base_url)
    numbers = itertools.count()
    proxied = Proxied()
    lock = threading.Lock()

    class Proxy(Handler):
        def do_GET(self) -> None:
            self.pass_on(None)

        def do_POST(self) -> None:
            self.pass_on(self.body())

        def pass_on(self, data: bytes | None) -> None:
            connection = http.client.HTTPConnection(upstream.netloc, timeout=60)
            headers = {name: value for name in ("authorization", "content-type") if (value := self.headers.get(name))}
            connection.request(self.command, self.path, data, headers)
            response = connection.getresponse()
            answer = response.read()
            connection.close()
            with lock:
                broken = self.path == CHAT and when(next(numbers))
                proxied.faults += broken
                proxied.passed += self.path == CHAT and not broken
            if broken:
                fault(self, answer)
            else:
                self.reply(response.status, answer)

    with serving(Proxy) as own:
        proxied.base_url = own
        yield proxied
