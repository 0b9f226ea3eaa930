"""Convert records to items, with a report of what is read, refused and removed. Nothing is dropped silently.

A repeated problem (exactly the same text, without a data set's wrapper) keeps its first position and its last answer. Comparing
before anything is cleaned keeps the published number and order of items, on which selections such as "shuffle with seed 42, take
100" depend. A problem that comes with different answers is an error unless that is allowed.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from espl_bench.data.columns import located, named_column, paths
from espl_bench.data.dataset_spec import USUAL_COLUMNS, Columns, DataSource, Wrapper
from espl_bench.data.gold_texts import single, spellings
from espl_bench.data.instructions import KNOWN_WRAPPERS
from espl_bench.data.item_text import Item, clean, identity_of, repairs
from espl_bench.data.layouts import ANSWERS, OF_SOURCE, TASKS, AnswerKind, Layout, recognise, unread
from espl_bench.data.read_row import ReadRow, RefusedRowError, read_row
from espl_bench.errors import DataError, UsageError

SHOWN: Final = 3
"""Maximum number of rows that a message names."""
ROWS_TRIED: Final = 100
"""Rows among which one must have known columns."""
LONGEST_ANSWER: Final = 1_000
"""Characters of an accepted answer in a file of a user's own; a longer one is a rationale, unless it is an integer."""


@dataclass(frozen=True, slots=True)
class OptionNames:
    """How the options of an intake are spelled where they are given, for messages."""

    problem_column: str
    answer_column: str
    skip_bad_rows: str
    allow_conflicts: str


ON_COMMAND_LINE: Final = OptionNames("--problem-column", "--answer-column", "--skip-bad-rows", "--allow-conflicts")
AS_ENV_OPTIONS: Final = OptionNames(
    "--env-option problem_column=NAME",
    "--env-option answer_column=NAME",
    "--env-option skip_bad_rows=true",
    "--env-option allow_conflicts=true",
)


@dataclass(frozen=True, slots=True)
class IntakeRules:
    """What is accepted of a file."""

    several: bool = False
    """True if an item may have several accepted answers, stored as a JSON list. A source with lists of answers always has."""
    refused: Mapping[AnswerKind, str] = field(default_factory=dict[AnswerKind, str])
    """Kinds of answers that cannot be graded, and the remedy."""
    several_remedy: str = "keep one answer a row"
    """What to do about rows with several answers, if there may be only one."""
    skip_bad_rows: bool = False
    """Drop and count rows without a usable problem or answer."""
    allow_conflicts: bool = False
    """Let the last answer of a repeated problem count."""
    names: OptionNames = ON_COMMAND_LINE


@dataclass(frozen=True, slots=True)
class Intake:
    """The items of one data set, and how they were obtained."""

    items: tuple[Item, ...]
    columns: Columns
    rows_read: int
    duplicates: int
    """Rows that repeated an earlier problem."""
    conflicts: tuple[int, ...]
    """Rows, counted from 0, of problems that came with several answers; the last answer counts."""
    repaired: int
    """Damaged LaTeX commands that were restored."""
    layout: str = ""
    """Name of the recognised layout."""
    kind: AnswerKind = AnswerKind.ANY
    skipped: Mapping[str, int] = field(default_factory=dict[str, int])
    """Dropped rows by reason."""
    unshown: Mapping[str, int] = field(default_factory=dict[str, int])
    """What of the problems is not shown, e.g. system messages, by kind."""
    unread: tuple[str, ...] = ()
    """Columns that are not read."""

    @property
    def identity(self) -> str:
        """See `text.identity_of`."""
        return identity_of(self.items)

    def counts(self) -> dict[str, Any]:
        """Return what was read, merged, dropped and left out, and why, for a run's provenance."""
        return {
            "layout": self.layout,
            "columns": [self.columns.problem, self.columns.answer],
            "rows_read": self.rows_read,
            "items": len(self.items),
            "duplicates": self.duplicates,
            "conflicts": len(self.conflicts),
            "repaired": self.repaired,
            "skipped": dict(self.skipped),
            "unshown": dict(self.unshown),
            "unread_columns": list(self.unread),
        }


@dataclass(slots=True)
class _Refusals:
    """Unusable rows, which prevent the import unless they are to be dropped, by fault."""

    rows: dict[str, list[int]] = field(default_factory=dict[str, list[int]])

    def add(self, fault: str, row: int) -> None:
        self.rows.setdefault(fault, []).append(row)

    def check(self, where: str, rules: IntakeRules) -> None:
        """Raise DataError naming the first rows of each kind, unless they are to be dropped."""
        if self.rows and not rules.skip_bad_rows:
            faults = [f"{len(rows)} {fault} ({_numbered(rows)})" for fault, rows in self.rows.items()]
            raise DataError(
                f"{where}: {'; '.join(faults)}, counted from 0; nothing was imported: fix or remove these rows, or drop them with "
                f"{rules.names.skip_bad_rows}"
            )

    def counts(self) -> dict[str, int]:
        return {fault: len(rows) for fault, rows in self.rows.items()}


@dataclass(slots=True)
class _Merged:
    """A distinct problem: its last answer and first row."""

    answer: str
    row: int
    several: bool = False
    """True if it came with several answers."""


def take_in(
    records: Iterable[Mapping[str, Any]],
    where: str,
    source: DataSource | None = None,
    problem_column: str | None = None,
    answer_column: str | None = None,
    rules: IntakeRules | None = None,
) -> Intake:
    """Read a data set.

    Args:
        records: its rows, in order; read once.
        where: names it in messages.
        source: how its rows are read; None: as a file of the user's own.
        problem_column: overrides the columns that the source names.
        answer_column: the same.
        rules: what is accepted of it; None: one answer of any kind, and no bad row.

    Raises:
        UsageError: a column is missing, or the set is of a kind that cannot be graded here.
        DataError: there are no rows, rows without a problem or an answer, or problems with several answers.
    """
    taking = _Taking(where, source, (problem_column, answer_column), rules or IntakeRules())
    for record in records:
        if not taking.take(record):
            break
    return taking.finish()


@dataclass(slots=True)
class _Taking:
    """A data set while it is read."""

    where: str
    source: DataSource | None
    named: tuple[str | None, str | None]
    """Columns of problem and answer that the user named."""
    rules: IntakeRules
    layout: Layout | None = None
    first: Mapping[str, Any] | None = None
    """The first record; the first with known columns, once there is one."""
    rows: int = 0
    merged: dict[str, _Merged] = field(default_factory=dict[str, _Merged])
    """Distinct problems, not yet cleaned."""
    refusals: _Refusals = field(default_factory=_Refusals)
    unshown: Counter[str] = field(default_factory=Counter[str])

    def take(self, record: Mapping[str, Any]) -> bool:
        """Take the next row. Returns False if no row has had known columns so far, and it is no use to go on."""
        row, self.rows = self.rows, self.rows + 1
        if self.layout is None:
            self.first = record if self.first is None else self.first
            self.layout = layout_of(record, self.where, self.source, *self.named, self.rules.refused)
            if self.layout is None:
                self.refusals.add("rows have none of the known columns", row)
                return self.rows < ROWS_TRIED
            self.first = record
        try:
            read = read_row(record, self.layout, self._wrappers)
            answer = _stored_answer(read, self.source, self.rules)
        except RefusedRowError as refused:
            self.refusals.add(str(refused), row)
            return True
        self.unshown.update(read.unshown)
        before = self.merged.setdefault(read.problem, _Merged(answer, row))
        before.several |= before.answer != answer
        before.answer = answer
        return True

    @property
    def _wrappers(self) -> tuple[Wrapper, ...]:
        if self.source is None:
            return KNOWN_WRAPPERS
        return () if self.source.wrapper is None else (self.source.wrapper,)

    def finish(self) -> Intake:
        """Return what was read. Raises UsageError or DataError as `take_in`."""
        if self.first is None:
            raise DataError(f"{self.where} has no rows; nothing was imported")
        if self.layout is None:
            raise _no_columns(self.first, self.where, self.source, self.rules.names)
        self.refusals.check(self.where, self.rules)
        if not self.merged:
            raise DataError(f"{self.where} has no row that can be used; nothing was imported")
        skipped = self.refusals.counts()
        return Intake(
            items=tuple(Item(clean(problem), entry.answer, entry.row) for problem, entry in self.merged.items()),
            columns=Columns(" + ".join((*self.layout.problem, *self.layout.choices)), " + ".join(self.layout.answer)),
            rows_read=self.rows,
            duplicates=self.rows - sum(skipped.values()) - len(self.merged),
            conflicts=self._conflicts(),
            repaired=sum(map(repairs, self.merged)),
            layout=self.layout.name,
            kind=self.layout.kind,
            skipped=skipped,
            unshown=dict(self.unshown),
            unread=unread(self.layout, self.first),
        )

    def _conflicts(self) -> tuple[int, ...]:
        """Return the rows of problems with several answers, also of those that differ only until they are cleaned.

        Raises DataError if they are not allowed.
        """
        answers: dict[str, set[str]] = {}
        for problem, entry in self.merged.items():
            answers.setdefault(clean(problem), set()).add(entry.answer)
        rows = [entry.row for problem, entry in self.merged.items() if entry.several or len(answers[clean(problem)]) > 1]
        if rows and not self.rules.allow_conflicts and not (self.source is not None and self.source.allow_conflicts):
            raise DataError(
                f"{self.where}: {len(rows)} problems come with several answers ({_numbered(rows)}), counted from 0; nothing was imported: "
                f"leave one row of each, or let the last answer count with {self.rules.names.allow_conflicts}"
            )
        return tuple(rows)


def layout_of(
    record: Mapping[str, Any],
    where: str,
    source: DataSource | None = None,
    problem: str | None = None,
    answer: str | None = None,
    refused: Mapping[AnswerKind, str] | None = None,
) -> Layout | None:
    """Return the layout of a file by a record: its named columns, those of the source, or a known layout; None if it has none.

    Raises UsageError if a named column does not exist, or if its answers cannot be graded.
    """
    pairs = USUAL_COLUMNS if source is None else source.columns
    reader = spellings if source is not None and source.answers == "list" else single
    if problem is not None or answer is not None:
        named = tuple(named_column(record, name, where) if name is not None else None for name in (problem, answer))
        everything = (*pairs, *(Columns(task, gold) for task in TASKS for gold in ANSWERS))
        return next((found for pair in everything if (found := _named(record, named, pair)) is not None), None)
    own = () if source is None else tuple(Layout(OF_SOURCE, (pair.problem,), (pair.answer,), reader) for pair in pairs)
    layout = recognise(record, where, own)
    if layout is not None and refused and layout.kind in refused:
        raise UsageError(f"{where} has the columns of {layout.name}, whose answers are {layout.kind}: {refused[layout.kind]}")
    return layout


def _named(record: Mapping[str, Any], named: Sequence[str | None], pair: Columns) -> Layout | None:
    columns = [own or located(record, known) for own, known in zip(named, (pair.problem, pair.answer), strict=True)]
    problem, answer = columns
    return None if problem is None or answer is None else Layout("named columns", (problem,), (answer,))


def _no_columns(first: Mapping[str, Any], where: str, source: DataSource | None, names: OptionNames) -> UsageError:
    pairs = " or ".join(f"{pair.problem} + {pair.answer}" for pair in (USUAL_COLUMNS if source is None else source.columns))
    return UsageError(
        f"{where} has no columns {pairs} or of another known layout, but {', '.join(paths(first)) or 'none'}; name them with "
        f"{names.problem_column} and {names.answer_column}"
    )


def _stored_answer(read: ReadRow, source: DataSource | None, rules: IntakeRules) -> str:
    """Return the answer as it is stored. Raises RefusedRowError for a row that cannot be."""
    if source is None and any(len(answer) > LONGEST_ANSWER and _integer(answer) is None for answer in read.answers):
        raise RefusedRowError(f"answers are longer than {LONGEST_ANSWER:,} characters; name the column of the final answers")
    if rules.several or (source is not None and source.answers == "list"):
        return json.dumps(list(read.answers), ensure_ascii=False)
    if read.answers[1:]:
        raise RefusedRowError(f"rows have several right answers: {rules.several_remedy}")
    answer = read.answers[0]
    if source is None or source.answers != "integer":
        return answer
    whole = _integer(answer)
    if whole is None:
        raise RefusedRowError("answers are not integers")
    return whole


def _numbered(rows: Sequence[int]) -> str:
    return f"row {', '.join(map(str, rows[:SHOWN]))}{', …' * (len(rows) > SHOWN)}"


def _integer(answer: str) -> str | None:
    """Return ``033`` and ``33.0`` as ``33``; None if it is not an integer."""
    whole, _, fraction = answer.partition(".")
    bare = whole.removeprefix("-")
    if not (bare.isascii() and bare.isdecimal()) or fraction.strip("0"):
        return None
    digits = bare.lstrip("0") or "0"  # as text: Python refuses to read thousands of digits as a number
    return f"-{digits}" if whole.startswith("-") and digits != "0" else digits
