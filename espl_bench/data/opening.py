"""Open a data file for reading, unpacked if it is packed with gzip or Zstandard, whatever its name says.

Unpacking is bounded: a small file that unpacks to an enormous one is refused before it fills the memory or the disk. Archives of
several files (zip, tar) are never unpacked.
"""

import codecs
import gzip
import io
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import IO, Any, Final, cast

from espl_bench.errors import DataError, UsageError
from espl_bench.utils.foreign_files import ANY_BYTES
from espl_bench.utils.named_files import open_named

PACKED: Final = (".gz", ".zst")
"""Endings of packed files; the ending before it names the format."""
LARGEST_RATIO: Final = 200
"""Bytes unpacked per packed byte. Text of any kind packs to a fifth or a tenth; only a file made to do harm needs more."""
ALWAYS_UNPACKED: Final = 64 * 2**20
"""Bytes that may be unpacked in any case."""
GZIP: Final = b"\x1f\x8b"
ZSTANDARD: Final = b"\x28\xb5\x2f\xfd"

REFUSED: Final[tuple[tuple[bytes, str], ...]] = (
    (b"version https://git-lfs", "is a pointer of Git LFS, not the file itself; fetch it with: git lfs pull"),
    (b"<!doctype html", "is a web page, perhaps a sign-in page, not data; fetch it again"),
    (b"<html", "is a web page, perhaps a sign-in page, not data; fetch it again"),
    (b"pk\x03\x04", "is an archive (zip) or a spreadsheet; unpack it and name the file inside, or save it as CSV"),
    (b"7z\xbc\xaf\x27\x1c", "is an archive (7z); unpack it and name the file inside"),
    (b"\xfd7zxz\x00", "is packed with xz; unpack it with: unxz"),
    (b"bzh9", "is packed with bzip2; unpack it with: bunzip2"),
    (b"\xff\xfe", "is UTF-16 text; save it as UTF-8"),
    (b"\xfe\xff", "is UTF-16 text; save it as UTF-8"),
)
"""Beginnings of files, in lower case, that are no data, and what to do about them."""


def ending_of(path: Path) -> str:
    """Return the ending that names the format, in lower case: ``.jsonl`` for ``a.jsonl.gz``."""
    name = path.name.lower()
    for packed in PACKED:
        name = name.removesuffix(packed)
    return Path(name).suffix


def beginning(path: Path) -> bytes:
    """Return the first bytes of a file as they are on disk. Raises DataError for what is known to be no data."""
    with open_named(path, ANY_BYTES) as file:
        start = file.read(512)
    bare = start.removeprefix(codecs.BOM_UTF8).lstrip().lower()
    for magic, reason in REFUSED:
        if bare.startswith(magic):
            raise DataError(f"{path} {reason}")
    if start[257:262] == b"ustar":
        raise DataError(f"{path} is an archive (tar); unpack it and name the file inside")
    return start


@contextmanager
def opened(path: Path) -> Generator[IO[bytes]]:
    """Open a file for reading, unpacked.

    Raises:
        UsageError: a package is missing.
        DataError: it is no data, damaged, or unpacks to far more than its size.
    """
    start = beginning(path)
    packing = "gzip" if start.startswith(GZIP) else "Zstandard" if start.startswith(ZSTANDARD) else None
    if packing is None:
        with open_named(path, ANY_BYTES) as file:
            yield file
        return
    try:
        with _unpacking(path, packing) as inside:
            first = inside.peek(512) if isinstance(inside, io.BufferedReader) else b""
            if first[257:262] == b"ustar":
                raise DataError(f"{path} is an archive (tar); unpack it and name the file inside")
            yield inside
    except (EOFError, gzip.BadGzipFile, zlib.error, _DamagedError) as error:
        raise DataError(f"{path} is damaged or cut off ({packing}: {error}); fetch it again") from error


class _DamagedError(Exception):
    """A packed file cannot be unpacked."""


class _Bounded(io.RawIOBase):
    """A stream of which only so much is read."""

    def __init__(self, stream: Any, path: Path, damage: type[Exception] | tuple[type[Exception], ...]) -> None:
        self._stream = stream
        self._path = path
        self._damage = damage
        self._left = max(ALWAYS_UNPACKED, LARGEST_RATIO * path.stat().st_size)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._stream.read(len(buffer))
        except self._damage as error:
            raise _DamagedError(str(error).splitlines()[0]) from error
        self._left -= len(data)
        if self._left < 0:
            raise DataError(
                f"{self._path} unpacks to more than {LARGEST_RATIO} times its size; if you trust it, unpack it yourself and name the result"
            )
        buffer[: len(data)] = data
        return len(data)


@contextmanager
def _unpacking(path: Path, packing: str) -> Generator[IO[bytes]]:
    if packing == "gzip":
        with open_named(path, ANY_BYTES) as packed, gzip.open(packed) as stream:
            yield io.BufferedReader(_Bounded(stream, path, ()))
        return
    arrow = arrow_package("a .zst file")
    with arrow.CompressedInputStream(arrow.OSFile(str(path)), "zstd") as stream:
        yield cast(IO[bytes], io.BufferedReader(_Bounded(stream, path, OSError)))


def arrow_package(what: str) -> Any:
    """Import pyarrow, which loads slowly and has no types. Raises UsageError if it is missing."""
    try:
        return import_module("pyarrow")
    except ModuleNotFoundError as error:
        raise UsageError(f"{what} needs {error.name}; install it with: pip install 'espl-bench[parquet]'") from error
