"""A temporary folder that lives as long as its process, and the removal of those that killed processes left behind.

Whether another process lives is told by the lock (`flock`) that it holds on a file in its folder. A process id tells nothing where
containers share the memory but not their processes, or where another process has taken over the id.
"""

import fcntl
import os
import shutil
import stat
import weakref
from pathlib import Path
from typing import Final

from espl_bench.utils import foreign_files

LOCK: Final = ".lives"
"""The locked file. A folder without one is left alone: it is being made, or of a version that had none."""


class LivingFolder:
    """A folder of this process, which only its user can read."""

    def __init__(self, home: Path, prefix: str) -> None:
        """Make it under a random name with the prefix. It gets the name when it is locked, so that nobody takes it for a dead one."""
        part = foreign_files.new_folder(home)
        part.chmod(0o700)
        lock = foreign_files.open_to_write(part / LOCK, os.O_RDWR)
        fcntl.flock(lock, fcntl.LOCK_EX)
        self.path = home / f"{prefix}{part.name.removeprefix(foreign_files.TEMP_PREFIX)}"
        foreign_files.rename(part, self.path)
        self.close = weakref.finalize(self, _end, self.path, lock)
        """Removes the folder; runs at the end of the process at the latest."""


def remove_dead(home: Path, prefix: str) -> None:
    """Remove this user's folders of a prefix whose processes have ended."""
    for name in foreign_files.names(home):
        if name.startswith(prefix):
            _remove_if_dead(home / name)


def _remove_if_dead(folder: Path) -> None:
    try:
        there = foreign_files.status(folder)
        if there is None or not stat.S_ISDIR(there.st_mode) or there.st_uid != os.geteuid() or not foreign_files.is_file(folder / LOCK):
            return
        lock = foreign_files.open_to_write(folder / LOCK, os.O_RDWR)
    except OSError:  # another's, or gone meanwhile
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        foreign_files.remove(folder)
    except OSError:  # it lives, or the file system cannot tell
        return
    finally:
        os.close(lock)


def _end(path: Path, lock: int) -> None:
    shutil.rmtree(path, ignore_errors=True)
    os.close(lock)
