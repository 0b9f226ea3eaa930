"""One episode: an environment, and the policy's messages turn by turn. A rollout and the replay of a stored one take the same steps.

A failure of the environment ends the episode, and is not a crash; anything else that it raises is a bug and propagates.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TypeVar

from espl_bench.environment.agent_env import AgentEnv
from espl_bench.environment.text_env import TextEnv
from espl_bench.errors import EnvError
from espl_bench.tools.markers import is_same_reading
from espl_bench.tools.tool_env import Exchange, ToolEnv
from espl_bench.types import Limit, Observation, Outcome, Problem, StopReason, ToolCall
from espl_bench.utils.numbers import is_bounded

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of an episode."""

    reward: float
    outcome: Outcome
    error: str | None = None
    """What failed, in one line, if the outcome is TIMEOUT or ERROR."""
    limit: Limit | None = None
    """The limit that was reached, if the outcome is TRUNCATED."""
    measures: Mapping[str, float] = field(default_factory=dict[str, float])
    """Further numbers that the environment reports."""


@dataclass(frozen=True, slots=True)
class EnvReply:
    """The environment's reply to a turn that is not the last."""

    observations: tuple[Observation, ...]
    reward: float = 0.0
    """What the turn earned; an episode earns the sum."""
    said: str = ""
    """The policy's text outside the `calls`."""
    calls: tuple[ToolCall, ...] = ()
    """The policy's tool calls."""


def begin(env: TextEnv, problem: Problem) -> str | Ending:
    """Return the first observation, or an ending if the environment cannot begin."""
    try:
        question, _ = env.reset(options={"split": problem.split, "index": problem.index})
    except EnvError as fault:
        return Ending(0.0, Outcome.ERROR, str(fault))
    return question


def answer(env: TextEnv, text: str, stop: StopReason) -> EnvReply | Ending:
    """Step the environment with a turn of the policy: return its reply, or the ending. Blocking, with no time limit of its own."""
    try:
        if stop is StopReason.LENGTH and isinstance(env, ToolEnv) and env.is_called_by(text):
            return Ending(0.0, Outcome.TRUNCATED, limit=Limit.TURN)  # the policy would not see the reply
        observation, reward, terminated, truncated, info = env.step(text)
    except EnvError as fault:
        return Ending(0.0, Outcome.ERROR, str(fault))
    if terminated or truncated:
        outcome = _outcome(info["outcome"], stop)
        limit = info.get("limit") or (Limit.TURN if outcome is Outcome.TRUNCATED else None)
        return _bounded(Ending(reward, outcome, info.get("error"), limit, info.get("measures", {})))
    if stop is StopReason.LENGTH or not is_bounded(reward):  # an unfinished turn cannot be followed by another
        return _bounded(Ending(reward, Outcome.TRUNCATED, limit=Limit.TURN))
    exchange = info.get("exchange")
    if isinstance(exchange, Exchange):
        return EnvReply(exchange.observations, reward, exchange.said, exchange.calls)
    return EnvReply((Observation(observation),), reward)


def with_earned(ending: Ending, earned: float) -> Ending:
    """Add what earlier turns earned to an ending. One that is not graded earns nothing."""
    return _bounded(replace(ending, reward=earned + ending.reward)) if ending.outcome.graded else ending


def _bounded(ending: Ending) -> Ending:
    """Return an ending, or an error in its place if a row cannot hold its numbers: they would end the run, or be lost in it."""
    numbers = {"reward": ending.reward, **ending.measures}
    broken = [f"{name} {value}" for name, value in numbers.items() if not is_bounded(value)]
    return Ending(0.0, Outcome.ERROR, f"the environment gave the {broken[0]}") if broken else ending


def _outcome(outcome: Outcome, stop: StopReason) -> Outcome:
    """Report a text without an answer that was cut by the token limit as truncated, not unanswered."""
    return Outcome.TRUNCATED if outcome is Outcome.NO_ANSWER and stop is StopReason.LENGTH else outcome


def replay(
    env: TextEnv,
    problem: Problem,
    texts: Sequence[str],
    stop: StopReason,
    observations: Sequence[Sequence[Observation]] = (),
    limit: Limit | None = None,
) -> Ending:
    """Replay an episode in which the policy said these texts, the last of which ended by `stop`; return its ending.

    The environment recalls its recorded replies (`observations`, turn by turn), so no tool is called. An episode that ends earlier or
    later than the texts, or in which the environment replies otherwise, is an error: the environment is not the one they were recorded in.
    An episode ended by its token limit (`limit`) keeps that ending, since the environment gave none; the reply to its last text was left
    out.
    """
    env.recall(observations)
    answered: str | EnvReply | Ending = begin(env, problem)
    earned = 0.0
    for turn, text in enumerate(texts, start=1):
        if isinstance(answered, Ending):
            return Ending(0.0, Outcome.ERROR, answered.error or f"the episode ended before turn {turn} of {len(texts)}")
        if limit is Limit.TOKENS and turn == len(texts):
            return with_earned(Ending(0.0, Outcome.TRUNCATED, limit=limit), earned)
        answered = answer(env, text, stop if turn == len(texts) else StopReason.STOP)
        if isinstance(answered, EnvReply):
            if turn <= len(observations) and not _as_recorded(answered.observations, observations[turn - 1]):
                return Ending(0.0, Outcome.ERROR, f"the environment's reply to turn {turn} is not the recorded one")
            earned += answered.reward
    if isinstance(answered, Ending):
        return with_earned(answered, earned)
    return Ending(0.0, Outcome.ERROR, f"the episode has not ended after turn {len(texts)}")


def _as_recorded(replies: Sequence[Observation], recorded: Sequence[Observation]) -> bool:
    """Compare replies with those that were rendered for the policy, whose markers were broken up."""
    pairs = list(zip(replies, recorded, strict=False))
    return len(replies) == len(recorded) and all(is_same_reading(stored.text, reply.text) for reply, stored in pairs)


def hand_in(env: AgentEnv, submitted: str, stop: StopReason) -> Ending:
    """Have what an agent handed in graded, the last of whose completions ended by `stop`. Blocking."""
    answered = answer(env, submitted, stop)
    return answered if isinstance(answered, Ending) else Ending(0.0, Outcome.ERROR, "the episode has not ended with what was handed in")


def hand_in_again(env: AgentEnv, problem: Problem, submitted: str | None, recorded: Ending, stop: StopReason) -> Ending:
    """Grade an agent's stored episode again. One in which nothing was handed in keeps its ending, if that was no grade."""
    if submitted is None:
        ungraded = recorded.outcome is Outcome.TRUNCATED or not recorded.outcome.graded
        return replace(recorded, reward=0.0) if ungraded else Ending(0.0, Outcome.ERROR, "nothing was handed in")
    begun = begin(env, problem)
    return begun if isinstance(begun, Ending) else hand_in(env, submitted, stop)


def side_by_side(work: Callable[[Item], Result], items: Sequence[Item], at_once: int) -> Iterator[Result]:
    """Map in the order of the items, with at most `at_once` in progress in threads; with one, in the caller's thread."""
    if at_once <= 1 or len(items) <= 1:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(min(at_once, len(items)), thread_name_prefix="episode") as threads:
        yield from threads.map(work, items)
