"""Open files that the user named, and those of caches that are made of links (the hub's): a link is followed here.

What it leads to is a regular file of a bounded size, so that nothing waits for a FIFO, reads a device or fills the memory. Folders that
strangers hand on are opened by `foreign_files`, which follows no link.
"""

import errno
import os
from collections.abc import Generator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from espl_bench.utils.foreign_files import LOG_BYTES, RECORD_BYTES, refuse_special


@contextmanager
def open_named(path: Path, limit: int = LOG_BYTES) -> Generator[BufferedReader]:
    """Open a regular file, or what a link leads to. Raises OSError for anything else, and for more than `limit` bytes."""
    refuse_special(path.stat(), path)
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        opened = os.fstat(file.fileno())
        refuse_special(opened, path)
        if opened.st_size > limit:
            raise OSError(errno.EOVERFLOW, f"its {opened.st_size:,} bytes are more than {limit:,}", str(path))
        yield file


def read_named(path: Path, limit: int = RECORD_BYTES) -> bytes:
    """Read a regular file whole."""
    with open_named(path, limit) as file:
        return file.read()


def require_named(path: Path, limit: int = RECORD_BYTES) -> None:
    """Raise OSError as `open_named`, before a library opens the file."""
    with open_named(path, limit):
        pass


def decoded(content: bytes) -> str:
    r"""Return a text file's content, without a mark of the byte order, each line ended by ``\n``. Raises UnicodeDecodeError."""
    return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")


def read_named_text(path: Path, limit: int = RECORD_BYTES) -> str:
    """Read a text file. Raises OSError as `open_named`, or UnicodeDecodeError."""
    return decoded(read_named(path, limit))
