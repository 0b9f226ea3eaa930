"""Read the text of an HTML page with a parser made for hostile ones, without building a tree.

libxml2's parser reports what it meets and keeps nothing, so depth costs no memory, and neither depth nor many attributes cost time that
grows with their square, as they do where a tree is built. The process it runs in has limits all the same (pages.py).
"""

from importlib import import_module
from typing import Any, Final

_etree: Any = import_module("lxml.etree")  # has no types

_UNSEEN: Final = frozenset({"script", "style", "noscript", "template", "svg", "head", "iframe", "object"})
_BLOCKS: Final = frozenset({"p", "br", "div", "li", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "section", "article", "table", "ul", "ol"})


def text_of_html(content: str) -> str:
    """Return the text that a reader of the page would see, one line per block; as far as the parser came in a broken page."""
    seen = _Seen()
    parser = _etree.HTMLParser(target=seen, recover=True, no_network=True, huge_tree=False, encoding="utf-8")
    try:
        parser.feed(content.encode("utf-8", "replace"))
        parser.close()
    except _etree.LxmlError:  # no element at all, or too broken to go on: what has been seen counts
        pass
    lines = (" ".join(line.split()) for line in "".join(seen.pieces).splitlines())
    return "\n".join(line for line in lines if line)


class _Seen:
    """Collects text outside of what is not shown."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self._hidden = 0
        """Open elements inside of what is not shown, itself included."""

    def start(self, tag: str, attributes: object) -> None:
        if self._hidden or tag in _UNSEEN:
            self._hidden += 1
        elif tag in _BLOCKS:
            self.pieces.append("\n")

    def end(self, tag: str) -> None:
        if self._hidden:
            self._hidden -= 1
        elif tag in _BLOCKS:
            self.pieces.append("\n")

    def data(self, text: str) -> None:
        if not self._hidden:
            self.pieces.append(text)

    def close(self) -> None:
        pass
