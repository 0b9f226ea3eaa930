"""`grade`: explain one verdict, or grade a file of answers. Model output is printed literally."""

import json
import unicodedata
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from espl_bench.cli.console import err_console, facts_grid, out_console, write_json
from espl_bench.errors import EsplError, UsageError, unknown
from espl_bench.grading import Candidate, Explanation, Extraction, Grade, GradingRules, MatchType, explain, explain_many, judge_many
from espl_bench.grading.answer_lines import last_answer_line
from espl_bench.grading.boxes import has_box
from espl_bench.grading.extract import after_thinking, extract, whole
from espl_bench.rollouts.outcomes import LOUD_RATE
from espl_bench.types import Outcome
from espl_bench.utils.formatting import DASH, percent, plain

WHOLE: Final = "none"
"""The whole text is the answer."""
AUTO: Final = "auto"
"""The last box is the answer if the response has a box, else the last answer line, else `WHOLE`. Environments take the last box."""
UNBOXED: Final = "it was taken without a box; environments look for one, and find no answer there (--extract boxed does as they do)"
EXTRACTIONS: Final = (AUTO, WHOLE, *Extraction)

_ANSWER_COLUMNS: Final = ("answer", "prediction")
_OPTIONS: Final = {
    "match_types": list,
    "precision": int,
    "numeric_precision": int,
    "strict": bool,
    "allow_set_relation_comp": bool,
}
"""Names and types of the entries allowed in a row's ``options``."""


@dataclass(frozen=True)
class GradeOptions:
    """Grading options from the command line or from a row."""

    extraction: str
    """One of `EXTRACTIONS`."""
    rules: GradingRules

    def candidate(self, gold: str, answer: str) -> Candidate:
        """Pair the gold answer with what is extracted from the response."""
        if self.extraction == AUTO and not has_box(answer):
            line = last_answer_line(after_thinking(answer) or "")
            return Candidate(gold, line if line.answer else whole(answer), self.rules)
        if self.extraction == WHOLE:
            return Candidate(gold, whole(answer), self.rules)
        return Candidate(gold, extract(answer, self.rules.extraction), self.rules)


@dataclass(frozen=True)
class GradeRow:
    """One line of a file."""

    id: Any
    candidate: Candidate

    @property
    def unboxed(self) -> bool:
        """True if it was taken without a box that a mathematics environment would look for."""
        return self.candidate.extracted.answer is not None and "box" not in self.candidate.extracted.source


def configure(extraction: str, match_types: str | None, **rules: Any) -> GradeOptions:
    """Validate the command line's options; a rule that was not given is None. Raises UsageError."""
    if extraction not in EXTRACTIONS:
        raise unknown("--extract value", extraction, EXTRACTIONS)
    chosen = GradingRules(**{name: value for name, value in rules.items() if value is not None})
    if match_types is not None:
        if extraction not in (AUTO, Extraction.ANYWHERE):
            raise UsageError("--match-types searches the whole text; use it with --extract anywhere")
        extraction = Extraction.ANYWHERE
        chosen = replace(chosen, match_types=_match_types(match_types.split(",")))
    if extraction not in (AUTO, WHOLE):
        chosen = replace(chosen, extraction=Extraction(extraction))
    return GradeOptions(extraction, chosen)


def explain_one(gold: str, answer: str, asked: GradeOptions, as_json: bool) -> None:
    """Print the extracted answer, how it was compared, and the outcome."""
    candidate = asked.candidate(gold, answer)
    explanation = explain(candidate)
    if as_json:
        _write_json(_as_json(explanation))
        return
    grid = facts_grid()
    notes = [("note", UNBOXED)] if asked.extraction == AUTO and GradeRow(None, candidate).unboxed else []
    for name, text in (*_facts(gold, candidate, explanation), *notes):
        grid.add_row(plain(name, "dim"), plain(text, "bold" if name == "outcome" else ""))
    out_console().print(grid)


def grade_file(path: Path, asked: GradeOptions, as_json: bool, quiet: bool) -> None:
    """Grade every row and print the counts. With `as_json`, print a line per row and the counts to stderr. Raises EsplError."""
    rows = list(_read(path, asked))
    counts: Counter[Outcome] = Counter()
    candidates = [row.candidate for row in rows]
    with _progress(len(rows), quiet) as advance:
        if as_json:
            for row, explanation in zip(rows, explain_many(candidates), strict=True):
                counts[explanation.grade.outcome] += 1
                _write_json({"id": row.id, **_as_json(explanation), "source": row.candidate.extracted.source})
                advance()
        else:
            for grade in judge_many(candidates):
                counts[grade.outcome] += 1
                advance()
    console = err_console() if as_json else out_console()
    if not (as_json and quiet):
        console.print(plain(_summary(counts)))
    unboxed = sum(row.unboxed for row in rows) if asked.extraction == AUTO else 0
    if unboxed and not quiet:
        err_console().print(plain(f"{unboxed:,} of {len(rows):,} answers have no box: {UNBOXED}"), soft_wrap=True)
    failed = sum(number for outcome, number in counts.items() if not outcome.graded)
    if failed > LOUD_RATE * len(rows):
        share = percent(failed / len(rows))
        warning = (
            f"! {failed:,} of {len(rows):,} answers ({share}) could not be graded; do not trust these figures; examine one with --answer"
        )
        err_console().print(plain(warning, "bold red"), soft_wrap=True)


def _as_json(explanation: Explanation) -> dict[str, Any]:
    return {**asdict(explanation.grade), "gold_form": explanation.gold_form, "answer_form": explanation.answer_form}


def _facts(gold: str, candidate: Candidate, explanation: Explanation) -> Iterator[tuple[str, str]]:
    grade = explanation.grade
    yield "gold", gold
    yield "extracted", DASH if grade.extracted is None else grade.extracted
    yield "from", candidate.extracted.source
    yield "compared", _compared(grade)
    if explanation.gold_form or explanation.answer_form:
        yield "gold read as", explanation.gold_form or DASH
        yield "answer read as", explanation.answer_form or DASH
    if grade.outcome is Outcome.WRONG and _look_alike(explanation.gold_form, explanation.answer_form):
        yield "differs", _first_difference(gold, grade.extracted or "")
    yield "outcome", grade.outcome.value


def _look_alike(gold: str, answer: str) -> bool:
    """Return True for equal forms, and for equally long ones with characters that are not ASCII: these may print alike."""
    return gold == answer or (len(gold) == len(answer) and not (gold + answer).isascii())


def _first_difference(gold: str, answer: str) -> str:
    """Name the characters at which two texts part that look alike when printed."""
    pairs = zip_longest(gold.strip(), answer.strip(), fillvalue="")
    place, (ours, theirs) = next(((n, pair) for n, pair in enumerate(pairs, start=1) if pair[0] != pair[1]), (0, ("", "")))
    if not place:
        return "nothing in the texts; how they were read differs"
    return f"at character {place}: {_character(ours)} in the gold answer, {_character(theirs)} in the answer"


def _character(char: str) -> str:
    return f"U+{ord(char):04X} {unicodedata.name(char, 'without a name')}" if char else "the end"


def _compared(grade: Grade) -> str:
    return f"by {grade.how.replace('_', '-')}: {grade.detail}"


def _summary(counts: Counter[Outcome]) -> str:
    total = counts.total()
    shares = [
        f"{outcome.replace('_', ' ')} {counts[outcome]:,} ({percent(counts[outcome] / total)})" for outcome in Outcome if counts[outcome]
    ]
    return f"{total:,} answers: {', '.join(shares) or 'none'}"


def _read(path: Path, asked: GradeOptions) -> Iterator[GradeRow]:
    """Yield the rows of a file. Raises UsageError if it cannot be read, EsplError for an invalid line."""
    path = path.expanduser()
    if path.is_dir():
        raise UsageError(f"--jsonl names the folder {path}, or nothing; give it a file with one JSON object a line")
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise UsageError(f"cannot read {path} ({error.strerror}); give --jsonl a file with one JSON object a line") from error
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield _row(line, f"{path}, line {number}", asked)


def _row(line: bytes, location: str, asked: GradeOptions) -> GradeRow:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise EsplError(f"{location} is not JSON ({error}); fix or remove it") from error
    except RecursionError as error:
        raise EsplError(f"{location} is nested too deeply; fix or remove it") from error
    if not isinstance(record, dict):
        raise EsplError(f"{location} is not a JSON object; write one with the columns id, gold and answer")
    columns: dict[str, Any] = record  # pyright: ignore[reportUnknownVariableType]  (JSON's keys are strings)
    answer = next((name for name in _ANSWER_COLUMNS if name in columns), _ANSWER_COLUMNS[0])
    for name in ("id", "gold", answer):
        if name not in columns:
            raise EsplError(f"{location} has no column '{name}'; every line needs id, gold and answer")
    own = _with_options(asked, columns.get("options"), location)
    answered = "" if columns[answer] is None else _as_text(columns[answer], answer, location)
    return GradeRow(columns["id"], own.candidate(_as_text(columns["gold"], "gold", location), answered))


def _as_text(value: Any, name: str, location: str) -> str:
    """Return a text, or a number as JSON writes it. Raises EsplError for anything else."""
    if value is None:
        raise EsplError(f"{location}: column '{name}' is null; without a gold answer nothing can be graded: remove the line")
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return json.dumps(value)
    raise EsplError(f"{location}: column '{name}' is no text and no number; put it in quotes")


def _with_options(asked: GradeOptions, options: Any, location: str) -> GradeOptions:
    """Override the command line's rules with those of one row."""
    if options is None:
        return asked
    if not isinstance(options, dict):
        raise EsplError(f"{location}: column 'options' is not a JSON object; known options: {', '.join(_OPTIONS)}")
    given: dict[str, Any] = options  # pyright: ignore[reportUnknownVariableType]
    for name, value in given.items():
        if name not in _OPTIONS:
            raise EsplError(f"{location}: {unknown('option', name, _OPTIONS)}")
        if type(value) is not _OPTIONS[name]:
            raise EsplError(f"{location}: option '{name}' must be a {_OPTIONS[name].__name__}, not {json.dumps(value)}")
    names = {"precision": "float_rounding"}
    changes = {names.get(name, name): value for name, value in given.items()}
    if "match_types" not in changes:
        return replace(asked, rules=replace(asked.rules, **changes))
    changes["match_types"] = _match_types(changes["match_types"], location)
    # Such a row asks for a search of its whole text.
    return GradeOptions(WHOLE, replace(asked.rules, extraction=Extraction.ANYWHERE, **changes))


def _match_types(names: Sequence[Any], location: str = "") -> tuple[MatchType, ...]:
    for name in names:
        if name not in list(MatchType):
            fault = unknown("match type", str(name), MatchType)
            raise EsplError(f"{location}: {fault}") if location else fault
    if not names:
        raise EsplError(f"{location}: option 'match_types' is empty; choose from {', '.join(MatchType)}")
    return tuple(MatchType(name) for name in names)


@contextmanager
def _progress(total: int, quiet: bool) -> Generator[Callable[[], None]]:
    """Show a progress bar on stderr if it is a terminal and `quiet` is off."""
    console = err_console()
    if quiet or not console.is_terminal:
        yield lambda: None
        return
    columns = (TextColumn("grading"), BarColumn(bar_width=30), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as bar:
        task = bar.add_task("grading", total=total)
        yield lambda: bar.advance(task)


def _write_json(record: dict[str, Any]) -> None:
    write_json(json.dumps(record) + "\n")  # in ASCII, because a lone surrogate cannot be encoded
