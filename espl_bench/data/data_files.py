"""Which files a name means: a file, a pattern, or a folder of shards. Shards are read in their order, all of them or none."""

import glob
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any, Final, cast

from espl_bench.data.files import READERS, read_records
from espl_bench.data.opening import ending_of
from espl_bench.errors import DataError, UsageError, reading
from espl_bench.utils import foreign_files
from espl_bench.utils.foreign_json import parse_json
from espl_bench.utils.named_files import read_named

_SHARD: Final = re.compile(r"(?P<before>.*?)-(?P<number>\d{1,6})-of-(?P<all>\d{1,6})(?P<after>\..*)")
_DIGITS: Final = re.compile(r"(\d+)")
STATE: Final = "state.json"
"""Names the files of a folder that `datasets` saved."""
DICTIONARY: Final = "dataset_dict.json"
"""Names the folders of a set that `datasets` saved by splits."""
INFO: Final = "dataset_info.json"
NO_DATA: Final = frozenset({STATE, DICTIONARY, INFO, "dataset_infos.json", "config.json", "manifest.json", "package.json"})
"""JSON files that hold no rows."""


@dataclass(frozen=True, slots=True)
class DataFiles:
    """The files of one data set, in order."""

    paths: tuple[Path, ...]
    name: str
    """As named, for messages."""
    expected_rows: int | None = None
    """Rows that the set's own description names; None: unknown."""

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield the records of all files. Raises UsageError or DataError as `read_records`."""
        return chain.from_iterable(map(read_records, self.paths))

    @property
    def file(self) -> str:
        """Name of the file without its folder; of several, of the first and their number."""
        first = self.paths[0].name
        return first if len(self.paths) == 1 else f"{first} and {len(self.paths) - 1} more"

    def hashes(self) -> dict[str, str]:
        """Return the SHA-256 of each file by its name."""
        return {path.name: foreign_files.sha256(path.resolve()) for path in self.paths}


def hash_of_all(hashes: Mapping[str, str]) -> str:
    """Return the SHA-256 of the only file; of several, of their hashes in order."""
    values = list(hashes.values())
    return values[0] if len(values) == 1 else sha256("\n".join(values).encode("ascii")).hexdigest()


def find_files(named: str | Path | Sequence[str | Path], missing: str = "") -> DataFiles:
    """Return the files that one name, or several, mean.

    Args:
        named: a file, a pattern with ``*``, ``?`` or ``[…]``, a folder, or several of them; ``~`` is the user's home.
        missing: the message if there is no such file, e.g. which option named it.

    Raises:
        UsageError: nothing fits, shards are missing, a folder holds several sets, or a file is named twice.
        DataError: a folder's description of itself is damaged.
    """
    names = [named] if isinstance(named, str | Path) else list(named)
    found = [_files_of(str(name), missing) for name in names]
    paths = _in_order([path for files in found for path in files.paths])
    expected = [files.expected_rows for files in found]
    total = None if None in expected else sum(count for count in expected if count is not None)
    return DataFiles(paths, ", ".join(files.name for files in found), total)


def _files_of(name: str, missing: str) -> DataFiles:
    if not name.strip():
        raise UsageError("the name of a data file is empty; name a file, a pattern or a folder")
    try:
        path = Path(name).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{name} names a home folder that does not exist; write the path in full") from error
    if path.is_file():
        return DataFiles((path,), str(path))
    if path.is_dir():
        return _folder(path)
    if glob.has_magic(name):
        fitting = sorted((Path(each) for each in glob.glob(str(path)) if Path(each).is_file()), key=_natural)
        if fitting:
            return DataFiles(tuple(fitting), name)
        raise UsageError(f"no file fits the pattern {name}, seen from {Path.cwd()}")
    raise UsageError(missing or f"{name} does not exist, seen from {Path.cwd()}; name a file, a pattern or a folder")


def _folder(folder: Path) -> DataFiles:
    """Return the files of a folder that `datasets` saved, or of one that holds the shards of one set."""
    if (folder / DICTIONARY).is_file():
        splits = cast(list[str], _described(folder / DICTIONARY).get("splits") or [])
        raise UsageError(f"{folder} holds the splits {', '.join(splits)}; name one of them: {folder / (splits or ['NAME'])[0]}")
    if (folder / STATE).is_file():
        return _saved(folder)
    files = sorted((path for path in folder.iterdir() if _is_data(path)), key=_natural)
    if not files:
        inside = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        hint = f"name one of its folders: {', '.join(inside[:5])}" if inside else f"it needs one with the ending {', '.join(READERS)}"
        raise UsageError(f"the folder {folder} holds no data file; {hint}")
    sets = {_DIGITS.sub("#", path.name): path for path in reversed(files)}
    if len(sets) > 1:
        names = ", ".join(path.name for path in list(sets.values())[::-1][:4])
        raise UsageError(f"the folder {folder} holds several sets ({names}, …); name a file, or a pattern: '{folder}/train-*'")
    if not any(_SHARD.fullmatch(path.name) for path in files):
        _require_no_gap(files)
    return DataFiles(tuple(files), str(folder))


def _saved(folder: Path) -> DataFiles:
    """Return the files of a set that `datasets` saved, in the order that its state names."""
    state = _described(folder / STATE)
    names = [str(entry.get("filename")) for entry in cast(list[dict[str, Any]], state.get("_data_files") or [])]
    if not names or any(Path(name).name != name for name in names):
        raise DataError(f"{folder / STATE} names no files of this folder; save the set again")
    if absent := [name for name in names if not (folder / name).is_file()]:
        raise UsageError(f"{folder} lacks {absent[0]}, one of {len(names)} files of its set; bring all of them")
    info = _described(folder / INFO) if (folder / INFO).is_file() else {}
    split = cast(dict[str, Any], info.get("splits") or {}).get(str(state.get("_split")))
    rows = cast(dict[str, Any], split).get("num_examples") if isinstance(split, dict) else None
    return DataFiles(tuple(folder / name for name in names), str(folder), rows if isinstance(rows, int) else None)


def _described(path: Path) -> dict[str, Any]:
    try:
        with reading(path, "save the set again", DataError):
            content = parse_json(read_named(path))
    except ValueError as error:
        raise DataError(f"{path} is not JSON; save the set again") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} describes no data set; save the set again")
    return cast(dict[str, Any], content)


def _is_data(path: Path) -> bool:
    return path.is_file() and not path.name.startswith((".", "_")) and path.name not in NO_DATA and ending_of(path) in READERS


def _in_order(paths: Sequence[Path]) -> tuple[Path, ...]:
    """Return files in their order, shards by their numbers. Raises UsageError unless every shard is there, once."""
    resolved = [path.resolve() for path in paths]
    if twice := next((path for path, place in zip(paths, resolved, strict=True) if resolved.count(place) > 1), None):
        raise UsageError(f"{twice} is named twice")
    shards: dict[tuple[Path, str, str, str], list[Path]] = {}
    for path in paths:
        if key := _shard_set(path):
            shards.setdefault(key, []).append(path)
    for key, found in shards.items():
        found.sort(key=_natural)
        _require_all(key, found)
    ordered: list[Path] = []
    for path in paths:
        if path not in ordered:
            key = _shard_set(path)
            ordered += [path] if key is None else shards[key]
    return tuple(ordered)


def _shard_set(path: Path) -> tuple[Path, str, str, str] | None:
    """Return what the shards of one set have in common: folder, beginning, number of shards, ending."""
    shard = _SHARD.fullmatch(path.name)
    return None if shard is None else (path.parent, shard["before"], shard["all"], shard["after"])


def _require_all(key: tuple[Path, str, str, str], found: Sequence[Path]) -> None:
    folder, before, number, after = key
    there = {int(shard["number"]) for path in found if (shard := _SHARD.fullmatch(path.name))}
    if absent := sorted(set(range(int(number))) - there):
        raise UsageError(
            f"{found[0]} is one of {int(number)} shards, and {len(absent)} of them are not named "
            f"({before}-{absent[0]:0{len(number)}}-of-{number}{after}); name all: '{folder / before}-*-of-{number}{after}'"
        )


def _require_no_gap(files: Sequence[Path]) -> None:
    """Raise UsageError if numbered files that begin with 0 or 1 lack a number."""
    numbers = [[int(digits) for digits in _DIGITS.findall(path.name)] for path in files]
    changing = [place for place in range(len(numbers[0])) if len({row[place] for row in numbers}) > 1]
    if len(changing) == 1:
        counted = sorted(row[changing[0]] for row in numbers)
        absent = set(range(counted[0], counted[-1] + 1)) - set(counted)
        if counted[0] in (0, 1) and absent:
            raise UsageError(f"{files[0].parent} lacks number {min(absent)} between {files[0].name} and {files[-1].name}; bring all files")


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Return a key by which numbers count as numbers: ``part-2`` comes before ``part-10``."""
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in _DIGITS.split(str(path))]
