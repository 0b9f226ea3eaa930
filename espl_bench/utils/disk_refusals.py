"""Say in one line what the operating system refused to write or read, and what would mend it."""

import errno
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from espl_bench.errors import EsplError, RunDirError
from espl_bench.utils.foreign_files import RefusedFileError

NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Errors of a full disk, an exhausted quota, or a file size limit."""
DISK = NO_SPACE | {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.EIO,
    errno.ENXIO,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.ESTALE,
    errno.EMFILE,
    errno.ENFILE,
}
"""Errors that come from the state of a disk or of the machine, never from this package."""


def unwritten(what: Path | str, error: OSError) -> str:
    """Say what could not be written and how to mend it: ``no space left while writing WHAT; free space``."""
    if isinstance(error, RefusedFileError):
        return f"{error.filename} is not written to ({error.strerror}); {error.remedy}"
    if error.errno in NO_SPACE:
        return f"no space left while writing {what}; free space"
    if error.errno == errno.ENOENT:
        return f"{what} cannot be written (its folder has been removed); bring it back"
    return f"{what} cannot be written ({error.strerror or error}); make it writable"


@contextmanager
def writing(what: Path | str, then: str, kind: type[EsplError] = RunDirError) -> Generator[None]:
    """Turn an OSError inside the block into one line of the given kind: ``WHAT cannot be written (…); make it writable and THEN``."""
    try:
        yield
    except OSError as error:
        raise kind(f"{unwritten(what, error)} and {then}") from error


def refusal(error: OSError) -> str | None:
    """Explain an OSError that nothing nearer has explained; None if it is not about a disk, and so perhaps a bug."""
    if error.errno not in DISK and not (isinstance(error, FileNotFoundError) and error.filename):
        return None
    where = error.filename or "the output"
    if isinstance(error, RefusedFileError):
        return f"{where} cannot be used ({error.strerror}); {error.remedy} and repeat the command"
    if error.errno in NO_SPACE:
        return f"no space left while writing {where}; free space and repeat the command"
    return f"{where} cannot be used ({error.strerror}); make it accessible and repeat the command"
