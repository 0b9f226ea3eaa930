"""Fetch a page that a search returned, safely: the model may have been made to ask for any address.

Only http and https on their usual ports, and only hosts all of whose addresses are public. The connection goes to the address that
was checked, so a name cannot resolve to something else a moment later. Redirects are followed by hand, each hop checked like the
first. Size, time and kind of content are bounded. The result is text; nothing of a page is run or rendered.
"""

import ipaddress
import socket
import time
from collections.abc import Callable
from html.parser import HTMLParser
from importlib import import_module
from typing import Any, Final
from urllib.parse import SplitResult, urljoin, urlsplit

from espl_bench.retrieval.retriever import RetrievalError

MAX_HOPS: Final = 4
MAX_BYTES: Final = 2 * 2**20
PORTS: Final = {"http": 80, "https": 443}
_UNSEEN: Final = frozenset({"script", "style", "noscript", "template", "svg", "head", "iframe", "object"})
_BLOCKS: Final = frozenset({"p", "br", "div", "li", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "section", "article", "table", "ul", "ol"})

Resolver = Callable[[str, int], list[str]]


class RefusedError(RetrievalError):
    """A page that is not fetched: its address is not public, or its content is not a page."""


def resolve(host: str, port: int) -> list[str]:
    """Return every address of a host. Raises RetrievalError if it has none."""
    try:
        return sorted({str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)})
    except (OSError, UnicodeError) as error:
        raise RetrievalError(f"the host {host[:100]} cannot be found ({error})") from error


def checked_address(url: str, resolver: Resolver = resolve) -> tuple[SplitResult, str]:
    """Return the parts of a URL and the public address to connect to. Raises RefusedError, or RetrievalError without an address."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise RefusedError(f"{url[:100]!r} is not an address") from error
    if parts.scheme not in PORTS or not parts.hostname:
        raise RefusedError(f"{url[:100]!r} is not an http or https address")
    if parts.username is not None or parts.password is not None or port not in (None, PORTS[parts.scheme]):
        raise RefusedError(f"{parts.hostname[:100]}: an address with a login or an unusual port is not fetched")
    addresses = resolver(parts.hostname, PORTS[parts.scheme])
    for address in addresses:
        if not _is_public(address):
            raise RefusedError(f"{parts.hostname[:100]} has the address {address}, which is not public")
    if not addresses:
        raise RetrievalError(f"the host {parts.hostname[:100]} has no address")
    return parts, addresses[0]


def _is_public(address: str) -> bool:
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = ip.ipv4_mapped or ip.sixtofour if isinstance(ip, ipaddress.IPv6Address) else None
    return ip.is_global and not ip.is_multicast and (mapped is None or mapped.is_global)


def fetch_text(url: str, timeout_s: float, resolver: Resolver = resolve, transport: Any = None) -> str:
    """Fetch the text of a page.

    Args:
        url: URL of a search result.
        timeout_s: seconds for the whole fetch, redirects included.
        resolver: returns the addresses of a host.
        transport: httpx transport, for tests; None: the network.

    Raises:
        RetrievalError: it cannot be fetched, or may not be.
    """
    httpx: Any = import_module("httpx2")
    deadline = time.monotonic() + timeout_s
    with httpx.Client(follow_redirects=False, transport=transport, trust_env=False, timeout=timeout_s) as client:
        for _ in range(MAX_HOPS):
            parts, address = checked_address(url, resolver)
            try:
                status, headers, content = _get(client, parts, address, deadline)
            except httpx.HTTPError as error:
                raise RetrievalError(f"{parts.hostname} does not answer ({str(error) or type(error).__name__})") from error
            if status in (301, 302, 303, 307, 308) and "location" in headers:
                url = urljoin(url, headers["location"])
                continue
            if status != 200:
                raise RetrievalError(f"{parts.hostname} answers with status {status}")
            return _words(content, headers.get("content-type", ""), str(parts.hostname))
    raise RefusedError(f"{url[:100]!r}: more than {MAX_HOPS} redirects")


def _get(client: Any, parts: SplitResult, address: str, deadline: float) -> tuple[int, Any, bytes]:
    """Request one hop, at the address that was checked."""
    host = f"[{address}]" if ":" in address else address
    target = parts._replace(netloc=host, fragment="").geturl()
    headers = {"Host": str(parts.hostname), "User-Agent": "espl-bench", "Accept": "text/html, text/plain;q=0.9"}
    request = client.build_request("GET", target, headers=headers, extensions={"sni_hostname": parts.hostname})
    response = client.send(request, stream=True)
    try:
        content = bytearray()
        for chunk in response.iter_bytes():
            content += chunk
            if len(content) > MAX_BYTES:
                break
            if time.monotonic() > deadline:
                raise RetrievalError(f"{parts.hostname} takes too long")
        return response.status_code, response.headers, bytes(content[:MAX_BYTES])
    finally:
        response.close()


def _words(content: bytes, kind: str, host: str) -> str:
    if not kind.lower().startswith(("text/html", "text/plain", "application/xhtml")):
        raise RefusedError(f"{host} serves {kind[:60] or 'an unknown kind of content'}, which is not a page")
    text = content.decode("utf-8", "replace")
    if kind.lower().startswith("text/plain"):
        return text
    reader = _Reader()
    reader.feed(text)
    reader.close()
    return "\n".join(line for piece in "".join(reader.pieces).splitlines() if (line := " ".join(piece.split())))


class _Reader(HTMLParser):
    """Collects the text that a reader of the page would see."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._unseen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _UNSEEN:
            self._unseen.append(tag)
        elif tag in _BLOCKS:
            self.pieces.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._unseen:
            del self._unseen[self._unseen.index(tag) :]
        elif tag in _BLOCKS:
            self.pieces.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.pieces.append(data)
