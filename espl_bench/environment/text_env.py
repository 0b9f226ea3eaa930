"""The contract of an environment: Gymnasium, with text in and text out.

Write a subclass of `SingleTurnEnv` with three methods (`size`, `problem`, `grade`), or of `TextEnv` for several turns,
describe it by an `EnvironmentSpec`, and name the spec under the entry point group `espl_bench.envs`.
"""

import string
from abc import ABC, abstractmethod
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar

import gymnasium
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Text

from espl_bench.data.dataset_spec import DataSpec
from espl_bench.errors import EnvError
from espl_bench.types import Limit, Outcome, Problem, Split

Info = dict[str, Any]
"""Of a step. See `TextEnv` for what the last one holds."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a grader found in one response."""

    outcome: Outcome
    reward: float
    error: str | None = None
    """What failed, in one line, where the outcome is TIMEOUT or ERROR."""
    measures: Mapping[str, float] = field(default_factory=dict[str, float])
    """What is reported beside the reward and teaches nothing, e.g. ``f1``."""

    @classmethod
    def of(cls, outcome: Outcome, error: str | None = None, **measures: float) -> "Verdict":
        """1 for a correct response, 0 for any other."""
        return cls(outcome, 1.0 if outcome is Outcome.CORRECT else 0.0, error, measures)

    @property
    def info(self) -> "Info":
        """As a last step tells it."""
        return {"outcome": self.outcome, "error": self.error} | ({"measures": self.measures} if self.measures else {})


MAX_OBSERVATION_CHARS = 100_000


def text_space(max_length: int, charset: str) -> Text:
    """A space of texts with a generator of its own. Gymnasium's tables of the characters are made once: every episode has spaces."""
    return copy(_text_space(max_length, charset))


@cache
def _text_space(max_length: int, charset: str) -> Text:
    return Text(max_length=max_length, min_length=0, charset=charset)


class TextEnv(gymnasium.Env[str, str], ABC):
    """An episode is one problem: `reset(options={"split": …, "index": …})` returns its text, `step(text)` takes the answer.

    The last step's info holds ``outcome`` (an `Outcome`), and ``limit`` (a `Limit`) if one was met. Item `index` of a split is a
    pure function of the environment's own options, never of the seed; without options, `reset` draws an item of the first split
    that has any.
    """

    max_response_chars: ClassVar[int] = 20_000
    """A longer response ends the episode as truncated, unread."""

    steps_at_once: ClassVar[int] = 1
    """Instances that may be in `reset` or `step` at the same time, in threads other than the one that made them. More than one
    lets graders or servers that are waited for work side by side; what instances share must bear it."""

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012  # gymnasium's own attribute
    charset: ClassVar[str] = string.printable + "·×÷−≤≥≠√π∞"

    def __init__(self) -> None:
        """Spaces are texts."""
        self.observation_space = text_space(MAX_OBSERVATION_CHARS, self.charset)
        self.action_space = text_space(self.max_response_chars, self.charset)
        self.current: Problem | None = None

    @abstractmethod
    def size(self, split: Split) -> int:
        """Number of items of a split."""

    @abstractmethod
    def problem(self, split: Split, index: int) -> Problem:
        """Item `index` of a split, always the same."""

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits that have items, declared so that an empty one is no accident. TEST is always among them.

        Without TRAIN the environment is for evaluation only: a method that learns refuses it. Without VALIDATION runs are not
        validated.
        """
        return tuple(Split)

    @property
    def turns(self) -> int:
        """How often the policy may speak in an episode; what a run may spend is estimated by it."""
        return 1

    def prepare(self) -> None:
        """Get ready what episodes will need, e.g. an index. Called once before a run; what cannot be had is an EsplError then."""

    def data_identity(self) -> Mapping[str, str]:
        """What names the environment's items beyond its options: split → hash. A run resumes on nothing else."""
        return {}

    def data_facts(self) -> Mapping[str, Any]:
        """What a run's provenance keeps of the data besides, e.g. origin and revision; JSON values."""
        return {}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        """Start an episode. Raises EnvError for an item that does not exist."""
        super().reset(seed=seed)
        options = options or {}
        split = Split(options.get("split", self.splits[0]))
        index = int(options["index"]) if "index" in options else int(self.np_random.integers(self.size(split)))
        if not 0 <= index < self.size(split):
            raise EnvError(f"{type(self).__name__} has no item {index} in {split}: it has {self.size(split)}")
        self.current = self.problem(split, index)
        return self.current.question, {"problem_id": self.current.id}

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        """Take the policy's text. Raises ResetNeeded before `reset` and after the end."""
        if self.current is None:
            raise ResetNeeded(f"{type(self).__name__}.step called outside an episode; call reset first")
        if len(action) > self.max_response_chars:
            self.current = None
            return "", 0.0, False, True, {"outcome": Outcome.TRUNCATED, "limit": Limit.RESPONSE}
        return self.respond(self.current, action)

    @abstractmethod
    def respond(self, problem: Problem, action: str) -> tuple[str, float, bool, bool, Info]:
        """One step within the limits; sets `self.current` to None when the episode ends."""


class SingleTurnEnv(TextEnv):
    """One question, one response, one grade."""

    @abstractmethod
    def grade(self, problem: Problem, response: str) -> Verdict:
        """Grade a response: pure, bounded in time, never evaluating what a model wrote."""

    def respond(self, problem: Problem, action: str) -> tuple[str, float, bool, bool, Info]:
        """Grade and end."""
        self.current = None
        verdict = self.grade(problem, action)
        return "", verdict.reward, True, False, verdict.info


@dataclass(frozen=True)
class EnvironmentSpec:
    """What the harness needs to know of an environment by name."""

    name: str
    """As in `--env`."""
    gym_id: str
    """As in `gymnasium.make`, versioned."""
    entry_point: str
    """``module:name`` of what makes the TextEnv: its class, or a function."""
    summary: str
    dialect: str
    """Which templates word its prompts, e.g. compact or full."""
    model: str | None = None
    """Default model: a folder or a hub id; None: `--model` must be given."""
    defaults: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Defaults of run options that fit this environment, by flat name (as flags); the command line overrides them."""
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    """What a named preset means here beyond its own values, by flat name, e.g. how many steps its epochs are."""
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What the entry point is always called with, besides the environment's options: which of several it is to make."""
    data: DataSpec = field(default_factory=DataSpec)
    """The data sets it needs; none for an environment that makes its items itself."""
    items: Mapping[Split, int] = field(default_factory=dict[Split, int])
    """How many it serves at its default options, where it selects among the rows of its data: a plan without the data counts by it."""
    turns: int = 1
    """`TextEnv.turns` at its default options, for the same."""
