"""What a process is doing at the moment, readable from outside even while it hangs: a counter and a text in shared memory."""

import mmap
import os
import struct
import tempfile
from typing import Final

_HEAD: Final = struct.Struct("<QI")
_SIZE: Final = 1024


class Pulse:
    """A page that one process writes and another reads. A reader may catch a text half written."""

    def __init__(self, descriptor: int) -> None:
        """Map the file, as `make` made it."""
        self.descriptor = descriptor
        self._page = mmap.mmap(descriptor, _SIZE)
        self._count = 0

    @classmethod
    def make(cls) -> "Pulse":
        """Make a new one. Its descriptor can be passed to another process."""
        with tempfile.TemporaryFile() as file:
            file.truncate(_SIZE)
            return cls(os.dup(file.fileno()))

    def beat(self, doing: str) -> None:
        """Say what begins."""
        text = doing.encode(errors="replace")[: _SIZE - _HEAD.size]
        self._count += 1
        self._page[: _HEAD.size + len(text)] = _HEAD.pack(self._count, len(text)) + text

    def read(self) -> tuple[int, str]:
        """Return how many times it was said, and what was last."""
        count, length = _HEAD.unpack(self._page[: _HEAD.size])
        return count, self._page[_HEAD.size : _HEAD.size + min(length, _SIZE)].decode(errors="replace")

    def close(self) -> None:
        """Release the page."""
        self._page.close()
        os.close(self.descriptor)
