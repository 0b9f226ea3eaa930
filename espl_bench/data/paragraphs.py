"""Read the paragraphs that a set's rows hold beside their questions, and gather those of some questions for a corpus."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from heapq import nsmallest
from typing import Any, cast

from espl_bench.data.cells import record_in
from espl_bench.data.columns import MISSING, located, value_at
from espl_bench.data.dataset_spec import CorpusSource, DataSource
from espl_bench.data.item_text import clean, folded
from espl_bench.errors import DataError


class ParagraphError(ValueError):
    """A cell holds no paragraphs; the message completes ``column … ``."""


@dataclass(frozen=True, slots=True)
class Paragraph:
    """One passage of a corpus."""

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class GatheredParagraphs:
    """The paragraphs of some questions of one set."""

    paragraphs: tuple[Paragraph, ...]
    """Of the questions in their order; repeated ones once."""
    rows: int
    questions: int
    last_rank: int | None
    """The highest rank that was taken; None: every question was."""
    without_evidence: int
    """Questions whose row names evidence that is not among its paragraphs."""


def paragraphs_of(cell: Any) -> list[Paragraph]:
    """Read a row's paragraphs.

    Args:
        cell: columns of titles and of lists of sentences, as on the hub; or pairs of a title and its sentences, as the authors of HotpotQA
            publish them; or records of both.

    Raises:
        ParagraphError: it is none of these.
    """
    pairs = _pairs(record_in(cell) or cell, "sentences")
    if pairs is None or not all(isinstance(title, str) for title, _ in pairs):
        raise ParagraphError("holds no titles with their sentences")
    read = [Paragraph(folded(clean(title)), folded(clean(_joined(body)))) for title, body in pairs]
    return [paragraph for paragraph in read if paragraph.text]


def _pairs(value: Any, second: str) -> list[tuple[Any, Any]] | None:
    """Return titles with what stands beside each, from columns, pairs or records; None for anything else."""
    if isinstance(value, Mapping):
        columns = cast(Mapping[str, Any], value)
        titles, others = columns.get("title"), columns.get(second)
        if not (isinstance(titles, list) and isinstance(others, list)):
            return None
        titles, others = cast(list[Any], titles), cast(list[Any], others)
        return list(zip(titles, others, strict=True)) if len(titles) == len(others) else None
    if not isinstance(value, list):
        return None
    found: list[tuple[Any, Any]] = []
    for entry in cast(list[Any], value):
        match entry:
            case [title, other]:
                found.append((title, other))
            case {"title": title, **rest} if second in rest:
                found.append((title, rest[second]))
            case _:
                return None
    return found


def _joined(body: Any) -> str:
    if isinstance(body, str):
        return body
    if not isinstance(body, list) or not all(isinstance(sentence, str) for sentence in cast(list[Any], body)):
        raise ParagraphError("holds a paragraph whose sentences are no texts")
    return " ".join(cast(list[str], body))


def gather(corpus: CorpusSource, source: DataSource, records: Iterable[Mapping[str, Any]], where: str) -> GatheredParagraphs:
    """Gather the paragraphs of a set's questions of lowest rank.

    Args:
        corpus: how many questions, and how they are ranked.
        source: the set.
        records: its rows, in order; read once.
        where: names it in messages.

    Raises:
        DataError: it has no rows, or one of them has no question or no paragraphs.
    """
    reader = _RowReader(corpus, source, where)
    best = nsmallest(corpus.questions + 1, reader.read(records), key=lambda row: (row.rank, row.question))
    taken = best[: corpus.questions]
    if not taken:
        raise DataError(f"{where} has no rows; there is no corpus to make")
    distinct = dict.fromkeys(paragraph for row in taken for paragraph in reader.paragraphs(row))
    return GatheredParagraphs(
        paragraphs=tuple(distinct),
        rows=reader.rows,
        questions=len(taken),
        last_rank=taken[-1].rank if len(best) > len(taken) else None,
        without_evidence=sum(not reader.has_evidence(row) for row in taken),
    )


@dataclass(frozen=True, slots=True)
class _RankedRow:
    rank: int
    question: str
    number: int
    cell: Any
    evidence: Any


@dataclass(slots=True)
class _RowReader:
    """Reads the rows of one set."""

    corpus: CorpusSource
    source: DataSource
    where: str
    rows: int = 0

    def read(self, records: Iterable[Mapping[str, Any]]) -> Iterator[_RankedRow]:
        for record in records:
            number, self.rows = self.rows, self.rows + 1
            question = self._question(record)
            if question is None:
                raise DataError(f"{self.where}: row {number}, counted from 0, has no question; take a fresh copy")
            yield _RankedRow(self.corpus.rank(question), question, number, self._cell(record), self._evidence(record))

    def _question(self, record: Mapping[str, Any]) -> str | None:
        columns = dict.fromkeys(pair.problem for pair in self.source.columns)
        path = next((path for name in columns if (path := located(record, name)) is not None), None)
        question = None if path is None else value_at(record, path)
        return clean(question) if isinstance(question, str) else None

    def _cell(self, record: Mapping[str, Any]) -> Any:
        cell = value_at(record, self.corpus.column)
        if cell is MISSING:
            raise DataError(
                f"{self.where} has no column '{self.corpus.column}' with paragraphs; take {self.source.hub_id}, "
                f"configuration {self.source.config or 'default'}, which has it"
            )
        return cell

    def _evidence(self, record: Mapping[str, Any]) -> Any:
        return value_at(record, self.corpus.evidence)

    def paragraphs(self, row: _RankedRow) -> list[Paragraph]:
        try:
            return paragraphs_of(row.cell)
        except ParagraphError as error:
            raise DataError(
                f"{self.where}: row {row.number}, counted from 0: column '{self.corpus.column}' {error}; take a fresh copy"
            ) from error

    def has_evidence(self, row: _RankedRow) -> bool:
        """Return False if the row names titles that are not among its paragraphs; True also if it names none."""
        named = _pairs(record_in(row.evidence) or row.evidence, "sent_id") or []
        return {folded(clean(str(title))) for title, _ in named} <= {paragraph.title for paragraph in self.paragraphs(row)}
