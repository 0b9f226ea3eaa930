"""Write to disk so that a file is whole or absent, even after a crash or on a full disk.

Everything here raises plain ``OSError`` that names its file; the caller (run_dir.py) names the run.
"""

import json
import os
import re
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from espl_bench.utils import foreign_files
from espl_bench.utils.foreign_files import TEMP_PREFIX

_RUST_ERRNO = re.compile(r"os error (\d+)")


def write_atomic(path: Path, chunks: Iterable[bytes], inside: Path | None = None) -> None:
    """Replace a file: readers see the old bytes or the new, never a mixture. Durable on return.

    Several processes may write the same file at the same time, each in full. `inside`: see `foreign_files.open_folder`.
    """
    with _naming(path), foreign_files.open_folder(path.parent, inside) as folder:
        name, descriptor = folder.create()
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.writelines(chunks)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path.name, src_dir_fd=folder.descriptor, dst_dir_fd=folder.descriptor)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder.descriptor)
        os.fsync(folder.descriptor)


def require_room(folder: Path, size: int) -> None:
    """Raise OSError unless a file of `size` bytes can be written into a folder now; for use before work that must be kept."""
    with _naming(folder), foreign_files.open_folder(folder) as opened:
        name, descriptor = opened.create()
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(bytes(size))
                file.flush()
                os.fsync(file.fileno())
        finally:
            os.unlink(name, dir_fd=opened.descriptor)


def append(path: Path, data: bytes, inside: Path | None = None) -> None:
    """Append all of `data` or, on failure, nothing. Passed to the operating system, not yet durable (`sync`)."""
    descriptor = foreign_files.open_to_write(path, os.O_WRONLY | os.O_APPEND, inside)
    try:
        size = os.fstat(descriptor).st_size
        try:
            with _naming(path):
                while data:
                    data = data[os.write(descriptor, data) :]
        except OSError:
            os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)


def truncate(path: Path, size: int, inside: Path | None = None) -> None:
    """Cut a file to `size` bytes, making an empty one if there is none. Durable on return."""
    descriptor = foreign_files.open_to_write(path, os.O_WRONLY, inside)
    try:
        os.ftruncate(descriptor, size)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync(path: Path) -> None:
    """Make a file's bytes survive a power cut."""
    with foreign_files.open_file(path, limit=foreign_files.ANY_BYTES) as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Make a folder's entries survive a power cut."""
    with foreign_files.open_folder(path) as folder:
        os.fsync(folder.descriptor)


def sync_tree(folder: Path) -> None:
    """`sync` a folder and everything below it, deepest first."""
    for name in foreign_files.names(folder):
        if foreign_files.is_folder(path := folder / name):
            sync_tree(path)
        else:
            sync(path)
    sync_folder(folder)


def share(folder: Path, like: Path) -> None:
    """Give every file of a folder the permissions of `like`: some libraries make files that only their owner can read."""
    for path in foreign_files.files_below(folder):
        foreign_files.share(path, like)


def discard(path: Path, inside: Path | None = None) -> None:
    """Remove a file or folder so that a crash half-way leaves it whole or under a `TEMP_PREFIX` name, never damaged."""
    part = path.with_name(foreign_files.unfinished())
    foreign_files.rename(path, part, inside)
    sync_folder(path.parent)
    foreign_files.remove(part, inside)


def remove_leftovers(folder: Path, inside: Path | None = None) -> None:
    """Delete unfinished files that a crash left directly inside a folder."""
    for name in foreign_files.names(folder, inside):
        if name.startswith(TEMP_PREFIX):
            foreign_files.remove(folder / name, inside)


def indented(record: Mapping[str, Any]) -> bytes:
    """Encode JSON for people: two spaces, keys sorted, a newline at the end."""
    return encode_text(json.dumps(dict(record), indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def encode_text(text: str) -> bytes:
    """Encode as UTF-8; a lone surrogate, which UTF-8 cannot encode, becomes JSON's own escape."""
    return text.encode("utf-8", errors="backslashreplace")


def errno_of(error: Exception) -> int | None:
    """Return the operating system's error number, also if a library only puts it into its message (safetensors)."""
    if isinstance(error, OSError):
        return error.errno
    match = _RUST_ERRNO.search(str(error))
    return int(match[1]) if match else None


@contextmanager
def _naming(path: Path) -> Generator[None]:
    """Put the file into an OSError that does not name one, as those of ``write`` and ``fsync``."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(path)
        raise
