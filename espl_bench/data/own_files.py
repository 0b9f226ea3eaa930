"""Read a user's own files, by split, with counts of what became of their rows. Read once until a file changes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from espl_bench.data.answer_form import count_solutions, is_solution
from espl_bench.data.data_files import DataFiles, find_files, hash_of_all
from espl_bench.data.instructions import AnswerPlace, unread_places
from espl_bench.data.intake import AS_ENV_OPTIONS, Intake, IntakeRules, take_in
from espl_bench.data.layouts import AnswerKind
from espl_bench.errors import DataError, UsageError
from espl_bench.types import Split


@dataclass(frozen=True, slots=True)
class OwnRules:
    """How an environment reads its users' files; hashable, unlike `IntakeRules`."""

    several: bool
    refused: tuple[tuple[AnswerKind, str], ...]
    several_remedy: str = ""
    problem_column: str | None = None
    answer_column: str | None = None
    skip_bad_rows: bool = False
    allow_conflicts: bool = False

    def intake_rules(self) -> IntakeRules:
        """Return the rules of each file."""
        return IntakeRules(self.several, dict(self.refused), self.several_remedy, self.skip_bad_rows, self.allow_conflicts, AS_ENV_OPTIONS)


@dataclass(frozen=True, eq=False)
class OwnFiles:
    """What was read. Compared by object identity: one reading, one object."""

    intakes: Mapping[Split, Intake]
    facts: list[dict[str, Any]]
    """One record for each split that has a file, for a run's provenance."""


_Stamped = tuple[DataFiles, tuple[tuple[int, int], ...]]
"""Files, with the modification time in nanoseconds and the size of each, which change when the file does."""


def read_own_files(env: str, files: Mapping[Split, str | None], rules: OwnRules) -> OwnFiles:
    """Read the files of each split.

    Raises:
        UsageError: there is no test file, a file or a column does not exist, or an option is no flag.
        DataError: a file cannot be read, has rows that cannot be used, or mostly solutions instead of answers.
    """
    if files.get(Split.TEST) is None:
        raise UsageError(f"{env} needs a file to test on: --data test=FILE (and --data train=FILE to learn from)")
    for name in ("skip_bad_rows", "allow_conflicts"):
        if not isinstance(getattr(rules, name), bool):
            raise UsageError(f"{env}: {name} is true or false, not {getattr(rules, name)!r}")
    stamped = tuple((split, _stamped(split, str(file))) for split, file in files.items() if file is not None)
    return _read(stamped, rules)


def require_places(env: str, own: OwnFiles, read: Iterable[AnswerPlace], remedy: str) -> None:
    """Raise UsageError if half of a file's problems, or more, ask for the answer only where the environment does not read it."""
    readable = tuple(read)
    for record in own.facts:
        items = own.intakes[Split(record["split"])].items
        counts = unread_places((item.problem for item in items), readable)
        for place, count in counts.items():
            if 2 * count >= len(items):
                raise UsageError(
                    f"{record['file']}: {count} of {len(items)} problems ask for the answer {place}, but {env} reads it "
                    f"{' or '.join(readable)}; take that sentence out of the problems, or see whether {remedy}"
                )


def _stamped(split: Split, file: str) -> _Stamped:
    missing = f"the {split} file {file} does not exist in {Path.cwd()}; name it as seen from there, or by its full path"
    found = find_files(file, missing)
    return found, tuple((status.st_mtime_ns, status.st_size) for status in (path.stat() for path in found.paths))


@lru_cache(maxsize=8)
def _read(files: tuple[tuple[Split, _Stamped], ...], rules: OwnRules) -> OwnFiles:
    intakes: dict[Split, Intake] = {}
    facts: list[dict[str, Any]] = []
    for split, (found, _) in files:
        intake = take_in(found.records(), found.name, None, rules.problem_column, rules.answer_column, rules.intake_rules())
        intakes[split] = intake
        solutions = _require_answers(intake, found.name)
        facts.append(_facts(split, found, intake) | ({"solutions": solutions} if solutions else {}))
    return OwnFiles(intakes, facts)


def _require_answers(intake: Intake, name: str) -> int:
    """Return how many answers are whole solutions, which no response equals. Raises DataError if most of them are."""
    solutions = count_solutions(item.answer for item in intake.items)
    if 2 * solutions > len(intake.items):
        example = next(item.answer for item in intake.items if is_solution(item.answer)).strip('["')
        raise DataError(
            f"{name}: {solutions} of {len(intake.items)} answers are whole solutions ({' '.join(example.split())[:60]!r} …), which no "
            f"response equals; name the column of the final answers with {AS_ENV_OPTIONS.answer_column}, or write them into one"
        )
    return solutions


def _facts(split: Split, found: DataFiles, intake: Intake) -> dict[str, Any]:
    hashes = found.hashes()
    several = {"files": hashes} if len(hashes) > 1 else {}
    expected = {} if found.expected_rows is None else {"expected_rows": found.expected_rows}
    return {
        "split": split.value,
        "file": found.file,
        "file_sha256": hash_of_all(hashes),
        "identity": intake.identity,
        **intake.counts(),
        **several,
        **expected,
    }
