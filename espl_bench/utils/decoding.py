"""Decode the body of an HTTP answer as it arrives, never beyond a bound on what it decodes to.

Clients of this project ask for `ACCEPTED` only. Each piece is decoded no further than there is room, so a few bytes that stand
for gigabytes cost no memory.
"""

import zlib
from typing import Final

ACCEPTED: Final = "gzip"
"""The Accept-Encoding to send."""
_WINDOWS: Final = {"gzip": 31, "x-gzip": 31, "deflate": zlib.MAX_WBITS}


class DecodingError(ValueError):
    """A body is not encoded as it says, or in a way that was not asked for."""


class BoundedBody:
    """The decoded bytes of one answer, up to a limit."""

    def __init__(self, encoding: str | None, limit: int) -> None:
        """Start empty.

        Args:
            encoding: the Content-Encoding header.
            limit: maximum bytes, both as sent and as decoded.

        Raises DecodingError for an encoding that is not accepted.
        """
        name = (encoding or "identity").strip().lower()
        if name not in _WINDOWS and name not in ("", "identity"):
            raise DecodingError(f"sends content encoded as {name[:40]!r}, which was not asked for")
        self._inflate = zlib.decompressobj(_WINDOWS[name]) if name in _WINDOWS else None
        self._limit = limit
        self._sent = 0
        self._content: bytearray = bytearray()
        self.exceeds = False
        """True once there is more than the limit, sent or decoded; the rest is dropped."""

    def add(self, chunk: bytes) -> None:
        """Take the next bytes as they were sent. Raises DecodingError."""
        self._sent += len(chunk)
        room = self._limit - len(self._content)
        if self._inflate is not None:
            try:
                chunk = b"" if self._inflate.eof else self._inflate.decompress(chunk, room + 1)
            except zlib.error as error:
                raise DecodingError(f"sends a body that is not encoded as it says ({error})") from error
        self.exceeds = self.exceeds or len(chunk) > room or self._sent > self._limit
        self._content += chunk[:room]

    @property
    def content(self) -> bytes:
        """Return what has been decoded so far."""
        return bytes(self._content)
