"""The contract of an environment: Gymnasium, with text in and text out.

Write a subclass of `SingleTurnEnv` with three methods (`size`, `problem`, `grade`), or of `TextEnv` for several turns,
describe it by an `EnvironmentSpec`, and name the spec under the entry point group `espl_bench.envs`.
"""

import string
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, ClassVar, Final

import gymnasium
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Text

from espl_bench.data.dataset_spec import DataSpec
from espl_bench.data.served_identity import served_identity
from espl_bench.errors import EnvError
from espl_bench.types import Limit, Observation, Outcome, Problem, Split
from espl_bench.utils.foreign_text import readable

Info = dict[str, Any]
"""Info of a step. See `TextEnv` for the contents of the last one."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A grader's verdict on one response."""

    outcome: Outcome
    reward: float
    error: str | None = None
    """The failure in one line, if the outcome is TIMEOUT or ERROR."""
    measures: Mapping[str, float] = field(default_factory=dict[str, float])
    """Metrics that are reported but not trained on, e.g. ``f1``."""

    @classmethod
    def of(cls, outcome: Outcome, error: str | None = None, **measures: float) -> "Verdict":
        """Give reward 1 to a correct response, and 0 to any other."""
        return cls(outcome, 1.0 if outcome is Outcome.CORRECT else 0.0, error, measures)

    @property
    def info(self) -> "Info":
        """Return the info of a last step."""
        return {"outcome": self.outcome, "error": self.error} | ({"measures": self.measures} if self.measures else {})


MAX_OBSERVATION_CHARS = 100_000


class UnicodeText(Text):
    """A space of texts of any characters that can be encoded. Samples are of printable ASCII."""

    def contains(self, x: Any) -> bool:
        """Return whether this is a text of a fitting length, without a lone surrogate."""
        return isinstance(x, str) and self.min_length <= len(x) <= self.max_length and readable(x) == x


def text_space(max_length: int) -> Text:
    """Return a space of texts with its own generator. Gymnasium's character tables are made once: every instance has spaces."""
    return copy(_text_space(max_length))


@cache
def _text_space(max_length: int) -> Text:
    return UnicodeText(max_length=max_length, min_length=0, charset=string.printable)


class TextEnv(gymnasium.Env[str, str], ABC):
    """An episode is one problem: `reset(options={"split": …, "index": …})` returns its text, `step(text)` takes the answer.

    An instance plays one episode after the other, and `close` is called when it is no longer needed. An episode earns the sum of the
    rewards of its steps.

    The last step's info holds ``outcome`` (an `Outcome`), and ``limit`` (a `Limit`) if one was reached. Item `index` of a split is a
    pure function of the environment's own options, never of the seed; without options, `reset` draws an item of the first split
    that has any.
    """

    max_response_chars: ClassVar[int] = 20_000
    """A longer response ends the episode as truncated, unread."""

    steps_at_once: ClassVar[int] = 1
    """Maximum number of instances stepped concurrently (in `reset` or `step`), in threads other than the one that made them. More
    than one lets slow graders or servers work in parallel. State shared between instances must be thread-safe."""

    episodes_at_once: ClassVar[int | None] = None
    """Maximum number of episodes under way at a time, and so of instances, e.g. the sessions of a server. None: any number. Fewer than a
    batch has make several rounds of it."""

    items_hashed: ClassVar[int] = 250_000
    """Maximum number of items of a split that `items_identity` hashes; of a longer one, that many evenly spread items. An environment whose
    items are slow to make lowers it."""

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012  # gymnasium's own attribute

    _recalled: Iterator[Sequence[Observation]] | None = None

    def __init__(self) -> None:
        self.observation_space = text_space(MAX_OBSERVATION_CHARS)
        self.action_space = text_space(self.max_response_chars)
        self.current: Problem | None = None

    @abstractmethod
    def size(self, split: Split) -> int:
        """Return the number of items of a split."""

    @abstractmethod
    def problem(self, split: Split, index: int) -> Problem:
        """Return item `index` of a split, always the same."""

    @property
    def splits(self) -> tuple[Split, ...]:
        """Splits that have items, declared so that an empty one is not overlooked. Always includes TEST.

        Without TRAIN the environment is for evaluation only, and methods that learn refuse it. Without VALIDATION runs are not
        validated.
        """
        return tuple(Split)

    def parts(self, split: Split) -> Mapping[str, range]:
        """Return named stretches of a split's items, in order, each of which is also scored on its own; empty: there are none.

        Those of TRAIN are trained on evenly: every stretch of an epoch has each part in its share.
        """
        return {}

    @property
    def turns(self) -> int:
        """Maximum turns of the policy in an episode; used to estimate a run's cost."""
        return 1

    def prepare(self) -> None:
        """Prepare what episodes need, e.g. an index. Called once before a run; raises EsplError if that fails."""

    def data_identity(self) -> Mapping[str, str]:
        """Return hashes that identify the data, by split: two runs whose hashes differ are not compared in a table.

        By default those of `items_identity`. An environment overrides it if copies that differ a little are one data set, or if more than
        items matters, e.g. an index; splits that it leaves out are added.
        """
        return self.items_identity()

    def items_identity(self) -> Mapping[str, str]:
        """Return a hash of everything that the items hold, by split. A run resumes only with the same ones."""
        return {split.value: served_identity(self.size(split), partial(self.problem, split), self.items_hashed) for split in self.splits}

    def data_facts(self) -> Mapping[str, Any]:
        """Return further facts about the data for a run's provenance, e.g. origin and revision; JSON values."""
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
        """Take one step within the limits; set `self.current` to None when the episode ends."""

    def recall(self, observations: Sequence[Sequence[Observation]]) -> None:
        """Take the replies of a stored episode, turn by turn, which the next episode repeats. Called before its `reset`."""
        self._recalled = iter(observations)

    @property
    def repeats(self) -> bool:
        """True in the repetition of a stored episode, where recorded replies take the place of asking whatever is outside."""
        return self._recalled is not None

    def recalled(self) -> str | None:
        """Return the stored reply to this turn in the repetition of an episode, empty after the last one; None in any other episode.

        An environment whose replies come from outside (a server, a clock, a draw) asks there only for None, and so can be verified.
        """
        replies = self.recalled_replies()
        return None if replies is None else "".join(reply.text for reply in replies[:1])

    def recalled_replies(self) -> Sequence[Observation] | None:
        """Return the stored replies to this turn, several if it called several tools; None outside a repetition. Call it once a turn."""
        return None if self._recalled is None else next(self._recalled, ())


class SingleTurnEnv(TextEnv):
    """One question, one response, one grade."""

    @abstractmethod
    def grade(self, problem: Problem, response: str) -> Verdict:
        """Grade a response: pure, bounded in time, never evaluating what a model wrote."""

    def respond(self, problem: Problem, action: str) -> tuple[str, float, bool, bool, Info]:
        """Grade the response and end the episode."""
        self.current = None
        verdict = self.grade(problem, action)
        return "", verdict.reward, True, False, verdict.info


@dataclass(frozen=True, slots=True)
class Wording:
    """An environment's own words, which the dialect `task` puts around its questions."""

    task: str = "You are a careful problem solver."
    """Introduces the task to the policy, at the beginning of the system prompt, e.g. ``You spell words backwards.``"""
    answer_form: str = ""
    """Says what an answer looks like, after the question, e.g. ``End with a line: Answer: WORD``."""


USUAL_WORDING: Final = Wording()
"""Of an environment that names none."""


@dataclass(frozen=True)
class EnvironmentSpec:
    """Facts about an environment that the harness needs."""

    name: str
    """Name for `--env`."""
    gym_id: str
    """Versioned id for `gymnasium.make`."""
    entry_point: str
    """``module:name`` of the callable that makes the TextEnv: its class, or a function."""
    summary: str
    dialect: str = "task"
    """Templates of its prompts: a name, e.g. compact or full, or a folder. By default those that use its `wording`."""
    model: str | None = None
    """Default model: a folder or a hub id; None: `--model` must be given."""
    defaults: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Defaults of run options that fit this environment, by flat name (as flags); the command line overrides them."""
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    """What a named preset means here beyond its own values, by flat name, e.g. how many steps its epochs are."""
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Fixed arguments of the entry point, in addition to the environment's options: which of several it makes."""
    data: DataSpec = field(default_factory=DataSpec)
    """The data sets it needs; empty for an environment that generates its items."""
    items: Mapping[Split, int] = field(default_factory=dict[Split, int])
    """Items served with default options, if it selects among the rows of its data; used to plan without the data."""
    turns: int = 1
    """`TextEnv.turns` with default options; used to plan without the data."""
    wording: Wording = USUAL_WORDING
    """Its own words, for the dialect task and for dialects that extend it."""
    described_by: str | None = None
    """``module:name`` of a function from options to the spec that holds with them, if more than items depends on options."""
    parts: Mapping[str, "EnvironmentSpec"] = field(default_factory=dict[str, "EnvironmentSpec"])
    """Specs of the environments that this one is made of, by part: their code is part of a run's identity."""
    undecided: Mapping[str, str] = field(default_factory=dict[str, str])
    """Run options that have no default here and must be given, by flat name, with what speaks for which value."""
    asks_for_items: bool = False
    """True if items are asked for at an address that an option names: whoever reads the items of a run connects there."""
    note: str = ""
    """What a user should know before a run begins, in a few words; empty: nothing."""
