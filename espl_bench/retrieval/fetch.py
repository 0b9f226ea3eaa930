"""Fetch a page that a search returned, safely: the model may have been made to ask for any address.

Only http and https on their usual ports, and only hosts all of whose addresses are public. The host is looked up once, and the connection
goes to an address that was checked, so a name cannot resolve to something else a moment later. Redirects are followed by hand, each hop
checked like the first. One deadline holds for all of it, and the size is bounded as sent and as decoded. The result is text; nothing of a
page is run or rendered. It runs in a process that can be killed (pages.py). Needs ``httpcore2`` and ``lxml``.
"""

import ssl
from collections.abc import Callable, Sequence
from functools import cache
from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit

from espl_bench.retrieval.addresses import is_public
from espl_bench.retrieval.page_text import text_of_html
from espl_bench.retrieval.retriever import RetrievalError
from espl_bench.utils.exchange import PORTS, Answer, Deadline, ExchangeError, Line, addresses_of

MAX_HOPS: Final = 4
MAX_BYTES: Final = 2 * 2**20

Resolver = Callable[[str, int, Deadline], Sequence[tuple[str, int]]]
Dial = Callable[[str, int], tuple[str, int]]
"""Maps a checked address and its port to what is connected to."""


class RefusedError(RetrievalError):
    """A page that is not fetched: its address is not public, or its content is not a page."""


def fetch_text(url: str, timeout_s: float, resolver: Resolver = addresses_of, dial: Dial | None = None) -> str:
    """Fetch the text of a page.

    Args:
        url: URL of a search result.
        timeout_s: seconds for the whole fetch, names and redirects included.
        resolver: returns the addresses of a host.
        dial: for tests, which have no public address; None: connect to the address that was checked.

    Raises:
        RetrievalError: it cannot be fetched, or may not be.
    """
    deadline = Deadline(timeout_s)
    for _ in range(MAX_HOPS):
        parts = checked_parts(url)
        try:
            answer = _get(parts, deadline, resolver, dial)
        except ExchangeError as error:
            raise RetrievalError(f"{str(parts.hostname)[:100]} does not answer ({error})") from error
        if answer.status in (301, 302, 303, 307, 308) and "location" in answer.headers:
            url = _joined(url, answer.headers["location"])
            continue
        if answer.status != 200:
            raise RetrievalError(f"{parts.hostname} answers with status {answer.status}")
        return _words(answer.content, answer.headers.get("content-type", ""), str(parts.hostname))
    raise RefusedError(f"{url[:100]!r}: more than {MAX_HOPS} redirects")


def checked_parts(url: str) -> SplitResult:
    """Return the parts of a page's URL. Raises RefusedError for what is no plain http or https address."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise RefusedError(f"{url[:100]!r} is not an address") from error
    if parts.scheme not in PORTS or not parts.hostname:
        raise RefusedError(f"{url[:100]!r} is not an http or https address")
    if parts.username is not None or parts.password is not None or port not in (None, PORTS[parts.scheme]):
        raise RefusedError(f"{parts.hostname[:100]}: an address with a login or an unusual port is not fetched")
    return parts


def public_addresses(host: str, port: int, deadline: Deadline, resolver: Resolver = addresses_of) -> Sequence[tuple[str, int]]:
    """Return the addresses of a host, all of which are public. Raises RefusedError if one is not, ExchangeError if there is none."""
    addresses = resolver(host, port, deadline)
    for address, _ in addresses:
        if not is_public(address):
            raise RefusedError(f"{host[:100]} has the address {address}, which is not public")
    return addresses


def _get(parts: SplitResult, deadline: Deadline, resolver: Resolver, dial: Dial | None) -> Answer:
    """Request one hop, at an address that was checked."""

    def find(host: str, port: int, until: Deadline) -> Sequence[tuple[str, int]]:
        checked = public_addresses(host, port, until, resolver)
        return checked if dial is None else [dial(address, to) for address, to in checked]

    line = Line(parts.geturl(), _certificates(), find)
    try:
        target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
        return line.exchange("GET", target, {"Accept": "text/html, text/plain;q=0.9"}, b"", deadline, MAX_BYTES)
    finally:
        line.close()


@cache
def _certificates() -> ssl.SSLContext:
    return ssl.create_default_context()


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError as error:
        raise RefusedError(f"{location[:100]!r} is not an address") from error


def _words(content: bytes, kind: str, host: str) -> str:
    if not kind.lower().startswith(("text/html", "text/plain", "application/xhtml")):
        raise RefusedError(f"{host} serves {kind[:60] or 'an unknown kind of content'}, which is not a page")
    text = content.decode("utf-8", "replace")
    return text if kind.lower().startswith("text/plain") else text_of_html(text)
