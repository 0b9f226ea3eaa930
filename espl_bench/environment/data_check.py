"""`data check`: examine critically what an environment serves, before anything is trained on it.

Items are requested through the environment's public interface, so the check sees what runs will see. The sets behind it are
compared with their expected content and, if requested, with the sets of other environments: a training set may hold another
benchmark's test.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

from espl_bench.data.answer_form import count_words
from espl_bench.data.dataset_spec import DataSource, DataSpec
from espl_bench.data.find_data import import_command
from espl_bench.data.overlap import OverlapPair, Text, overlaps, repetitions
from espl_bench.data.store import is_stored, load
from espl_bench.environment.probing import play
from espl_bench.environment.text_env import EnvironmentSpec, TextEnv
from espl_bench.types import Outcome, Problem, Split

OTHERS: Final = 2
"""Number of gold responses of other items tried on an item. One may fail for reasons of its own."""


@dataclass(frozen=True, slots=True)
class SourceReport:
    """One set behind the environment."""

    split: str
    name: str
    origin: str
    """The hub's id and commit, or the file; empty while it is not stored."""
    items: int | None
    """Rows without duplicates; None while it is not stored."""
    expected: int | None
    duplicates: int
    """Rows removed because they repeated a problem."""
    conflicts: int
    """Problems with several answers."""
    repaired: int
    identity: str
    recorded: str | None
    """The recorded identity; None if there is none."""
    recorded_of: str
    licence: str
    licence_stated_by: str
    about: str
    caution: str


@dataclass(frozen=True, slots=True)
class Unaccepted:
    """An item that the grader cannot handle."""

    id: str
    answer: str
    outcome: str
    """The grader's outcome."""
    response: str
    """``own``: for the item's own gold response. ``other``: for the gold responses of other items, which should be wrong; then the
    grader cannot read the item's answer, or cannot compare it."""


@dataclass(frozen=True, slots=True)
class SplitReport:
    """One split as the environment serves it."""

    split: str
    items: int
    identity: str
    """Empty for an environment without one."""
    repetitions: tuple[OverlapPair, ...]
    unaccepted: tuple[Unaccepted, ...]
    text_only: int
    """Answers that are words, which a grader of mathematics compares as texts."""
    first_problem: str
    """The first item as a policy is shown it, without the dialect's words."""
    first_answer: str
    """Its answer as it was read."""


@dataclass(frozen=True, slots=True)
class OverlapReport:
    """Problems that two collections share."""

    first: str
    second: str
    pairs: tuple[OverlapPair, ...]


@dataclass(frozen=True, slots=True)
class DataReport:
    """The full report on one environment."""

    env: str
    split_rule: str
    sources: tuple[SourceReport, ...]
    files: tuple[Mapping[str, Any], ...]
    """The user's own files: layout, and what was read, merged, dropped and left out, as in a run's provenance."""
    splits: tuple[SplitReport, ...]
    overlaps: tuple[OverlapReport, ...]
    """Overlaps between every two splits."""
    elsewhere: tuple[OverlapReport, ...]
    """Overlaps between the whole sets behind this environment and those behind others."""


def report(spec: EnvironmentSpec, env: TextEnv, against: Sequence[EnvironmentSpec] = ()) -> DataReport:
    """Check an environment.

    Args:
        spec: its spec.
        env: an instance.
        against: environments whose stored sets are searched for this one's problems; sets that are not stored are skipped.

    Raises:
        DataError: a stored set is damaged.
    """
    problems = {split: [env.problem(split, index) for index in range(env.size(split))] for split in env.splits}
    identity = env.data_identity()
    return DataReport(
        env=spec.name,
        split_rule=spec.data.split_rule,
        sources=tuple(_source_report(spec.name, spec.data, split, source) for split, source in spec.data),
        files=tuple(env.data_facts().get("files", ())),
        splits=tuple(_split_report(env, split, items, identity.get(split.value, "")) for split, items in problems.items()),
        overlaps=tuple(
            OverlapReport(first.value, second.value, tuple(overlaps(_texts(problems[first]), _texts(problems[second]))))
            for first, second in combinations(env.splits, 2)
        ),
        elsewhere=_elsewhere(spec, against),
    )


def _source_report(env: str, data: DataSpec, split: Split, source: DataSource) -> SourceReport:
    stored = load(source, import_command(env, data, split, source)).manifest if is_stored(source) else None
    return SourceReport(
        split=split.value,
        name=source.name,
        origin=str(stored.origin) if stored else "",
        items=stored.items if stored else None,
        expected=source.expected,
        duplicates=stored.duplicates if stored else 0,
        conflicts=len(stored.conflicts) if stored else 0,
        repaired=stored.repaired if stored else 0,
        identity=stored.identity if stored else "",
        recorded=source.identity,
        recorded_of=source.identity_of,
        licence=source.licence.short,
        licence_stated_by=source.licence.stated_by,
        about=source.about,
        caution=source.caution,
    )


def _split_report(env: TextEnv, split: Split, problems: Sequence[Problem], identity: str) -> SplitReport:
    unaccepted = tuple(item for index in range(len(problems)) if (item := _unaccepted(env, problems, index)))
    first = problems[0] if problems else None
    return SplitReport(
        split=split.value,
        items=len(problems),
        identity=identity,
        repetitions=tuple(repetitions(_texts(problems))),
        unaccepted=unaccepted,
        text_only=count_words(problem.answer for problem in problems),
        first_problem=first.question if first else "",
        first_answer=first.answer if first else "",
    )


def _unaccepted(env: TextEnv, problems: Sequence[Problem], index: int) -> Unaccepted | None:
    """Try the gold responses of the item itself and of others: it is no use if an answer is only recognised as equal text."""
    problem = problems[index]
    if not problem.gold:
        return None
    own = play(env, problem, problem.gold).outcome
    if own is not Outcome.CORRECT:
        return Unaccepted(problem.id, problem.answer, str(own), "own")
    others = [other for other in (*problems[index + 1 :], *problems[:index]) if other.gold and other.answer != problem.answer]
    outcomes = [play(env, problem, other.gold).outcome for other in others[:OTHERS]]
    if len(outcomes) == OTHERS and not any(isinstance(outcome, Outcome) and outcome.graded for outcome in outcomes):
        return Unaccepted(problem.id, problem.answer, str(outcomes[0]), "other")
    return None


def _elsewhere(spec: EnvironmentSpec, against: Sequence[EnvironmentSpec]) -> tuple[OverlapReport, ...]:
    """Search all foreign sets at once, so that stock phrases are found among all, and each own text is read once."""
    own = {source.name: _stored_texts(spec, split, source) for split, source in spec.data}
    foreign = {
        source.name: _stored_texts(other, split, source) for other in against for split, source in other.data if source.name not in own
    }
    home_of = {text.id: name for name, texts in foreign.items() for text in texts}
    reports: list[OverlapReport] = []
    for name, texts in own.items():
        pairs: dict[str, list[OverlapPair]] = {other: [] for other, foreign_texts in foreign.items() if texts and foreign_texts}
        for pair in overlaps(texts, [text for foreign_texts in foreign.values() for text in foreign_texts]):
            pairs[home_of[pair.second.id]].append(pair)
        reports.extend(OverlapReport(name, other, tuple(shared)) for other, shared in pairs.items())
    return tuple(reports)


def _stored_texts(spec: EnvironmentSpec, split: Split, source: DataSource) -> list[Text]:
    """Return every problem of a set; none if it is not stored."""
    if not is_stored(source):
        return []
    stored = load(source, import_command(spec.name, spec.data, split, source))
    return [Text(f"{source.name}/{item.row}", item.problem) for item in stored.items]


def _texts(problems: Sequence[Problem]) -> list[Text]:
    return [Text(problem.id, problem.question) for problem in problems]
