"""Rollouts: every prompt meets every problem, G times. Failures of an environment are data, not crashes.

An episode is a coroutine: it asks for a turn, lets its environment answer in a thread, and goes on. How the requests of a batch reach the
engine depends on the engine (`scheduling`). At most as many environments answer at a time as they allow, and the event loop never waits
for a grader or a tool. Later turns are appended to the tokens as sampled; nothing is ever re-tokenised. If the chat template cannot be
extended, a new segment begins: the conversation is rendered from scratch, and its sampled turns become part of the prompt.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, TypeVar

from espl_bench.engines.engine import Chat, SamplingClient
from espl_bench.engines.rendered_chat import opened_by
from espl_bench.environment.agent_env import AgentEnv
from espl_bench.environment.pool import EnvPool
from espl_bench.environment.text_env import TextEnv
from espl_bench.errors import ModelError
from espl_bench.gateway.session import Sampling, placing
from espl_bench.prompts.dialect import Dialect, Placement
from espl_bench.rollouts.agent_episode import AgentHost
from espl_bench.rollouts.episode import Ending, EnvReply, answer, begin, hand_in, with_earned
from espl_bench.rollouts.scheduling import GroupedLockstep, Immediate, RequestScheduler
from espl_bench.rollouts.watchdog import RolloutState, Watchdog, stop
from espl_bench.seeding import seed_for
from espl_bench.tools.tool_env import as_text
from espl_bench.types import (
    Completion,
    Limit,
    Message,
    Observation,
    Outcome,
    Problem,
    SampleRequest,
    SystemPrompt,
    Trajectory,
    TrajectoryGroup,
    Turn,
)
from espl_bench.utils.foreign_text import readable

Said = TypeVar("Said")


@dataclass(frozen=True)
class RolloutSpec:
    """Settings shared by all rollouts of a run: environment, wording, and sampling of the policy."""

    make_env: Callable[[], TextEnv]
    dialect: Dialect
    placement: Placement
    chat: Chat
    temperature: float
    top_p: float
    max_tokens: int
    run_seed: int
    continuous: bool = False
    """True if the engine batches continuously: requests are then sent as episodes proceed, not once per turn of all episodes."""
    sampling_groups: int = 1
    """Otherwise, the number of groups of episodes that proceed turn by turn on their own."""
    max_episode_tokens: int | None = None
    """Tokens of an episode, prompt and observations included; None: the size of the model's context."""
    native_tools: bool = False
    """True if `chat` words calls and replies in the model's own tool format, rather than as text."""
    show: Callable[[Sequence[str]], Sequence[str]] = tuple
    """Returns the principles that the policy sees: a prompt's own, unless a control replaces them."""

    @cached_property
    def pool(self) -> EnvPool:
        """Instances of the environment. Whoever made the spec closes it."""
        return EnvPool(self.make_env)

    def prompt_tokens(self, principles: Sequence[str], question: str) -> tuple[int, ...]:
        """Render a problem under a system prompt as ids, the same for training and evaluation."""
        return self.chat.encode(self.prompt_messages(principles, question))

    def prompt_messages(self, principles: Sequence[str], question: str) -> tuple[Message, ...]:
        """Render the same in words."""
        return self.dialect.prompt_messages(self.show(principles), question, self.placement, self.chat.harmless)


@dataclass
class _Episode:
    """One rollout in progress."""

    spec: RolloutSpec
    problem: Problem
    prompt: SystemPrompt
    sample: int
    seed_keys: tuple[str | int, ...]
    env: TextEnv | None = None
    """Lent by the pool while the episode is under way."""
    earned: float = 0.0
    """Sum of the rewards of the turns before the last."""
    submitted: str | None = None
    """What an agent handed in."""
    turns: list[Turn] = field(default_factory=list[Turn])
    state: RolloutState = RolloutState.WAITING
    since: float = field(default_factory=time.monotonic)

    @property
    def name(self) -> str:
        """Return a human-readable id for log messages."""
        return f"{self.problem.id} under prompt {self.prompt.id}, sample {self.sample}, turn {len(self.turns) + 1}"

    def goes(self, state: RolloutState) -> None:
        """Set its state."""
        self.state, self.since = state, time.monotonic()

    def request(self, context: "_Context") -> SampleRequest:
        """Build the next sampling request."""
        return SampleRequest(
            prompt_T=context.tokens_T,
            seed=self.seed(len(self.turns)),
            max_tokens=min(self.spec.max_tokens, context.room),
            temperature=self.spec.temperature,
            top_p=self.spec.top_p,
            messages=context.messages,
        )

    def seed(self, turn: int) -> int:
        """Return the seed of a turn."""
        return seed_for(self.spec.run_seed, *self.seed_keys, self.sample, turn)

    def begun(self) -> str | Ending:
        """Take an instance and begin. Blocking."""
        self.env = self.spec.pool.take()
        return begin(self.env, self.problem)

    def ended(self, ending: Ending) -> Trajectory:
        """Give the instance back and build the finished trajectory. An instance that failed is not used again."""
        if self.env is not None:
            self.spec.pool.give_back(self.env, usable=ending.outcome.graded)
            self.env = None
        ending = with_earned(ending, self.earned)
        result = (ending.reward, ending.outcome, ending.error, ending.limit, ending.measures, self.submitted)
        return Trajectory(self.problem, self.prompt.id, self.sample, tuple(self.turns), *result)


@dataclass(frozen=True, slots=True)
class _Context:
    """State of an episode before the policy speaks."""

    messages: tuple[Message, ...]
    """The whole conversation."""
    tokens_T: tuple[int, ...]
    """Everything so far, or since the segment began."""
    observation_T: tuple[int, ...]
    """The part appended since the policy last spoke."""
    room: int
    """Tokens left for the episode."""
    observations: tuple[Observation, ...] = ()
    """The appended part, in words."""
    starts_segment: bool = False
    """True if a new segment begins."""
    thought: str = ""
    """What opens the policy's thoughts at the end of the conversation, if the chat template does: a part of what the policy says."""

    def follow(self, spec: RolloutSpec, completion: Completion, reply: EnvReply) -> "_Context":
        """Return the context after a turn and its reply."""
        observations = tuple(replace(observation, text=spec.chat.harmless(observation.text)) for observation in reply.observations)
        ended = next(reversed(completion.tokens_T), None)
        try:
            conversation, replies = self._worded(completion.text, replace(reply, observations=observations), native=spec.native_tools)
            appended_T = spec.chat.continuation(conversation, replies, ended)
        except ModelError:  # some templates support only one call per turn
            if not spec.native_tools:
                raise
            conversation, replies = self._worded(completion.text, replace(reply, observations=observations), native=False)
            appended_T = spec.chat.continuation(conversation, replies, ended)
        messages = (*conversation, *replies)
        starts_segment = appended_T is None
        observation_T = spec.chat.encode(messages) if appended_T is None else appended_T
        tokens_T = observation_T if starts_segment else (*self.tokens_T, *completion.tokens_T, *observation_T)
        used = completion.usage.prompt + completion.usage.sampled if completion.usage else len(tokens_T)
        thought = opened_by(spec.chat, messages)
        return _Context(messages, tokens_T, observation_T, _room(spec, used), observations, starts_segment, thought)

    def _worded(self, text: str, reply: EnvReply, *, native: bool) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
        """Word the conversation and the replies. Falls back to plain text if any call in the turn is malformed."""
        if native and reply.calls and len(reply.calls) == len(reply.observations):
            said = Message("assistant", reply.said, reply.calls)
            return (*self.messages, said), tuple(
                Message("tool", observation.text, tool=observation.tool) for observation in reply.observations
            )
        return (*self.messages, Message("assistant", text)), (Message("user", as_text(reply.observations)),)


def _room(spec: RolloutSpec, used: int) -> int:
    return spec.max_tokens if spec.max_episode_tokens is None else spec.max_episode_tokens - used


class _Stage:
    """State shared by the episodes of one round: scheduler, environment threads, places, and rendered prompts."""

    def __init__(self, spec: RolloutSpec, pace: RequestScheduler, threads: ThreadPoolExecutor, places: int, agents: AgentHost) -> None:
        self._spec = spec
        self._pace = pace
        self._threads = threads
        self._agents = agents
        self._places = asyncio.Semaphore(places)
        self._rendered: dict[tuple[int, str], _Context] = {}

    async def play(self, index: int, episode: _Episode) -> Trajectory:
        """Run one episode from its question to its ending."""
        async with self._places:
            trajectory = episode.ended(await self._to_its_end(index, episode))
        episode.goes(RolloutState.DONE)
        await self._pace.leave(index)
        return trajectory

    async def _to_its_end(self, index: int, episode: _Episode) -> Ending:
        question = await self._off_the_loop(episode, episode.begun)
        if isinstance(question, Ending):
            return question
        if isinstance(episode.env, AgentEnv):
            return await self._agent_plays(index, episode, episode.env, question)
        context = self._opening(episode, question)
        while True:
            if context.room < 1:
                return Ending(0.0, Outcome.TRUNCATED, limit=Limit.TOKENS)
            completion = _readable((await self._ask(index, episode, episode.request(context))).after(context.thought))
            episode.turns.append(Turn(context.observation_T, completion, context.observations, context.starts_segment))
            answered = await self._off_the_loop(episode, _go_on, episode, context, completion)
            if isinstance(answered, Ending):
                return answered
            context = answered

    async def _agent_plays(self, index: int, episode: _Episode, env: AgentEnv, question: str) -> Ending:
        """Let an agent play, and grade what it hands in."""
        spec, ask = self._spec, partial(self._ask, index, episode)
        led, worded = spec.dialect.prompt_messages(spec.show(episode.prompt.principles), question, Placement.SYSTEM, spec.chat.harmless)
        played = await self._agents.play(env, worded, placing(led.content, spec.placement), ask, episode.seed)
        episode.turns.extend(played.turns)
        if isinstance(played.result, Ending):
            return played.result
        episode.submitted = played.result
        return await self._off_the_loop(episode, hand_in, env, played.result, played.turns[-1].completion.stop_reason)

    async def _ask(self, index: int, episode: _Episode, request: SampleRequest) -> Completion:
        episode.goes(RolloutState.ENGINE)
        completion = await self._pace.ask(index, request)
        episode.goes(RolloutState.ENVIRONMENT)
        return completion

    async def _off_the_loop(self, episode: _Episode, work: Callable[..., Said], *arguments: Any) -> Said:
        """Run the environment's work in a thread, while the event loop continues."""
        episode.goes(RolloutState.ENVIRONMENT)
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    def _opening(self, episode: _Episode, question: str) -> _Context:
        """Render the prompt, in words and as ids. Identical prompts are rendered once."""
        same = (episode.prompt.id, question)
        if same not in self._rendered:
            messages = self._spec.prompt_messages(episode.prompt.principles, question)
            tokens_T = self._spec.chat.encode(messages)
            room, thought = _room(self._spec, len(tokens_T)), opened_by(self._spec.chat, messages)
            self._rendered[same] = _Context(messages, tokens_T, tokens_T, room, thought=thought)
        return self._rendered[same]


def _readable(completion: Completion) -> Completion:
    """Return the completion with a text that can be stored and sent on; an engine that is not ours may return any."""
    text = readable(completion.text)
    return completion if text == completion.text else replace(completion, text=text)


def _go_on(episode: _Episode, context: _Context, completion: Completion) -> _Context | Ending:
    """Step the environment and render its reply. Blocking; runs in a worker thread."""
    assert episode.env is not None, "it has begun"
    answered = answer(episode.env, completion.text, completion.stop_reason)
    if isinstance(answered, Ending):
        return answered
    episode.earned += answered.reward
    return context.follow(episode.spec, completion, answered)


async def roll_out(
    client: SamplingClient,
    spec: RolloutSpec,
    prompts_K: Sequence[SystemPrompt],
    problems_P: Sequence[Problem],
    group_size: int,
    *seed_keys: str | int,
    watchdog: Watchdog | None = None,
) -> tuple[TrajectoryGroup, ...]:
    """Roll out K·P groups, prompt by prompt and, within each, problem by problem.

    Args:
        client: samples from the policy.
        spec: environment and wording.
        prompts_K: the prompts of this batch; a repeated one is rolled out again, with different seeds.
        problems_P: the problems.
        group_size: G, rollouts per prompt and problem.
        seed_keys: name the phase (and step) in the derived seeds; slot, problem and sample are added.
        watchdog: reports stuck rollouts.
    """
    episodes = [
        _Episode(spec, problem, prompt, sample, (*seed_keys, slot, problem.id))
        for slot, prompt in enumerate(prompts_K)
        for problem in problems_P
        for sample in range(group_size)
    ]
    if not episodes:
        return ()
    allowed = await asyncio.to_thread(spec.pool.concurrency)
    places = max(1, min(allowed.episodes or len(episodes), len(episodes)))
    threads = ThreadPoolExecutor(max(1, min(allowed.steps, places)), thread_name_prefix="episode")
    watching = asyncio.create_task((watchdog or _NOBODY).watch(episodes))
    agents = AgentHost(Sampling(spec.chat, spec.max_tokens, spec.temperature, spec.top_p, spec.max_episode_tokens))
    results: list[Trajectory] = []
    try:
        for round_ in _rounds(episodes, len(episodes) if spec.continuous else places):
            pace = Immediate(client) if spec.continuous else GroupedLockstep(client, len(round_), spec.sampling_groups)
            stage = _Stage(spec, pace, threads, places, agents)
            results += await _together([stage.play(index, episode) for index, episode in enumerate(round_)])
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        agents.close()
        await stop(watching)
    return tuple(
        TrajectoryGroup(results[start].problem, results[start].prompt_id, tuple(results[start : start + group_size]))
        for start in range(0, len(results), group_size)
    )


def _rounds(episodes: Sequence[_Episode], most: int) -> Iterator[Sequence[_Episode]]:
    """Divide the episodes into rounds: those of a lockstep are under way together, so that no more may be in one than are allowed."""
    yield from (episodes[start : start + most] for start in range(0, len(episodes), most))


_NOBODY = Watchdog(0.0, lambda message: None)


async def _together(plays: Sequence[Coroutine[Any, Any, Trajectory]]) -> list[Trajectory]:
    """Return the results in order. The first failure cancels all others and is raised."""
    tasks = [asyncio.create_task(play) for play in plays]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
