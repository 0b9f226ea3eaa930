"""Pages of the web: only public ones, within one deadline, and whatever a page does ends its own reading."""

import gzip
import socket
import threading
import time
from collections.abc import Iterator, Sequence

import pytest
from raw_server import OK, Behave, answers, drips, floods, raw_server

from espl_bench.retrieval import fetch, pages
from espl_bench.retrieval.addresses import is_public
from espl_bench.retrieval.retriever import RetrievalError
from espl_bench.retrieval.web import Limiter, WebRetriever
from espl_bench.utils import exchange
from espl_bench.utils.decoding import BoundedBody
from espl_bench.utils.worker_pool import WorkerError, WorkerPool

PUBLIC = "93.184.216.34"
HOSTS = {
    "public.example": [PUBLIC],
    "other.example": ["93.184.216.35"],
    "inside.example": ["10.0.0.1"],
    "mixed.example": [PUBLIC, "127.0.0.1"],
}
HANG_S = 60.0
"""Far more than anything here takes: a test that needs it has hung."""
GZIP = OK + b"Content-Encoding: gzip\r\nConnection: close\r\n\r\n"


def look_up(host: str, port: int, until: exchange.Deadline) -> Sequence[tuple[str, int]]:
    return [(address, port) for address in HOSTS.get(host, [host])]


def page_of(behave: Behave, url: str = "http://public.example/a", timeout_s: float = HANG_S, resolver: fetch.Resolver = look_up):
    """Fetch from a server on the loopback that stands for every public address; returns the text and what was connected to."""
    dialled: list[str] = []
    with raw_server(behave) as port:

        def dial(address: str, to: int) -> tuple[str, int]:
            dialled.append(f"{address}:{to}")
            return "127.0.0.1", port

        return fetch.fetch_text(url, timeout_s, resolver, dial), dialled


# Ordinary pages


def test_a_page_is_its_words_and_the_checked_address_is_the_one_connected_to():
    asked: list[bytes] = []

    def behave(connection: socket.socket, request: bytes) -> None:
        asked.append(request)
        html = "<head><title>t</title></head><p>Two &amp; two<script>evil()</script></p><style>x</style><div>th\u00e9</div>"
        answers(html.encode())(connection, request)

    text, dialled = page_of(behave, "http://public.example/a?b=c d&e=\u00e9#part")
    assert text == "Two & two\nth\u00e9" and dialled == [f"{PUBLIC}:80"]
    assert asked[0].startswith(b"GET /a?b=c%20d&e=%C3%A9 HTTP/1.1\r\nHost: public.example\r\n")


def test_a_page_may_be_compressed_or_plain_text():
    packed = gzip.compress(b"<p>packed")
    assert page_of(answers(packed, OK + b"Content-Encoding: gzip\r\n"))[0] == "packed"
    assert page_of(answers(b"a  <b>", b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"))[0] == "a  <b>"


@pytest.mark.parametrize(
    "url",
    [
        *("file:///etc/passwd", "ftp://public.example/", "http://public.example:8080/", "http://user:pw@public.example/", "http://"),
        *("http://[::1", "http://inside.example/", "http://mixed.example/", "javascript:alert(1)", f"http://{'a' * 70}.example/"),
    ],
)
def test_only_public_pages_of_the_web_are_fetched(url: str):
    with pytest.raises(RetrievalError):
        page_of(answers(b"secret"), url)


INSIDE = (
    *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1", "192.0.0.1", "192.0.0.170"),
    *("192.0.0.9", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1"),
    *("::7f00:1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::808:808", "64:ff9b:1::a00:1", "100::1", "5f00::1"),
    *("2001::1", "2001:0:7f00:1::", "2001:2::1", "2001:10::1", "2001:20::1", "2001:db8::1", "2002:7f00:1::", "2002:808:808::", "3fff::1"),
    *("4000::1", "example.org", "2001:4860:4860::8888%1", "0x7f.1", "8.8.8.8 "),
)


@pytest.mark.parametrize("address", INSIDE)
def test_no_address_inside_is_public(address: str):
    assert not is_public(address)
    with pytest.raises(fetch.RefusedError, match="not public"):
        fetch.fetch_text("http://x.example/", HANG_S, lambda host, port, until: [(PUBLIC, port), (address, port)])


@pytest.mark.parametrize(
    "address", [PUBLIC, "8.8.8.8", "1.1.1.1", "2606:2800:220:1:248:1893:25c8:1946", "2001:4860:4860::8888", "2a00:1450::1"]
)
def test_ordinary_addresses_are_public(address: str):
    assert is_public(address)


def test_a_name_is_looked_up_once_so_that_it_cannot_lead_inside_a_moment_later():
    found = iter([[(PUBLIC, 80)], [("127.0.0.1", 80)]])
    text, dialled = page_of(answers(b"<p>x"), resolver=lambda host, port, until: next(found))
    assert text == "x" and dialled == [f"{PUBLIC}:80"] and next(found) == [("127.0.0.1", 80)]


@pytest.mark.parametrize(
    "target",
    [
        "http://inside.example/",
        "http://169.254.169.254/latest",
        "http://[64:ff9b::a9fe:a9fe]/",
        "file:///etc/passwd",
        "//inside.example/x",
        "http://[::1",
    ],
)
def test_a_redirect_to_the_inside_is_not_followed(target: str):
    asked: list[bytes] = []

    def behave(connection: socket.socket, request: bytes) -> None:
        asked.append(request)
        connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % target.encode())

    with pytest.raises(fetch.RefusedError):
        page_of(behave)
    assert len(asked) == 1 and b"Host: public.example" in asked[0], "nothing else is asked"


def test_redirects_outside_are_followed_but_not_for_ever():
    def once(connection: socket.socket, request: bytes) -> None:
        if b"Host: public.example" in request:
            connection.sendall(b"HTTP/1.1 301 Moved\r\nLocation: http://other.example/b\r\nContent-Length: 0\r\n\r\n")
        else:
            answers(b"there")(connection, request)

    assert page_of(once) == ("there", [f"{PUBLIC}:80", "93.184.216.35:80"])
    with pytest.raises(fetch.RefusedError, match="more than 4 redirects"):
        page_of(lambda connection, request: connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n"))


# One deadline, and a size after decoding


def gzip_names() -> bytes:
    """The beginning of a gzip header whose file name never ends."""
    return b"\x1f\x8b\x08\x08\x00\x00\x00\x00\x00\x03"


def keeps_silent(connection: socket.socket, request: bytes) -> None:
    connection.recv(1)


SLOW: dict[str, Behave] = {
    "silence": keeps_silent,
    "dripped status line": drips(b"HTTP/1.1 2", b"0"),
    "dripped headers": drips(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "endless 100 Continue": drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "dripped body": drips(OK + b"Connection: close\r\n\r\n", b" "),
    "dripped chunks": drips(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "dripped gzip header": drips(GZIP + gzip_names(), b"a"),
}


@pytest.mark.parametrize("name", SLOW)
def test_one_deadline_holds_for_the_whole_exchange(name: str):
    began = time.monotonic()
    with pytest.raises(RetrievalError, match=r"takes more than 0.5 s"):
        page_of(SLOW[name], timeout_s=0.5)
    assert time.monotonic() - began < HANG_S


def test_redirects_share_the_deadline():
    def behave(connection: socket.socket, request: bytes) -> None:
        time.sleep(0.2)
        connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n")

    with pytest.raises(RetrievalError, match=r"takes more than 0.5 s"):
        page_of(behave, timeout_s=0.5)


def test_a_name_server_that_keeps_silent_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    over = threading.Event()

    def silent(*_: object, **__: object) -> list[object]:
        over.wait(HANG_S)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    with pytest.raises(RetrievalError, match=r"0.5 s"):
        fetch.fetch_text("http://public.example/", 0.5)
    over.set()


def test_an_endless_gzip_header_is_read_up_to_the_bound():
    assert page_of(floods(GZIP + gzip_names(), b"a" * 2**16))[0] == ""


def test_headers_without_end_are_refused():
    with pytest.raises(RetrievalError, match="does not answer"):
        page_of(floods(b"HTTP/1.1 200 OK\r\nX: ", b"y" * 2**16))


def test_the_size_counts_after_decoding():
    bomb = gzip.compress(b"a" * 2**28, 9)
    assert len(bomb) < 2**19, "a quarter of a gigabyte in less than half a megabyte"
    body = BoundedBody("gzip", 1000)
    body.add(bomb)
    assert body.exceeds and len(body.content) == 1000
    assert len(page_of(answers(bomb, OK + b"Content-Encoding: gzip\r\n"))[0]) <= fetch.MAX_BYTES
    assert len(page_of(answers(b"word " * 10**6))[0]) <= fetch.MAX_BYTES


@pytest.mark.parametrize("encoding", [b"br", b"zstd", b"gzip, gzip", b"\xff"])
def test_an_encoding_that_was_not_asked_for_is_refused(encoding: bytes):
    with pytest.raises(RetrievalError, match="not asked for"):
        page_of(answers(b"x", OK + b"Content-Encoding: " + encoding + b"\r\n"))


def test_no_other_kind_of_content_is_read():
    with pytest.raises(fetch.RefusedError, match="not a page"):
        page_of(answers(b"x", b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"))
    with pytest.raises(RetrievalError, match="not encoded as it says"):
        page_of(answers(b"nonsense" * 9, OK + b"Content-Encoding: gzip\r\n"))


# Hostile content, in a process that can be killed


@pytest.fixture(scope="module")
def parsers() -> Iterator[WorkerPool]:
    pool = WorkerPool("worker_jobs:parse", 2)
    yield pool
    pool.close()


UNITS = (
    *(
        "<![ x",
        "</",
        "<!--",
        "<svg>",
        "<![CDATA[",
        "<!",
        "<?",
        "<a ",
        "<b>",
        "<p>",
        "<table>",
        "<select>",
        "<a href='",
        "&#",
        "&amp",
        "<script>",
    ),
    *("<style>", "<template>", "<math>", "<a x=1 y=2 ", "\x00", "<div><p>", "<form>", "</p>", "<frameset>", "<textarea>", "<plaintext>"),
    *(
        "<i><b>",
        "<a><table>",
        "<!DOCTYPE ",
        "<![x]]>",
        "]]>",
        "<!-->",
        "<ruby>",
        "<h1>",
        "<td>",
        "<noscript>",
        "\ud800",
        "<![if x]>",
        "<!-- --!>",
    ),
)


@pytest.mark.parametrize("unit", UNITS)
def test_a_page_of_one_hostile_piece_repeated_is_read_in_time_that_grows_with_its_length(unit: str, parsers: WorkerPool):
    parsers.ask({"unit": unit, "times": fetch.MAX_BYTES // len(unit)}, HANG_S, cpu_s=HANG_S / 2)


def test_a_tag_of_very_many_attributes_is_read_too(parsers: WorkerPool):
    unit = "<a " + " ".join(f"a{number}=1" for number in range(200_000))
    assert parsers.ask({"unit": unit, "times": 1, "end": "><p>x"}, HANG_S, cpu_s=HANG_S / 2) == {"length": 1}


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("sleep", "more than 0.5 s"),
        ("loop", "more time"),
        ("abort", "ended its process"),
        ("memory", "memory"),
        ("raise", "AssertionError: a parser's own bug"),
    ],
)
def test_whatever_a_reader_does_is_one_line_and_the_next_task_is_done(how: str, says: str):
    pool = WorkerPool("worker_jobs:misbehave", 1)
    try:
        with pytest.raises(WorkerError, match=says) as fault:
            pool.ask({"how": how}, 0.5 if how == "sleep" else HANG_S, cpu_s=0.5)
        assert "\n" not in str(fault.value)
        assert pool.ask({"how": "nothing"}, HANG_S) == {"how": "nothing"}
    finally:
        pool.close()


def test_a_reader_of_pages_has_no_key_in_its_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    pool = WorkerPool("worker_jobs:misbehave", 1)
    names = pool.ask({"how": "environment"}, HANG_S)["names"]
    pool.close()
    assert not [name for name in names if "KEY" in name or "TOKEN" in name or "SECRET" in name]


@pytest.mark.parametrize(
    "behave", [drips(OK, b"X: y\r\n"), answers(b"<![ x" * 1000), answers(b"</" * 2**19), floods(GZIP + gzip_names(), b"a" * 2**16)]
)
def test_a_search_goes_on_after_a_hostile_page(behave: Behave):
    pool = WorkerPool("worker_jobs:read", 1)
    results = [{"title": "T", "href": "http://public.example/a", "body": "a snippet"}]
    with raw_server(behave) as port:

        def read(url: str, timeout_s: float) -> str:
            try:
                return str(pool.ask({"url": url, "timeout_s": 1.0, "port": port}, HANG_S, pages.CPU_S)["text"])
            except WorkerError as error:
                raise RetrievalError(str(error)) from error

        web = WebRetriever(True, HANG_S, search=lambda query, top_k: results, read=read, limiter=Limiter(0.0))
        [found] = web.retrieve(["a"], 1)
    pool.close()
    assert found.passages[0].text == "a snippet"


def test_a_page_inside_is_refused_by_the_worker_itself():
    with raw_server(answers(b"<p>secret")), pytest.raises(RetrievalError, match="not public"):
        pages.page_text("http://127.0.0.1/", HANG_S)
