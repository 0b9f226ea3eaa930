"""Allow one writer per run directory, by a POSIX record lock: the kernel releases it when its process dies, however it dies.

Unlike ``flock`` it is not inherited by forked workers, so an orphaned worker of a killed run does not hold it. It belongs to the process,
not to a descriptor, so `_held` is what refuses a second lock in the same process.
"""

import fcntl
import os
import struct
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from espl_bench.errors import RunDirError, RunTakenError
from espl_bench.utils import foreign_files
from espl_bench.utils.disk_refusals import unwritten

NAME = ".lock"
_LAYOUT, _KIND = ("@qqihh", 3) if sys.platform == "darwin" else ("@hhqqi", 0)
"""Members of C's ``struct flock`` in the order of the system, and the place of the kind of lock among them."""

_held: set[tuple[int, int]] = set()
"""Device and inode of the folders that this process has locked."""


@contextmanager
def held(folder: Path, otherwise: str = "") -> Generator[None]:
    """Hold the lock of a run directory.

    Args:
        folder: the run directory.
        otherwise: what else to do if it cannot be written, as in `` or choose another --out``.

    Raises RunTakenError naming the process that has it, and RunDirError if the folder cannot be written or is another user's.
    """
    try:
        foreign_files.require_own(folder)
        with foreign_files.open_folder(folder) as opened:
            status = os.fstat(opened.descriptor)
    except OSError as error:
        raise RunDirError(f"{unwritten(folder, error)}{otherwise}") from error
    key = (status.st_dev, status.st_ino)
    if key in _held:  # do not even open it: closing any descriptor of the file would release the lock
        raise _taken(folder, f"process {os.getpid()}, this one")
    try:
        descriptor = foreign_files.open_to_write(folder / NAME, os.O_RDWR)
    except OSError as error:
        raise RunDirError(f"{unwritten(folder / NAME, error)}{otherwise}") from error
    try:
        _acquire(folder, descriptor)
        _held.add(key)
        yield
    finally:
        _held.discard(key)
        os.close(descriptor)


def is_held(folder: Path) -> bool:
    """Return whether a process of this machine holds the lock of a run directory. Asking does not take it.

    Raises OSError for a lock that is no regular file.
    """
    with foreign_files.open_folder(folder) as opened:
        there = os.fstat(opened.descriptor)
    if (there.st_dev, there.st_ino) in _held:  # closing a descriptor of the file would release it
        return True
    if not foreign_files.exists(folder / NAME):
        return False
    with foreign_files.open_file(folder / NAME) as file:
        members = [0] * 5  # all zero: the whole file
        members[_KIND] = fcntl.F_WRLCK
        answer = fcntl.fcntl(file.fileno(), fcntl.F_GETLK, struct.pack(_LAYOUT, *members))
    return struct.unpack(_LAYOUT, answer)[_KIND] != fcntl.F_UNLCK


def _acquire(folder: Path, descriptor: int) -> None:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        pid = os.pread(descriptor, 32, 0).decode("ascii", errors="replace").strip()
        raise _taken(folder, f"process {pid}" if pid else "another process") from error
    except OSError as error:
        raise RunDirError(f"{folder} cannot be locked ({error.strerror}); choose --out on another file system") from error
    with suppress(OSError):  # on a full disk the lock still works, only without the holder's process id
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)


def _taken(folder: Path, holder: str) -> RunTakenError:
    return RunTakenError(f"{folder} is being written by {holder}; wait for it, stop it, or choose another --out")
