"""Terminal output of the `data` commands. Names and texts of data sets are untrusted: all of them go through `formatting.plain`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from espl_bench.cli.console import err_console, facts_grid, plain_table
from espl_bench.data.corpus_store import CorpusManifest
from espl_bench.data.dataset_spec import CorpusSource, DataSource
from espl_bench.data.overlap import SHARE, WORDS, OverlapPair
from espl_bench.data.store import Manifest
from espl_bench.environment.data_check import DataReport, OverlapReport, SourceReport, SplitReport
from espl_bench.utils.formatting import DASH, plain

HASH: Final = 12
"""Number of digits shown of an identity."""
PAIRS: Final = 20
"""Number of pairs shown of one overlap; --json prints all."""
FIRST: Final = 1_000
"""Number of characters shown of a split's first problem."""
START: Final = 70
"""Number of characters shown of a problem."""


def statuses(home: Path, sets: "Sequence[Status]") -> RenderableType:
    """Lay out every data set, and the commands that fetch the missing ones."""
    grid = plain_table("environment", "split", "data set", "items", "identity", "origin", "licence")
    for status in sets:
        state = status.origin if status.stored else ("damaged" if status.fault else "missing")
        cells = (status.env, status.split, status.source, _number(status.items), status.identity[:HASH] or DASH, state, status.licence)
        grid.add_row(*(plain(cell, "" if status.stored else "yellow") for cell in cells))
    lines: list[RenderableType] = [grid, Text(), plain(f"data home: {home}")]
    lines.extend(plain(status.fault, "red") for status in sets if status.fault)
    for env in dict.fromkeys(status.env for status in sets if not status.stored):
        absent = [status for status in sets if status.env == env and not status.stored]
        lines.append(plain(f"{env}: {absent[0].get}"))
        lines.extend(plain(f"    or, without a network: {status.imports}", "dim") for status in absent)
    return Group(*lines)


def say_stored(name: str, home: Path) -> None:
    """Print that a data set is already stored."""
    err_console().print(plain(f"{name} is already in {home}; use --again to fetch it again"), soft_wrap=True)


def say_fetching(source: DataSource) -> None:
    """Print which data set is being fetched."""
    revision = source.revision or "the newest commit"
    err_console().print(plain(f"fetching {source.hub_id} at {revision} …", "dim"), soft_wrap=True)


def say_making(corpus: CorpusSource) -> None:
    """Print of what a corpus is being made."""
    sets = ", ".join(dict.fromkeys(source.hub_id for source in corpus.sets))
    err_console().print(plain(f"making {corpus.name} of the paragraphs in {sets} …", "dim"), soft_wrap=True)


def kept(source: DataSource, manifest: Manifest, home: Path, rows: int | None = None) -> RenderableType:
    """Lay out what was stored, with warnings about it."""
    lines = [plain(f"{source.name}: {manifest.items:,} items from {manifest.origin} -> {home / source.name}", "bold")]
    lines.append(plain(f"columns {manifest.columns.problem} and {manifest.columns.answer}; licence {source.licence.short}"))
    lines.append(plain(f"identity {manifest.identity}"))
    lines.extend(plain(f"! {remark}", "yellow") for remark in _remarks(source, manifest))
    if rows is not None and rows != manifest.rows_read:
        lines.append(plain(f"! the set's own description names {rows:,} rows, but {manifest.rows_read:,} were read", "yellow"))
    return Group(*lines)


def made(corpus: CorpusSource, manifest: CorpusManifest, home: Path) -> RenderableType:
    """Lay out what a corpus was made of, with a warning about it."""
    questions = sum(part.questions for part in manifest.parts)
    origins = " and ".join(str(part.origin) for part in manifest.parts)
    lines = [
        plain(f"{corpus.name}: {manifest.passages:,} passages from {origins} -> {home / corpus.name / manifest.passages_file}", "bold"),
        plain(f"licence {corpus.licence.short}; {corpus.about}"),
        plain(f"identity {manifest.passages_sha256}"),
    ]
    if without := sum(part.without_evidence for part in manifest.parts):
        lines.append(plain(f"! of {questions:,} questions, {without:,} name evidence that is not among their paragraphs", "yellow"))
    return Group(*lines)


def _remarks(source: DataSource, manifest: Manifest) -> list[str]:
    remarks: list[str] = []
    if manifest.duplicates:
        remarks.append(f"{manifest.duplicates:,} of {manifest.rows_read:,} rows repeated a problem and were left out")
    if manifest.conflicts:
        listed = ", ".join(map(str, manifest.conflicts[:5]))
        remarks.append(f"{len(manifest.conflicts):,} problems had several answers; the last one counts (rows {listed}, from 0)")
    remarks.extend(f"{count:,} rows were dropped: {reason}" for reason, count in manifest.skipped.items())
    remarks.extend(f"{count:,} {kind} are not shown" for kind, count in manifest.unshown.items())
    if manifest.repaired:
        remarks.append(f"{manifest.repaired:,} LaTeX commands damaged by an escape sequence were restored")
    if source.expected is not None and source.expected != manifest.items:
        remarks.append(f"{source.expected:,} items were expected")
    if source.identity is not None and source.identity != manifest.identity:
        remarks.append(f"this differs from the recorded text ({source.identity[:HASH]}, {source.identity_of})")
    if source.caution:
        remarks.append(source.caution)
    return remarks


def checked(report: DataReport) -> RenderableType:
    """Lay out the whole report of `data check`."""
    parts: list[RenderableType] = [plain(report.env, "bold"), plain(report.split_rule, "dim"), Text()]
    if report.sources:
        parts.extend((_sources(report.sources), Text()))
        parts.extend(plain(f"{source.name}: {source.about}", "dim") for source in report.sources if source.about)
        parts.extend(plain(f"{source.name}: licence {source.licence} ({source.licence_stated_by})", "dim") for source in report.sources)
        parts.extend(plain(f"! {source.name}: {source.caution}", "yellow") for source in report.sources if source.caution)
        parts.append(Text())
    for file in report.files:
        parts.extend(_file(file))
    parts.extend((_splits(report.splits), Text()))
    for split in report.splits:
        parts.extend(_findings(split))
    for overlap in (*report.overlaps, *report.elsewhere):
        parts.extend(_overlap(overlap))
    parts.append(plain(f"nearly the same: {SHARE:.0%} or more of the shorter text's {WORDS}-word sequences, stock phrases left out", "dim"))
    return Group(*parts)


def _sources(sources: Sequence[SourceReport]) -> Table:
    grid = plain_table(
        "split", "data set", "origin", "items", "expected", "repeated", "several answers", "restored", "identity", "on record"
    )
    for source in sources:
        known = source.recorded is not None and bool(source.identity)
        record = ("the same" if source.recorded == source.identity else "DIFFERS") if known else DASH
        cells = (source.split, source.name, source.origin or "missing", _number(source.items), _number(source.expected))
        counts = (source.duplicates, source.conflicts, source.repaired)
        grid.add_row(*map(plain, (*cells, *map(_number, counts), source.identity[:HASH] or DASH, record)))
    return grid


def _splits(splits: Sequence[SplitReport]) -> Table:
    grid = plain_table("split", "items", "identity", "same problem", "nearly the same", "text only", "answers not accepted")
    for split in splits:
        exact = sum(pair.exact for pair in split.repetitions)
        counts = (exact, len(split.repetitions) - exact, split.text_only, len(split.unaccepted))
        grid.add_row(*map(plain, (split.split, _number(split.items), split.identity[:HASH] or DASH, *map(_number, counts))))
    return grid


def _file(file: Mapping[str, Any]) -> list[RenderableType]:
    """Lay out how a file of the user's own was read."""
    problem, answer = file["columns"]
    lines: list[RenderableType] = [plain(f"{file['split']}: {file['file']}: layout '{file['layout']}': {problem} -> {answer}", "bold")]
    counts = f"{file['rows_read']:,} rows read, {file['duplicates']:,} repeated a problem, {file['items']:,} items"
    lines.append(plain(f"    {counts}; columns not read: {', '.join(map(repr, file['unread_columns'])) or 'none'}"))
    remarks = [f"{count:,} rows were dropped: {reason}" for reason, count in file["skipped"].items()]
    remarks.extend(f"{count:,} {kind} are not shown" for kind, count in file["unshown"].items())
    if file["conflicts"]:
        remarks.append(f"{file['conflicts']:,} problems had several answers; the last one counts")
    if file.get("solutions"):
        remarks.append(f"{file['solutions']:,} answers are whole solutions, which no response equals")
    if file.get("expected_rows", file["rows_read"]) != file["rows_read"]:
        remarks.append(f"the set's own description names {file['expected_rows']:,} rows")
    lines.extend(plain(f"    ! {remark}", "yellow") for remark in remarks)
    return [*lines, Text()]


def _findings(split: SplitReport) -> list[RenderableType]:
    lines: list[RenderableType] = []
    if split.first_problem:
        lines.append(plain(f"{split.split}: the first problem, and its answer as read", "bold"))
        shown = split.first_problem if len(split.first_problem) <= FIRST else f"{split.first_problem[:FIRST]} …"
        lines.extend((plain(shown), plain(f"-> {split.first_answer[:FIRST]}", "bold"), Text()))
    if split.unaccepted:
        lines.append(plain(f"{split.split}: answers that the grader rejects (own) or cannot compare with another (other)", "bold"))
        lines.extend(plain(f"    {item.id}  {item.response}: {item.outcome}  {item.answer[:START]}") for item in split.unaccepted[:PAIRS])
        lines.append(Text())
    if split.repetitions:
        lines.append(plain(f"{split.split}: problems that occur twice", "bold"))
        lines.extend((_pairs(split.repetitions), Text()))
    return lines


def _overlap(overlap: OverlapReport) -> list[RenderableType]:
    exact = sum(pair.exact for pair in overlap.pairs)
    near = len(overlap.pairs) - exact
    heading = plain(f"{overlap.first} and {overlap.second}: {exact:,} problems the same, {near:,} nearly", "bold")
    return [heading, _pairs(overlap.pairs), Text()] if overlap.pairs else [heading, Text()]


def _pairs(pairs: Sequence[OverlapPair]) -> RenderableType:
    grid = facts_grid()
    for pair in pairs[:PAIRS]:
        degree = "same" if pair.exact else f"{pair.containment:.0%}"
        start = " ".join(pair.first.text.split())[:START]
        grid.add_row(*map(plain, (f"    {pair.first.id}", pair.second.id, degree, start)))
    more = len(pairs) - PAIRS
    return Group(grid, plain(f"    and {more:,} more, see --json", "dim")) if more > 0 else grid


def _number(value: int | None) -> str:
    return DASH if value is None else f"{value:,}"


@dataclass(frozen=True, slots=True)
class Status:
    """One data set of one environment."""

    env: str
    split: str
    source: str
    stored: bool
    items: int | None
    origin: str
    identity: str
    licence: str
    fault: str
    """Why a stored set cannot be used; empty if it can."""
    get: str
    """The command that fetches it."""
    imports: str
    """The command that imports it."""
