"""Servers on a user's machine: no page of another site reaches them, and no connection holds them up."""

import http.client
import json
import socket
import threading
from collections.abc import Iterator

import pytest

from espl_bench.retrieval.http import HttpRetriever
from espl_bench.retrieval.http_server import RetrieverServer
from espl_bench.retrieval.retriever import FoundPassage, Passage

HANG_S = 60.0


class One:
    identity = "one"

    def retrieve(self, queries, top_k):
        return [FoundPassage(query, (Passage("a", "T", "private", 1.0),), "now") for query in queries]


@pytest.fixture
def server() -> Iterator[RetrieverServer]:
    with RetrieverServer(("127.0.0.1", 0), One()) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server
        server.shutdown()


def ask(server: RetrieverServer, method: str = "POST", path: str = "/retrieve", **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=HANG_S)
    body = json.dumps({"queries": ["q"]}).encode()
    connection.request(method, path, body, {"Host": f"127.0.0.1:{server.server_port}", **headers})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:8000"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "localhost.evil.example"},
        {"Host": ""},
        {"Host": "["},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"},
    ],
)
def test_a_page_of_another_site_reads_nothing(method: str, headers: dict[str, str], server: RetrieverServer):
    status, content = ask(server, method, "/retrieve" if method == "POST" else "/health", **headers)
    assert status == 403 and b"private" not in content and b"one" not in content.replace(b"only", b"")


def test_a_request_without_a_name_is_refused(server: RetrieverServer):
    with socket.create_connection(("127.0.0.1", server.server_port), HANG_S) as connection:
        connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
        assert b" 403 " in connection.recv(100)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]:1", "10.0.0.1:8000", "LOCALHOST:9000"])
def test_its_own_names_are_answered(host: str, server: RetrieverServer):
    assert ask(server, Host=host)[0] == 200
    assert ask(server, Host=host, Origin=f"http://{host}")[0] == 200
    assert HttpRetriever(f"http://127.0.0.1:{server.server_port}").retrieve(["q"], 1)[0].passages[0].text == "private"


def closed(connection: socket.socket) -> bool:
    connection.settimeout(HANG_S)
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n", b"POST /retrieve HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n{"],
)
def test_a_connection_that_sends_no_whole_request_is_closed(sent: bytes, server: RetrieverServer):
    server.idle_s = 0.2
    with socket.create_connection(("127.0.0.1", server.server_port), HANG_S) as connection:
        connection.sendall(sent)
        assert closed(connection)
    assert ask(server)[0] == 200


def test_a_request_that_drips_is_closed_too(server: RetrieverServer):
    server.idle_s = 0.3
    over = threading.Event()
    with socket.create_connection(("127.0.0.1", server.server_port), HANG_S) as connection:

        def drip() -> None:
            connection.sendall(b"GET / HTTP/1.1\r\n")
            try:
                while not over.wait(0.02):
                    connection.sendall(b"X")
            except OSError:
                pass

        threading.Thread(target=drip, daemon=True).start()
        assert closed(connection)
        over.set()


def test_of_too_many_connections_the_longest_waiting_makes_room(server: RetrieverServer):
    server.max_connections = 4
    idle = [socket.create_connection(("127.0.0.1", server.server_port), HANG_S) for _ in range(12)]
    assert ask(server)[0] == 200
    assert all(closed(connection) for connection in idle[:8])
    assert len(server._waiting) <= 4
    for connection in idle:
        connection.close()
