"""The nouns of the harness, as frozen data. This module imports nothing but the standard library.

Axis suffixes used in names throughout the project:

    _K  system prompts rolled out in parallel      _P  problems of one batch
    _G  rollouts per problem and prompt (a group)  _T  tokens of one sequence
    _B  rows of one batch inside an engine
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
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
    """Verdict of a grader. A score is never reported without the rates of these outcomes."""

    CORRECT = "correct"
    WRONG = "wrong"
    NO_ANSWER = "no_answer"
    """The text ended by itself and holds no answer."""
    TRUNCATED = "truncated"
    """The text was cut at a limit before it held an answer."""
    TIMEOUT = "timeout"
    ERROR = "error"
    """The grader or the environment failed: never the model's fault, never silently a zero."""

    @property
    def graded(self) -> bool:
        """True if the outcome says something about the policy; a timeout or an error does not."""
        return self not in (Outcome.TIMEOUT, Outcome.ERROR)


class Limit(StrEnum):
    """The limit that ended an episode as TRUNCATED."""

    RESPONSE = "response"
    """One response had more characters than the environment reads."""
    TURN = "turn"
    """One turn reached the token limit of a turn, or filled the model's context."""
    TOKENS = "tokens"
    """The episode reached its token limit, prompt and observations included."""
    TURNS = "turns"
    """The policy used all its turns without an answer."""
    CALLS = "calls"
    """The policy called tools more often than allowed."""
    OBSERVATIONS = "observations"
    """Tool replies reached the episode's character limit, and the policy called again."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One tool call as the policy wrote it, parsed as far as possible."""

    tool: str
    arguments: str
    """A JSON object."""


@dataclass(frozen=True, slots=True)
class Observation:
    """A reply to the policy, from a tool or from the environment itself."""

    text: str
    tool: str | None = None
    """None: from the environment itself, in the user's role."""


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message."""

    role: ChatRole
    content: str
    calls: tuple[ToolCall, ...] = ()
    """Calls of an assistant turn in the model's own tool format; they are then not part of the content."""
    tool: str | None = None
    """For a tool's reply in the model's own format: the tool's name."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One item of an environment: a row, without behaviour."""

    id: str
    """Unique within the environment, e.g. ``train/17``."""
    split: Split
    index: int
    question: str
    """The text that the policy is shown."""
    answer: str = ""
    """The truth: shown to graders and to the editor, never to the policy. Empty: there is none to show."""
    gold: str = ""
    """A full response that must be graded CORRECT; the environment's own proof of its grader. Empty: none is known."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request as an endpoint counted them; hidden reasoning is part of `sampled`."""

    prompt: int
    sampled: int


@dataclass(frozen=True, slots=True)
class Completion:
    """The result of one sampling request."""

    tokens_T: tuple[int, ...]
    """Sampled ids, including the end-of-turn token if one was sampled. Empty from an engine without token ids."""
    logprobs_T: tuple[float, ...]
    """Natural log-probability of each sampled token at the sampling temperature, before any top-p truncation."""
    text: str
    """The decoded tokens without special tokens."""
    stop_reason: StopReason
    usage: Usage | None = None
    """Token counts reported by an engine without token ids; None: count the ids."""
    lengths_T: tuple[int, ...] = ()
    """Characters of `text` that each token added, 0 for one that is not shown; empty if the engine does not report them."""

    def after(self, opened: str) -> "Completion":
        """Return the completion with what its prompt opened for it, an opening tag of thoughts, as the beginning of its text."""
        if not opened:
            return self
        lengths_T = (len(opened) + self.lengths_T[0], *self.lengths_T[1:]) if self.lengths_T else ()
        return replace(self, text=opened + self.text, lengths_T=lengths_T)

    @property
    def sampled_tokens(self) -> int:
        """Count the tokens that the model wrote."""
        return self.usage.sampled if self.usage else len(self.tokens_T)


@dataclass(frozen=True, slots=True)
class Turn:
    """One exchange of a trajectory: the tokens appended before the policy spoke, and its completion."""

    observation_T: tuple[int, ...]
    """In the first turn of a segment: the whole rendered conversation. Later: only the appended part. Never re-tokenised."""
    completion: Completion
    observations: tuple[Observation, ...] = ()
    """The appended part in words; empty before the first turn, which is preceded by the problem, unless an agent worded it otherwise."""
    starts_segment: bool = False
    """True if a later turn begins a new segment: the chat template would have changed earlier text, so that the conversation was
    rendered from scratch instead of extended, or an agent began another conversation."""


def segments_of(turns: Sequence[Turn]) -> tuple[tuple[Turn, ...], ...]:
    """Group turns into token sequences."""
    starts = [index for index, turn in enumerate(turns) if index == 0 or turn.starts_segment]
    return tuple(tuple(turns[start:end]) for start, end in zip(starts, [*starts[1:], len(turns)][: len(starts)], strict=True))


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One episode of one problem under one system prompt."""

    problem: Problem
    prompt_id: int
    sample: int
    """Index among the group's rollouts; with the run's seed it determines the sampler's seed."""
    turns: tuple[Turn, ...]
    reward: float
    outcome: Outcome
    error: str | None = None
    """Set if the outcome is ERROR or TIMEOUT: what failed, in one line."""
    limit: Limit | None = None
    """Set if the outcome is TRUNCATED: the limit that was reached."""
    measures: Mapping[str, float] = field(default_factory=dict[str, float])
    """Further numbers that the environment reports, e.g. ``f1``; they are not learned from."""
    submitted: str | None = None
    """What an agent handed in, which was graded; None: no agent played, or it handed in nothing."""

    @property
    def text(self) -> str:
        """Join everything the policy said, turn by turn."""
        return "\n".join(turn.completion.text for turn in self.turns)

    @property
    def segments(self) -> tuple[tuple[Turn, ...], ...]:
        """Group the turns into token sequences; there is one sequence unless the chat template could not be extended."""
        return segments_of(self.turns)

    @property
    def was_cut(self) -> bool:
        """True if the token limit ended the last turn."""
        return bool(self.turns) and self.turns[-1].completion.stop_reason is StopReason.LENGTH

    @property
    def generated_tokens(self) -> int:
        """Count the tokens sampled from the policy in this episode."""
        return sum(turn.completion.sampled_tokens for turn in self.turns)


@dataclass(frozen=True, slots=True)
class TrajectoryGroup:
    """The G rollouts of one problem under one system prompt."""

    problem: Problem
    prompt_id: int
    trajectories_G: tuple[Trajectory, ...]

    @property
    def graded_rewards(self) -> tuple[float, ...]:
        """Return the rewards in the order of the samples, without failures of the grader or the environment."""
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
    """Origin of a system prompt."""

    origin: str
    """`ROOT_ORIGIN`, or an operator's name."""
    parent_ids: tuple[int, ...] = ()
    """Mutation: one parent. Crossover: the best prompt first, then the others."""
    born_step: int = 0
    """The iteration whose rollouts the prompt was written from; 0 for the root."""


@dataclass(frozen=True, slots=True)
class SystemPrompt:
    """A numbered list of principles (shown as G0, G1, …) with its rating and its lineage."""

    id: int
    """Unique within the run; the root is 0; a child's id is larger than its parents'."""
    principles: tuple[str, ...]
    rating: Rating
    lineage: Lineage
    matches: int = 0
    """Number of rankings the prompt took part in."""


MOST_WRITTEN: Final = 20_000
"""Characters that are kept of a text that could not be read."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A child that was not born, and why. Always recorded."""

    step: int
    origin: str
    """The operator's name."""
    parent_ids: tuple[int, ...]
    reason: str
    """Category, e.g. ``no_contrast``, ``no_edits``, ``unparseable``, ``unchanged``, ``too_long``, ``not_accepted``."""
    detail: str = ""
    """One line, at most a few hundred characters: e.g. the start of the text that could not be parsed."""
    written: tuple[str, ...] = ()
    """The editor's texts that could not be read, each as a whole, up to `MOST_WRITTEN` characters."""


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """A request for one completion: the conversation so far, as ids and in words."""

    prompt_T: tuple[int, ...]
    """Ids to continue: everything exactly as it was seen and sampled. Empty if the engine's chat has no ids."""
    seed: int
    """Seed of the draw; the same weights, prompt and seed give the same tokens."""
    max_tokens: int
    temperature: float
    """0 means greedy."""
    top_p: float = 1.0
    messages: tuple[Message, ...] = ()
    """The same conversation for an engine without token ids, one message per turn."""


@dataclass(frozen=True, slots=True)
class Datum:
    """One trajectory as the trainer sees it: one token sequence, part of which the policy sampled."""

    tokens_T: tuple[int, ...]
    mask_T: tuple[bool, ...]
    """True for tokens sampled by the policy; False for prompt, user and tool tokens."""
    logprobs_T: tuple[float, ...]
    """The sampler's log-probability of each token; 0.0 where the mask is False."""
    advantage: float
    temperature: float
    """The temperature the tokens were drawn at; the trainer divides its logits by it."""
    advantages_T: tuple[float, ...] = ()
    """Advantage of each token, where they differ; empty: `advantage` is that of every sampled token."""

    def advantage_at(self, token: int) -> float:
        """Return the advantage of a sampled token."""
        return self.advantages_T[token] if self.advantages_T else self.advantage


def all_equal(values: Sequence[float]) -> bool:
    """Return whether a group has no contrast, so that its centred rewards are all zero."""
    return all(value == values[0] for value in values)
