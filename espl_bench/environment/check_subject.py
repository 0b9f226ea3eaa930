"""What a check of an environment works with: the instances under test, a rule, and a finding."""

import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from espl_bench.environment.pool import close_env
from espl_bench.environment.probing import AnsweredProblem, play
from espl_bench.environment.text_env import TextEnv
from espl_bench.errors import EnvError
from espl_bench.types import Outcome, Problem, Split

MAX_ITEMS: Final = 20_000
"""Default of `Subject.most_items`."""
SHOWN_CHARS: Final = 40
"""Characters of a response that a message quotes."""


class Level(StrEnum):
    """Weight of a finding."""

    FAULT = "fault"
    """The contract is broken."""
    NOTE = "note"
    """Something could not be checked, or costs time."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A rule that an environment breaks, and what its author can do."""

    problem: str
    remedy: str
    level: Level = Level.FAULT

    def __str__(self) -> str:
        return f"{self.problem}; {self.remedy}"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a report."""

    rule: str
    problem: str
    remedy: str
    level: Level = Level.FAULT

    @classmethod
    def of(cls, rule: str, broken: Broken) -> "Finding":
        """Name the rule, and put the texts on one line."""
        return cls(rule, " ".join(broken.problem.split()), " ".join(broken.remedy.split()), broken.level)

    def __str__(self) -> str:
        return f"{self.problem}; {self.remedy}"


def cannot_be_pickled(env: TextEnv) -> str | None:
    """Return why an instance cannot go to another process; None if it can."""
    try:
        pickle.dumps(env)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        return str(error)
    return None


@dataclass
class Subject:
    """The environment under test."""

    env: TextEnv
    twin: TextEnv
    """Another instance with the same options."""
    samples: int
    """Items of each split on which the grader is tried."""
    make: Callable[[], TextEnv] | None = None
    """Makes another instance; None: copies of `env` are used."""
    beat: Callable[[str], None] | None = None
    """Is told what is tried next, by whoever bounds the time."""
    most_items: int = MAX_ITEMS
    """Items of a split that are read for rules about all items."""
    doing: str = ""
    """What is being tried, for the message about an exception."""
    _made: list[TextEnv] = field(default_factory=list[TextEnv])

    def fresh(self) -> TextEnv:
        """Return another instance."""
        self.begins("another instance")
        env = self.copy() if self.make is None else self.make()
        self._made.append(env)
        return env

    def copy(self) -> TextEnv:
        """Return a pickled copy. Raises EnvError if there can be none."""
        if (why := cannot_be_pickled(self.env)) is not None:
            raise EnvError(f"cannot be pickled ({why})")
        return pickle.loads(pickle.dumps(self.env))

    def close(self) -> None:
        """Close the instances that `fresh` made."""
        for env in self._made:
            close_env(env)
        self._made.clear()

    def begins(self, doing: str) -> None:
        """Note what is tried next."""
        self.doing = doing
        if self.beat is not None:
            self.beat(doing)

    def play(self, problem: Problem, text: str, env: TextEnv | None = None) -> AnsweredProblem:
        """Answer `text` to everything until the episode ends. Raises EnvError if it does not."""
        self.begins(f"the response {quoted(text)} to {problem.id}")
        return play(env or self.env, problem, text)

    def problem(self, split: Split, index: int, env: TextEnv | None = None) -> Problem:
        """Return an item."""
        self.begins(f"item {index} of {split}")
        return (env or self.env).problem(split, index)

    def sampled(self, most: int | None = None) -> Iterator[Problem]:
        """Yield at most `samples` items of each split, evenly spread; or at most `most`."""
        for split in self.env.splits:
            size = self.env.size(split)
            count = min(self.samples if most is None else most, size)
            yield from (self.problem(split, number * size // count) for number in range(count))

    def with_gold(self, most: int | None = None) -> Iterator[Problem]:
        """Yield those of the sampled items that have a gold response."""
        return (problem for problem in self.sampled(most) if problem.gold)

    def all_items(self, split: Split) -> Iterator[Problem]:
        """Yield the items of a split, in order, up to `most_items`."""
        return (self.problem(split, index) for index in range(min(self.most_items, self.env.size(split))))


@dataclass(frozen=True, slots=True)
class Rule:
    """One part of the contract."""

    name: str
    requires: str
    """In a sentence."""
    look: Callable[[Subject], Iterator[Broken]]
    """Yields what breaks it; only the first is reported."""


def rule(name: str, requires: str) -> Callable[[Callable[[Subject], Iterator[Broken]]], Rule]:
    """Make a rule of a function."""
    return lambda look: Rule(name, requires, look)


def quoted(text: str) -> str:
    """Quote the beginning of a response."""
    return repr(text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}…")


def earned(ending: AnsweredProblem) -> str:
    """Describe an ending: ``earns 0.9 as correct``."""
    named = str(ending.outcome) if isinstance(ending.outcome, Outcome) else f"{ending.outcome!r} (info needs an Outcome)"
    return f"earns {ending.reward} as {named}"


def is_one_of(ending: AnsweredProblem, reward: float, outcomes: Sequence[Outcome]) -> bool:
    """Return whether an ending is as it should be."""
    return ending.reward == reward and ending.outcome in outcomes
