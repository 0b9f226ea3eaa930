"""Where indexes and recorded retrievals lie in the data home, how a corpus is recognised by its content, and how progress is shown."""

import hashlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from espl_bench.data.store import HOME_VARIABLE, home
from espl_bench.errors import DataError, UsageError, reading
from espl_bench.utils import atomic_io


def index_folder(kind: str, key: str) -> Path:
    """Where an index lies whose content and settings `key` names."""
    return home() / "retrieval" / f"{kind}-{hashlib.sha256(key.encode()).hexdigest()[:20]}"


def cache_folder() -> Path:
    """Where retrievals are recorded unless another folder is named."""
    return home() / "retrieval" / "recorded"


def corpus_sha256(path: Path) -> str:
    """The hash of a corpus file. Raises UsageError if there is none."""
    with reading(f"the corpus {path}", "name a file of passages with --corpus", UsageError):
        found = path.stat()
        return _sha256(path.resolve(), found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=64)
def _sha256(path: Path, modified_ns: int, size: int) -> str:
    return atomic_io.sha256(path)


@contextmanager
def new_folder(folder: Path, what: str) -> Generator[Path]:
    """A folder to fill, which is moved to its place whole; gone if filling it fails. Raises DataError if it cannot be written."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=atomic_io.TEMP_PREFIX, dir=folder.parent))
        try:
            yield part
            if not folder.exists():  # another run may have filled it meanwhile
                part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise DataError(
            f"{what} cannot be written to {folder.parent} ({error.strerror or error}); set {HOME_VARIABLE} to a folder that can be"
        ) from error


@contextmanager
def progress_bar(what: str, total: int | None) -> Generator[Callable[[int], None]]:
    """A bar on a terminal's stderr, gone when done; elsewhere nothing. Yields what is told how many more are done."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.advance(task, done)
