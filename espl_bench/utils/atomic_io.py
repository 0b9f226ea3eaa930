"""Write to disk so that a file is whole or absent, even after a crash or on a full disk.

Everything here raises plain ``OSError`` that names its file; the caller (run_dir.py) names the run.
"""

import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TEMP_PREFIX = ".part-"
"""Name prefix of everything unfinished. Files with it may be deleted at any time."""

_RUST_ERRNO = re.compile(r"os error (\d+)")


def write_atomic(path: Path, chunks: Iterable[bytes]) -> None:
    """Replace a file: readers see the old bytes or the new, never a mixture. Durable on return."""
    part = path.with_name(f"{TEMP_PREFIX}{path.name}")
    with _naming(path):
        try:
            with part.open("wb") as file:
                file.writelines(chunks)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    sync(path.parent)


def write_unique(path: Path, data: bytes) -> None:
    """Replace a file like `write_atomic`, for one that several processes or threads may write at the same time, each in full."""
    part = unique_part(path.parent)
    with _naming(path):
        try:
            with part.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def unique_part(folder: Path) -> Path:
    """Return a new unfinished name in a folder. Unlike with `tempfile`, what is made there can be read by those the umask lets read."""
    return folder / f"{TEMP_PREFIX}{uuid.uuid4().hex}"


def require_room(folder: Path, size: int) -> None:
    """Raise OSError unless a file of `size` bytes can be written into a folder now; for use before work that must be kept."""
    part = unique_part(folder)
    with _naming(folder):
        try:
            with part.open("xb") as file:
                file.write(bytes(size))
                file.flush()
                os.fsync(file.fileno())
        finally:
            part.unlink(missing_ok=True)


def append(path: Path, data: bytes) -> None:
    """Append all of `data` or, on failure, nothing. Passed to the operating system, not yet durable (`sync`)."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
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


def truncate(path: Path, size: int) -> None:
    """Cut a file to `size` bytes, making an empty one if there is none. Durable on return."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
    try:
        os.ftruncate(descriptor, size)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync(path: Path) -> None:
    """Make a file's bytes, or a folder's entries, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """`sync` a folder and everything below it, deepest first."""
    for path in sorted(folder.rglob("*"), reverse=True):
        sync(path)
    sync(folder)


def share(folder: Path, like: Path) -> None:
    """Give every file of a folder the permissions of `like`: some libraries make files that only their owner can read."""
    mode = like.stat().st_mode & 0o777
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(mode)


def discard(path: Path) -> None:
    """Remove a file or folder so that a crash half-way leaves it whole or under a `TEMP_PREFIX` name, never damaged."""
    part = path.with_name(f"{TEMP_PREFIX}old-{path.name}")
    if part.exists():
        remove(part)
    path.replace(part)
    sync(path.parent)
    remove(part)


def remove_leftovers(folder: Path) -> None:
    """Delete unfinished files that a crash left directly inside a folder."""
    for path in folder.glob(f"{TEMP_PREFIX}*"):
        remove(path)


def remove(path: Path) -> None:
    """Delete a file or a whole folder. Not atomic."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def sha256(path: Path) -> str:
    """Return the hex digest of a file's bytes, read in chunks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
