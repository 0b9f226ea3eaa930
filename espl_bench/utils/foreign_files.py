"""The only place that opens files in folders that may come from elsewhere: run directories, sweeps, records, dialects, shared memory.

Such a folder is data. Nothing in it is followed or opened but regular files and folders: no link, no FIFO, no socket, no device. A link
in the path of the folder that the user named is the user's own; below it (`inside`) every step is opened by descriptor and none may be
a link. What is written gets a random name that did not exist, and only files that this user owns, under one name, are appended to.

Everything here raises ``OSError`` whose words say what was refused; callers name the run and the remedy.
"""

import errno
import hashlib
import os
import pwd
import shutil
import stat
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Final

TEMP_PREFIX = ".part-"
"""Name prefix of everything unfinished. Files with it may be deleted at any time."""
RECORD_BYTES: Final = 2**28
"""Most that is read of a file that holds one record."""
LOG_BYTES: Final = 2**32
"""Most that is read of a log or of a file of rollouts."""
ANY_BYTES: Final = 2**62
"""For what is read in pieces."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_SAFELY = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
LINK: Final = "it is a link, and links are not followed there"
_KINDS: Final = (
    (stat.S_ISLNK, LINK),
    (stat.S_ISDIR, "it is a folder"),
    (stat.S_ISFIFO, "it is a FIFO, not a file"),
    (stat.S_ISSOCK, "it is a socket, not a file"),
)


class RefusedFileError(PermissionError):
    """What has a name in a foreign folder is not opened; `strerror` says why."""

    def __init__(self, path: Path, words: str, remedy: str = "remove it") -> None:
        """Take what was refused, why, and what would mend it."""
        super().__init__(errno.EPERM, words, str(path))
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class OpenFolder:
    """A folder held by its descriptor, so that it stays the same one whatever happens to its name."""

    descriptor: int
    path: Path
    """For messages."""

    def status(self, name: str) -> os.stat_result | None:
        """Describe an entry, a link itself; None if there is none."""
        try:
            return os.stat(_one_name(name), dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def names(self) -> list[str]:
        """List the entries, sorted."""
        return sorted(os.listdir(self.descriptor))

    def open(self, name: str, flags: int) -> int:
        """Open a regular file, or make it if `flags` has O_CREAT. What is written to must be this user's, under one name."""
        there = self.status(name)
        if there is not None:
            refuse_special(there, self.path / name)
        try:
            descriptor = os.open(name, flags | _SAFELY, 0o666, dir_fd=self.descriptor)
        except OSError as error:
            error.filename = str(self.path / name)
            raise
        try:
            refuse_special(opened := os.fstat(descriptor), self.path / name)
            if flags & (os.O_WRONLY | os.O_RDWR):
                self._require_own(opened, self.path / name)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def create(self) -> tuple[str, int]:
        """Make a new file under a random name. Unlike with `tempfile`, those may read it whom the umask lets."""
        name = unfinished()
        return name, os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFELY, 0o666, dir_fd=self.descriptor)

    def _require_own(self, opened: os.stat_result, path: Path) -> None:
        owner = os.fstat(self.descriptor).st_uid
        if opened.st_uid != owner:
            raise RefusedFileError(path, f"it belongs to {_user(opened.st_uid)}, unlike its folder")
        if opened.st_nlink > 1:
            raise RefusedFileError(path, "it has a second name, as a hard link", "put a copy in its place")


def unfinished() -> str:
    """Return a name that nothing has, of something unfinished."""
    return f"{TEMP_PREFIX}{uuid.uuid4().hex}"


@contextmanager
def open_folder(folder: Path, inside: Path | None = None) -> Generator[OpenFolder]:
    """Open a folder. Below `inside`, no link is followed.

    Args:
        folder: the folder.
        inside: a folder above it, whose own path is the user's; None: the folder itself.
    """
    root = folder if inside is None else inside
    steps = () if inside is None else folder.relative_to(inside).parts
    descriptor = os.open(root, _FOLDER)
    try:
        path = root
        for step in steps:
            path = path / step
            below = _below(descriptor, step, path)
            os.close(descriptor)
            descriptor = below
        yield OpenFolder(descriptor, folder)
    finally:
        os.close(descriptor)


def _below(descriptor: int, name: str, path: Path) -> int:
    """Open a folder inside a folder."""
    try:
        return os.open(_one_name(name), _FOLDER | os.O_NOFOLLOW, dir_fd=descriptor)
    except NotADirectoryError as error:
        if stat.S_ISLNK(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode):
            raise RefusedFileError(path, LINK) from error
        error.filename = str(path)
        raise
    except OSError as error:
        error.filename = str(path)
        raise


def _one_name(name: str) -> str:
    """Return a name that stays in its folder. Raises RefusedFileError for another."""
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise RefusedFileError(Path(name.replace("\0", "\\0")), "it is no name inside its folder")
    return name


def refuse_special(status: os.stat_result, path: Path) -> None:
    """Raise OSError unless it is a regular file."""
    if not stat.S_ISREG(status.st_mode):
        raise RefusedFileError(path, next((words for is_kind, words in _KINDS if is_kind(status.st_mode)), "it is a device, not a file"))


def _user(number: int) -> str:
    try:
        return f"user {pwd.getpwuid(number).pw_name}"
    except KeyError:
        return f"user {number}"


def require_own(folder: Path) -> None:
    """Raise OSError if a folder is another user's, who could have prepared it and can change it while it is written to.

    A file system that shows everything as one user's (some mounts, user namespaces) is recognised by what it makes of a new file.
    """
    with open_folder(folder) as opened:
        owner = os.fstat(opened.descriptor).st_uid
        if owner == os.geteuid():
            return
        name, descriptor = opened.create()
        try:
            if os.fstat(descriptor).st_uid != owner:
                raise RefusedFileError(folder, f"it belongs to {_user(owner)}", "copy it (cp -r) and use the copy")
        finally:
            os.close(descriptor)
            os.unlink(name, dir_fd=opened.descriptor)


@contextmanager
def open_file(path: Path, inside: Path | None = None, limit: int = LOG_BYTES) -> Generator[BufferedReader]:
    """Open a regular file to read it. Raises OSError for anything else, and for one of more than `limit` bytes."""
    with open_folder(path.parent, inside) as folder:
        descriptor = folder.open(path.name, os.O_RDONLY)
    with os.fdopen(descriptor, "rb") as file:
        size = os.fstat(descriptor).st_size
        if size > limit:
            raise OSError(errno.EOVERFLOW, f"its {size:,} bytes are more than {limit:,}", str(path))
        yield file


def read_bytes(path: Path, inside: Path | None = None, limit: int = LOG_BYTES) -> bytes:
    """Read a regular file whole."""
    with open_file(path, inside, limit) as file:
        return file.read()


def read_record(path: Path, inside: Path | None = None) -> bytes:
    """Read a file that holds one record."""
    return read_bytes(path, inside, RECORD_BYTES)


def sha256(path: Path, inside: Path | None = None) -> str:
    """Return the hex digest of a file's bytes, read in chunks."""
    with open_file(path, inside, limit=ANY_BYTES) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_to_write(path: Path, flags: int, inside: Path | None = None) -> int:
    """Return the descriptor of a file that is made if there is none, opened with O_APPEND, O_RDWR and the like."""
    with open_folder(path.parent, inside) as folder:
        return folder.open(path.name, flags | os.O_CREAT)


def open_log(path: Path) -> BinaryIO:
    """Open a file to append to it, made if there is none, for a process that writes to it itself. The caller closes it."""
    descriptor = open_to_write(path, os.O_WRONLY | os.O_APPEND)
    os.set_blocking(descriptor, True)
    return os.fdopen(descriptor, "ab")


def status(path: Path, inside: Path | None = None) -> os.stat_result | None:
    """Describe what has a name, a link itself; None if nothing has it."""
    try:
        with open_folder(path.parent, inside) as folder:
            return folder.status(path.name)
    except (FileNotFoundError, NotADirectoryError):
        return None


def exists(path: Path, inside: Path | None = None) -> bool:
    """Return whether anything has a name; what it is shows when it is opened."""
    return status(path, inside) is not None


def size(path: Path, inside: Path | None = None) -> int:
    """Return the bytes of a regular file; 0 for anything else."""
    there = status(path, inside)
    return there.st_size if there is not None and stat.S_ISREG(there.st_mode) else 0


def is_file(path: Path, inside: Path | None = None) -> bool:
    """Return whether a name is that of a regular file."""
    there = status(path, inside)
    return there is not None and stat.S_ISREG(there.st_mode)


def is_folder(path: Path, inside: Path | None = None) -> bool:
    """Return whether a name is that of a folder, not of a link to one."""
    there = status(path, inside)
    return there is not None and stat.S_ISDIR(there.st_mode)


def names(folder: Path, inside: Path | None = None) -> list[str]:
    """List the entries of a folder, sorted; none if it does not exist."""
    try:
        with open_folder(folder, inside) as opened:
            return opened.names()
    except FileNotFoundError:
        return []


def require_file(path: Path) -> None:
    """Raise OSError unless a name is that of a regular file, before a library opens it."""
    with open_file(path, limit=ANY_BYTES):
        pass


def files_below(folder: Path) -> list[Path]:
    """List the regular files below a folder, sorted; a link in it is no file."""
    found: list[Path] = []
    for name in names(folder):
        path = folder / name
        if is_folder(path):
            found.extend(files_below(path))
        elif is_file(path):
            found.append(path)
    return found


def files_named(folder: Path, suffix: str) -> list[Path]:
    """List what is directly inside a folder under names with a suffix, sorted; none if it does not exist. It may be no file."""
    return [folder / name for name in names(folder) if name.endswith(suffix)]


def folders_below(start: Path, levels: int, left_out: Callable[[Path, str], None]) -> Iterator[list[Path]]:
    """Yield the folders of each level below one, sorted, itself first. What is not entered is told to `left_out`, with the reason."""
    here = [start]
    for level in range(levels + 1):
        yield here
        if level < levels:
            here = [below for folder in here for below in _entered(folder, start, left_out)]


def _entered(folder: Path, start: Path, left_out: Callable[[Path, str], None]) -> Iterator[Path]:
    try:
        with open_folder(folder, start) as opened:
            for name in opened.names():
                there = opened.status(name)
                if there is not None and stat.S_ISDIR(there.st_mode):
                    yield folder / name
                elif there is not None and stat.S_ISLNK(there.st_mode) and os.path.isdir(folder / name):
                    left_out(folder / name, "it is a link, and links in a folder of runs are not followed; name it itself")
    except OSError as error:
        left_out(folder, error.strerror or str(error))


def make_folder(path: Path, inside: Path | None = None) -> None:
    """Make a folder unless there is one. Raises RefusedFileError for anything else of that name, a link to a folder included."""
    with open_folder(path.parent, inside) as folder:
        there = folder.status(path.name)
        if there is None:
            with suppress(FileExistsError):  # another process may have made it meanwhile
                os.mkdir(path.name, dir_fd=folder.descriptor)
        elif not stat.S_ISDIR(there.st_mode):
            raise RefusedFileError(path, LINK if stat.S_ISLNK(there.st_mode) else "it is not a folder")


def new_folder(parent: Path, inside: Path | None = None) -> Path:
    """Make a folder of a random unfinished name."""
    path = parent / unfinished()
    with open_folder(parent, inside) as folder:
        os.mkdir(path.name, dir_fd=folder.descriptor)
    return path


def rename(old: Path, new: Path, inside: Path | None = None) -> None:
    """Give an entry of a folder another name in the same folder, replacing what has it."""
    with open_folder(old.parent, inside) as folder:
        os.replace(_one_name(old.name), _one_name(new.name), src_dir_fd=folder.descriptor, dst_dir_fd=folder.descriptor)


def remove(path: Path, inside: Path | None = None) -> None:
    """Delete a file, a link itself, or a whole folder, if it is there. Not atomic."""
    with open_folder(path.parent, inside) as folder:
        there = folder.status(path.name)
        if there is None:
            return
        if stat.S_ISDIR(there.st_mode):
            shutil.rmtree(path.name, dir_fd=folder.descriptor)
        else:
            os.unlink(path.name, dir_fd=folder.descriptor)


def share(path: Path, like: Path) -> None:
    """Give a file the permissions of another."""
    with open_file(like) as model, open_file(path, limit=ANY_BYTES) as file:
        os.fchmod(file.fileno(), os.fstat(model.fileno()).st_mode & 0o777)
