"""The nouns of the harness, as frozen data. This module imports nothing but the standard library.

Axis suffixes used in names throughout the project:

    _K  system prompts rolled out in parallel      _P  problems of one batch
    _G  rollouts per problem and prompt (a group)  _T  tokens of one sequence
    _B  rows of one batch inside an engine
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal

ChatRole = Literal["system", "user", "assistant", "tool"]


class Split(StrEnum):
    """The three parts of an environment. Only TRAIN teaches; only VALIDATION may steer a choice."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


class StopReason(StrEnum):
    """Why a completion ended."""

    STOP = "stop"
    """The model wrote its end-of-turn token."""
    LENGTH = "length"
    """The token limit was reached first."""
    FILTERED = "filtered"
    """The endpoint's content filter ended the text; only endpoints do this."""


class Outcome(StrEnum):
    """What a grader found. A score never stands without the rates of these beside it."""

    CORRECT = "correct"
    WRONG = "wrong"
    NO_ANSWER = "no_answer"
    """The text ended of itself and holds no answer."""
    TRUNCATED = "truncated"
    """The text was cut at a limit before it held an answer."""
    TIMEOUT = "timeout"
    ERROR = "error"
    """The grader or the environment failed: never the model's fault, never silently a zero."""

    @property
    def graded(self) -> bool:
        """Whether the outcome says something about the policy; a timeout or an error of ours does not."""
        return self not in (Outcome.TIMEOUT, Outcome.ERROR)


class Limit(StrEnum):
    """Which limit ended an episode as TRUNCATED."""

    RESPONSE = "response"
    """One response had more characters than the environment reads."""
    TURN = "turn"
    """One turn had as many tokens as a turn may have, or filled the model's context."""
    TOKENS = "tokens"
    """The episode had as many tokens as an episode may have, prompt and observations included."""
    TURNS = "turns"
    """The policy spoke as often as it may, without an answer."""
    CALLS = "calls"
    """It called tools more often than it may."""
    OBSERVATIONS = "observations"
    """Tools had replied with as many characters as an episode may hear, and it called again."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a tool, as the policy wrote it and as far as it could be read."""

    tool: str
    arguments: str
    """A JSON object."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What the policy was answered: by a tool, or by the environment itself."""

    text: str
    tool: str | None = None
    """None: the environment itself, speaking as a user does."""


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message."""

    role: ChatRole
    content: str
    calls: tuple[ToolCall, ...] = ()
    """Of an assistant that called tools in its model's own format: the calls, which are then no part of the content."""
    tool: str | None = None
    """Of a tool's reply in the model's own format: which tool."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One item of an environment: a row, without behaviour."""

    id: str
    """Unique within the environment, e.g. ``train/17``."""
    split: Split
    index: int
    question: str
    """What the policy is shown."""
    answer: str
    """The truth: shown to graders and to the editor, never to the policy."""
    gold: str
    """A full response that must be graded CORRECT; the environment's own proof of its grader."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request as an endpoint counted them; hidden reasoning is part of `sampled`."""

    prompt: int
    sampled: int


@dataclass(frozen=True, slots=True)
class Completion:
    """What a sampling client returns for one request."""

    tokens_T: tuple[int, ...]
    """The sampled ids, the end-of-turn token included when one was sampled. Empty from an engine that speaks text."""
    logprobs_T: tuple[float, ...]
    """Natural log-probability of each sampled token at the sampling temperature, before any top-p truncation."""
    text: str
    """The decoded tokens without special tokens."""
    stop_reason: StopReason
    usage: Usage | None = None
    """What an engine that speaks text was told of its tokens; None: the ids are there to be counted."""
    lengths_T: tuple[int, ...] = ()
    """Characters of `text` that each token brought, 0 for one that is not shown; empty from an engine that cannot say."""

    @property
    def sampled_tokens(self) -> int:
        """Tokens the model wrote."""
        return self.usage.sampled if self.usage else len(self.tokens_T)


@dataclass(frozen=True, slots=True)
class Turn:
    """One exchange of a trajectory: the tokens appended before the policy spoke, and what it then said."""

    observation_T: tuple[int, ...]
    """First turn of a segment: the whole rendered conversation. Later turns: only what was appended. Never re-tokenised."""
    completion: Completion
    observations: tuple[Observation, ...] = ()
    """What was appended, in words; nothing before the first turn, which is preceded by the problem."""
    starts_segment: bool = False
    """Whether a later turn begins a segment of its own: the chat template would have changed what stood before, so that the
    conversation was rendered anew instead of extended."""


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One episode of one problem under one system prompt."""

    problem: Problem
    prompt_id: int
    sample: int
    """Which of the group's rollouts this is; with the run's seed it names the sampler's seed."""
    turns: tuple[Turn, ...]
    reward: float
    outcome: Outcome
    error: str | None = None
    """Set when the outcome is ERROR or TIMEOUT: what failed, in one line."""
    limit: Limit | None = None
    """Set when the outcome is TRUNCATED: which limit was met."""
    measures: Mapping[str, float] = field(default_factory=dict[str, float])
    """What the environment reports beside the reward, e.g. ``f1``; teaches nothing."""

    @property
    def text(self) -> str:
        """Everything the policy said, turn by turn."""
        return "\n".join(turn.completion.text for turn in self.turns)

    @property
    def segments(self) -> tuple[tuple[Turn, ...], ...]:
        """The turns in runs that are one token sequence each; one run, unless the chat template would not extend it."""
        starts = [place for place, turn in enumerate(self.turns) if place == 0 or turn.starts_segment]
        return tuple(self.turns[start:end] for start, end in zip(starts, [*starts[1:], len(self.turns)], strict=True))

    @property
    def was_cut(self) -> bool:
        """Whether the token limit ended its last turn."""
        return bool(self.turns) and self.turns[-1].completion.stop_reason is StopReason.LENGTH

    @property
    def generated_tokens(self) -> int:
        """Tokens sampled from the policy in this episode."""
        return sum(turn.completion.sampled_tokens for turn in self.turns)


@dataclass(frozen=True, slots=True)
class TrajectoryGroup:
    """The G rollouts of one problem under one system prompt."""

    problem: Problem
    prompt_id: int
    trajectories_G: tuple[Trajectory, ...]

    @property
    def graded_rewards(self) -> tuple[float, ...]:
        """The rewards in the order of the samples, failures of the grader or the environment left out."""
        return tuple(trajectory.reward for trajectory in self.trajectories_G if trajectory.outcome.graded)


@dataclass(frozen=True, slots=True)
class Rating:
    """A TrueSkill rating: belief about a prompt's skill, a normal distribution."""

    mu: float = 25.0
    sigma: float = 25.0 / 3.0


ROOT_ORIGIN: Final = "root"
"""The origin of a run's first prompt. Every other prompt's origin is the name of the operator that wrote it."""


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where a system prompt comes from."""

    origin: str
    """`ROOT_ORIGIN`, or an operator's name."""
    parent_ids: tuple[int, ...] = ()
    """Mutation: one parent. Crossover: the best prompt first, then the others."""
    born_step: int = 0
    """The iteration whose rollouts it was written from; 0 for the root."""


@dataclass(frozen=True, slots=True)
class SystemPrompt:
    """A numbered list of principles (shown as G0, G1, …) with its rating and its past."""

    id: int
    """Unique within the run; the root is 0; a child's id is larger than its parents'."""
    principles: tuple[str, ...]
    rating: Rating
    lineage: Lineage
    matches: int = 0
    """Rankings it has taken part in."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A child that was not born, and why. Recorded, never swallowed."""

    step: int
    origin: str
    """The operator's name."""
    parent_ids: tuple[int, ...]
    reason: str
    """To be counted, e.g. ``no_contrast``, ``no_edits``, ``unparseable``, ``unchanged``, ``too_long``, ``not_accepted``."""
    detail: str = ""
    """One line, at most a few hundred characters: e.g. the start of the text that could not be parsed."""


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """One completion wanted from a sampling client: the conversation so far, as ids and in words."""

    prompt_T: tuple[int, ...]
    """What an engine that takes ids continues: everything as it was seen and sampled. Empty if the engine's chat has no ids."""
    seed: int
    """Names the random draw; same weights, prompt and seed give the same tokens."""
    max_tokens: int
    temperature: float
    """0 means greedy."""
    top_p: float = 1.0
    messages: tuple[Message, ...] = ()
    """What an engine that speaks text is sent: the same conversation, one message per turn."""


@dataclass(frozen=True, slots=True)
class Datum:
    """One trajectory as the trainer sees it: one token sequence, of which the policy sampled a part."""

    tokens_T: tuple[int, ...]
    mask_T: tuple[bool, ...]
    """True where the token was sampled by the policy; prompt, user and tool tokens are False."""
    logprobs_T: tuple[float, ...]
    """The sampler's log-probability of each token; 0.0 where the mask is False."""
    advantage: float
    temperature: float
    """The temperature the tokens were drawn at; the trainer divides its logits by it."""


def all_equal(values: Sequence[float]) -> bool:
    """Whether a group carries no contrast, so that its centred rewards are all zero."""
    return all(value == values[0] for value in values)
