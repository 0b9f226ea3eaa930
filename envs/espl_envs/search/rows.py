"""One row of choices for each environment, and the selection of its questions.

The paper trains on 196 questions of NQ and HotpotQA and tests on 64, but does not publish which ones. Here the questions of a set are
ranked by a hash of a fixed seed and their letters and digits, and the first ones are taken, equally many of each set. So the selection
is the same on every machine, and for every copy of a set that has the same questions. Validation follows training in the ranking.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from espl_bench.data.corpus_store import StoredCorpus
from espl_bench.data.dataset_spec import CorpusSource, DataSpec
from espl_bench.data.item_text import Item, identity_of, match_key
from espl_bench.errors import UsageError
from espl_bench.seeding import seed_for
from espl_bench.types import Problem, Split
from espl_bench.utils.numbers import is_whole
from espl_envs.search import sources

SEED = 0
"""Seed of the selection; another seed makes another environment."""
SELECTED = "the questions of each set are ranked by a seeded hash; train and then validation are the first of the training sets"


def rank_of(question: str) -> int:
    """Return the place of a question in the ranking of its set: those of lowest rank are selected."""
    return _rank(match_key(question), SEED)


def _rank(key: str, seed: int) -> int:
    return seed_for(seed, "search", "selection", key)


PARAGRAPHS = CorpusSource(
    name="hotpotqa-paragraphs",
    sets=(sources.HOTPOTQA_TRAIN, sources.HOTPOTQA_DEV),
    rank=rank_of,
    questions=2_000,
    licence=sources.HOTPOTQA_LICENCE,
    about="the Wikipedia paragraphs beside 2,000 questions of each HotpotQA set: small, not Wikipedia, with few of the articles of NQ",
)
"""What is searched unless a corpus is named, so that a search runs at once."""

ROWS: Mapping[str, DataSpec] = MappingProxyType(
    {
        "nq-hotpotqa": DataSpec(
            train=(sources.NQ_TRAIN, sources.HOTPOTQA_TRAIN),
            test=(sources.NQ_DEV, sources.HOTPOTQA_DEV),
            split_rule=SELECTED,
            corpus=PARAGRAPHS,
        ),
        "hotpotqa": DataSpec(train=(sources.HOTPOTQA_TRAIN,), test=(sources.HOTPOTQA_DEV,), split_rule=SELECTED, corpus=PARAGRAPHS),
        "nq": DataSpec(train=(sources.NQ_TRAIN,), test=(sources.NQ_DEV,), split_rule=SELECTED, corpus=PARAGRAPHS),
    }
)
"""Data by the environment's name."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Questions of each split, all sets together."""

    train: int
    validation: int
    test: int

    def __post_init__(self) -> None:
        """Raise UsageError for a size that is not a whole number from 1."""
        for name in ("train", "validation", "test"):
            value = getattr(self, name)
            if not is_whole(value):
                raise UsageError(f"{name}_items must be a whole number from 1, not {value!r}")


@dataclass(frozen=True, slots=True)
class SearchRow:
    """A question and the set it comes from."""

    source: str
    item: Item

    @property
    def answers(self) -> tuple[str, ...]:
        """Accepted answers, any of which is right."""
        return tuple(json.loads(self.item.answer))

    def problem(self, split: Split, index: int) -> Problem:
        """Convert to the harness's problem; several answers are shown as the stored JSON list."""
        answers = self.answers
        shown = answers[0] if len(answers) == 1 else self.item.answer
        gold = f"Answer: {' '.join(answers[0].split())}"
        return Problem(f"{self.source}/{self.item.row}", split, index, self.item.problem, shown, gold)


@dataclass(frozen=True)
class Served:
    """Questions that an environment serves."""

    rows: Mapping[Split, tuple[SearchRow, ...]]

    @cached_property
    def problems(self) -> dict[Split, tuple[Problem, ...]]:
        """Problems of each split, numbered."""
        return {split: tuple(row.problem(split, index) for index, row in enumerate(rows)) for split, rows in self.rows.items()}

    @cached_property
    def identity(self) -> dict[str, str]:
        """Hash of each split's questions and answers in order."""
        return {split.value: identity_of(row.item for row in rows) for split, rows in self.rows.items()}


def select(train: Mapping[str, Sequence[Item]], test: Mapping[str, Sequence[Item]], sizes: Sizes, seed: int) -> Served:
    """Select the splits of an environment from its sets, given by name.

    A question of a test set never occurs in training or validation. If a set is too small, every question is used: training and
    validation then share them in proportion to their sizes. Raises UsageError if a split would be empty.
    """
    tested = {match_key(item.problem) for items in test.values() for item in items}
    selected: dict[Split, list[SearchRow]] = {split: [] for split in Split}
    for number, (name, items) in enumerate(train.items()):
        ranked = _ranked(name, [item for item in items if match_key(item.problem) not in tested], seed)
        wanted = [_share(size, number, len(train)) for size in (sizes.train, sizes.validation)]
        if len(ranked) < sum(wanted):
            wanted[0] = len(ranked) * wanted[0] // sum(wanted)
        selected[Split.TRAIN] += ranked[: wanted[0]]
        selected[Split.VALIDATION] += ranked[wanted[0] : wanted[0] + wanted[1]]
    for number, (name, items) in enumerate(test.items()):
        selected[Split.TEST] += _ranked(name, items, seed)[: _share(sizes.test, number, len(test))]
    if empty := [split.value for split, rows in selected.items() if not rows]:
        raise UsageError(f"the sets have too few questions: none are left for {', '.join(empty)}")
    return Served({split: tuple(rows) for split, rows in selected.items()})


def uncovered(served: Served, corpus: StoredCorpus) -> int:
    """Count the questions of HotpotQA whose paragraphs are not in the corpus that was made of its rows."""
    return sum(not corpus.covers(row.source, rank_of(row.item.problem)) for rows in served.rows.values() for row in rows)


def _ranked(source: str, items: Sequence[Item], seed: int) -> list[SearchRow]:
    """Rank by the hash of seed and question; drop questions that differ from an earlier one only in punctuation."""
    keys = {match_key(item.problem): item for item in reversed(items)}
    return [SearchRow(source, keys[key]) for key in sorted(keys, key=lambda key: (_rank(key, seed), key))]


def _share(size: int, number: int, sets: int) -> int:
    """Return the share of set `number` in a size that sets share equally; the first ones take the remainder."""
    return size // sets + (number < size % sets)
