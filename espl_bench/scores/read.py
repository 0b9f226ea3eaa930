"""Read scores from files of any known kind. What a file is shows in its first record, not in its name."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from espl_bench.data.files import READERS, read_records
from espl_bench.data.opening import ending_of
from espl_bench.errors import DataError, UsageError, reading
from espl_bench.scores import inspect_log, lm_eval, table_file, verifiers_log
from espl_bench.scores.score import Score, Selection, Source
from espl_bench.utils.foreign_json import InvalidJsonError, parse_json
from espl_bench.utils.named_files import read_named


class Kind(StrEnum):
    """What a file of scores is."""

    TABLE = "table"
    LM_EVAL = "lm-eval"
    INSPECT = "inspect"
    VERIFIERS = "verifiers"
    VERIFIERS_RESULTS = "verifiers-results"


READ: Final[dict[Kind, Callable[[Source, Selection], Iterator[Score]]]] = {
    Kind.TABLE: table_file.read_table,
    Kind.LM_EVAL: lm_eval.read_lm_eval,
    Kind.INSPECT: inspect_log.read_inspect,
    Kind.VERIFIERS: verifiers_log.read_episodes,
    Kind.VERIFIERS_RESULTS: verifiers_log.read_results,
}
LOGS: Final = ("*.eval", "samples_*.jsonl", "traces.jsonl", "results.jsonl")
"""Files that a folder is searched for."""


@dataclass(frozen=True, slots=True)
class ReadFile:
    """A file and the scores in it."""

    path: Path
    kind: Kind
    scores: tuple[Score, ...]


def parse_sources(named: Sequence[str]) -> tuple[Source, ...]:
    """Parse ``FILE``, ``NAME=FILE`` and ``NAME@SEED=FILE``; a folder stands for the logs in it. Raises UsageError."""
    return tuple(source for text in named for source in _sources(text))


def _sources(text: str) -> Iterator[Source]:
    label, equals, file = text.partition("=")
    if not equals or Path(text).exists():
        label, file = "", text
    method, _, run = label.partition("@")
    path = Path(file).expanduser()
    if equals and label and not method:
        raise UsageError(f"'{text}' names no row before @; write NAME@SEED=FILE")
    plain = Source(path, method or None, run or None)
    if not path.is_dir():
        yield plain
        return
    found = sorted({each for pattern in LOGS for each in path.rglob(pattern) if each.is_file()})
    if not found:
        raise UsageError(f"the folder {path} holds no log that is known ({', '.join(LOGS)}); name a file")
    yield from (replace(plain, path=each) for each in found)


def read_scores(sources: Sequence[Source], selection: Selection) -> tuple[ReadFile, ...]:
    """Read every file.

    Raises:
        UsageError: a file does not exist, or it is not clear which of its scores are meant.
        DataError: a file is damaged.
    """
    files: list[ReadFile] = []
    named: set[tuple[Path, str | None]] = set()
    for source in sources:
        if (source.path.resolve(), source.method) in named:
            raise UsageError(f"{source.path} is named twice, and would count as two runs; name it once")
        named.add((source.path.resolve(), source.method))
        if not source.path.is_file():
            raise UsageError(f"{source.path} does not exist, seen from {Path.cwd()}; name a file of scores, or a folder of logs")
        with reading(source.path, "check the file", DataError):
            kind = kind_of(source.path)
            scores = tuple(READ[kind](source, selection))
        if not scores:
            raise DataError(f"{source.path} holds no score; leave it out")
        files.append(ReadFile(source.path, kind, scores))
    return tuple(files)


def kind_of(path: Path) -> Kind:
    """Tell what a file is by its content. Raises as `read_records` for a file that is none."""
    if inspect_log.is_inspect(path):
        return Kind.INSPECT
    if ending_of(path) == ".json" and inspect_log.is_inspect_document(_document(path)):
        return Kind.INSPECT
    if ending_of(path) not in READERS:
        return Kind.TABLE  # which says what endings there are
    nothing: dict[str, Any] = {}
    first = next(read_records(path), nothing)
    known = {
        Kind.LM_EVAL: lm_eval.is_lm_eval,
        Kind.VERIFIERS: verifiers_log.is_episode,
        Kind.VERIFIERS_RESULTS: verifiers_log.is_result,
    }
    return next((kind for kind, fits in known.items() if fits(first)), Kind.TABLE)


def _document(path: Path) -> object:
    """Return a JSON document; None for what is not one, which the reader of tables explains."""
    try:
        return parse_json(read_named(path, inspect_log.LARGEST))
    except (InvalidJsonError, json.JSONDecodeError):
        return None
