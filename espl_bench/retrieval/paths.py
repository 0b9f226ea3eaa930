"""Folders of indexes and recorded retrievals in the data home, and the hash that identifies a corpus."""

import hashlib
import shutil
import stat
from collections.abc import Generator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from espl_bench.data.store import HOME_VARIABLE, home
from espl_bench.errors import DataError, UsageError, reading
from espl_bench.utils import foreign_files


def index_folder(kind: str, key: str) -> Path:
    """Return the folder of the index whose content and settings `key` names."""
    return home() / "retrieval" / f"{kind}-{hashlib.sha256(key.encode()).hexdigest()[:20]}"


def cache_folder() -> Path:
    """Return the default folder of recorded retrievals."""
    return home() / "retrieval" / "recorded"


def corpus_sha256(path: Path) -> str:
    """Return the hash of a corpus file. Raises UsageError if it cannot be read."""
    with reading(f"the corpus {path}", "name a file of passages with --corpus", UsageError):
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UsageError(f"the corpus {path} is no regular file; name a file of passages with --corpus")
        return _sha256(path.resolve(), status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=64)
def _sha256(path: Path, modified_ns: int, size: int) -> str:
    return foreign_files.sha256(path)


@contextmanager
def new_folder(folder: Path, what: str) -> Generator[Path]:
    """Yield a folder to fill; on success it is moved to its final name, on failure removed. Raises DataError if not writable."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = foreign_files.new_folder(folder.parent)
        try:
            yield part
            if not folder.exists():  # another run may have filled it meanwhile
                part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise DataError(
            f"{what} cannot be written to {folder.parent} ({error.strerror or error}); set {HOME_VARIABLE} to a writable folder"
        ) from error
