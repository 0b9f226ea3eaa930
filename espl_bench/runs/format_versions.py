"""`formats.json`: the version in which each log and the rollouts of a run are written, once per run directory.

The rows themselves carry no version, so that their bytes do not change with it. A directory without the file is of version 1.
"""

from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from espl_bench.errors import RunDirError
from espl_bench.runs.logs import Log
from espl_bench.utils import atomic_io, foreign_files
from espl_bench.utils.foreign_json import parse_json
from espl_bench.utils.jsonl import RESTORE

FILE = "formats.json"
ROLLOUTS = "rollouts"
VERSIONS: Mapping[str, int] = {**{log.value: 1 for log in Log}, ROLLOUTS: 1}
"""The versions that this package writes, and the newest that it reads."""

_ADAPTER = TypeAdapter(dict[str, int])


def write(run: Path) -> None:
    """Write down the versions of a new run."""
    atomic_io.write_atomic(run / FILE, [atomic_io.indented(VERSIONS)])


def check(run: Path) -> None:
    """Raise RunDirError if a log or the rollouts have a version that this package cannot read, or the file is damaged."""
    path = run / FILE
    try:
        versions = _ADAPTER.validate_python(parse_json(foreign_files.read_record(path)), strict=True)
    except FileNotFoundError:
        return
    except OSError as error:
        raise RunDirError(f"{path} cannot be read ({error.strerror}); make it readable") from error
    except (ValidationError, ValueError) as error:
        raise RunDirError(f"{path} does not map each log to its version; {RESTORE}") from error
    for name, version in versions.items():
        known = VERSIONS.get(name)
        if known is None or version > known:
            reads = f"this espl-bench reads up to {known}" if known else "this espl-bench knows no such log"
            raise RunDirError(f"{path}: {name} is of version {version}, and {reads}; update espl-bench to the version that wrote the run")
