"""Rollouts: every prompt meets every problem, G times. Failures of an environment are data, not crashes.

An episode is a coroutine: it asks for a turn, lets its environment answer in a thread, and goes on. How the requests of a batch
reach the engine is the engine's affair (`pacing`). Environments answer as many at a time as they allow, and the event loop
never waits for a grader. Later turns are appended to the tokens as sampled; nothing is ever re-tokenised.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from espl_bench.dialect import Dialect, Placement
from espl_bench.engines.protocol import Chat, SamplingClient
from espl_bench.env import TextEnv
from espl_bench.episode import Ending, answer, begin
from espl_bench.pacing import AsTheyCome, Lockstep, Pace
from espl_bench.seeding import seed_for
from espl_bench.types import (
    Message,
    Problem,
    SampleRequest,
    SystemPrompt,
    Trajectory,
    TrajectoryGroup,
    Turn,
)
from espl_bench.watchdog import Place, Watchdog, stop


@dataclass(frozen=True)
class Task:
    """What all rollouts of a run share: the environment, how it is worded, how the policy is sampled."""

    make_env: Callable[[], TextEnv]
    dialect: Dialect
    placement: Placement
    chat: Chat
    temperature: float
    top_p: float
    max_tokens: int
    run_seed: int
    continuous: bool = False
    """Whether the engine batches continuously: it is then asked as episodes go on, and not once per turn of them all."""

    def prompt_tokens(self, principles: Sequence[str], question: str) -> tuple[int, ...]:
        """The one rendering of a problem under a system prompt, for training and evaluation alike."""
        return self.chat.encode(self.prompt_messages(principles, question))

    def prompt_messages(self, principles: Sequence[str], question: str) -> tuple[Message, ...]:
        """The same in words."""
        return self.dialect.prompt_messages(principles, question, self.placement)


@dataclass
class _Episode:
    """One rollout on its way."""

    task: Task
    env: TextEnv
    problem: Problem
    prompt: SystemPrompt
    sample: int
    seed_keys: tuple[str | int, ...]
    turns: list[Turn] = field(default_factory=list[Turn])
    place: Place = Place.ENVIRONMENT
    since: float = field(default_factory=time.monotonic)

    @property
    def name(self) -> str:
        """For whoever looks for it."""
        return f"{self.problem.id} under prompt {self.prompt.id}, sample {self.sample}, turn {len(self.turns) + 1}"

    def goes(self, place: Place) -> None:
        """Note where it is from now on."""
        self.place, self.since = place, time.monotonic()

    def request(self, tokens: tuple[int, ...], messages: tuple[Message, ...]) -> SampleRequest:
        """What to sample next."""
        return SampleRequest(
            prompt_T=tokens,
            seed=seed_for(self.task.run_seed, *self.seed_keys, self.sample, len(self.turns)),
            max_tokens=self.task.max_tokens,
            temperature=self.task.temperature,
            top_p=self.task.top_p,
            messages=messages,
        )

    def ended(self, ending: Ending) -> Trajectory:
        """The whole of it."""
        return Trajectory(self.problem, self.prompt.id, self.sample, tuple(self.turns), ending.reward, ending.outcome, ending.error)


class _Stage:
    """What the episodes of one batch share: the way to the engine, the threads of their environments, and rendered prompts."""

    def __init__(self, task: Task, pace: Pace, threads: ThreadPoolExecutor) -> None:
        """Nothing is rendered yet."""
        self._task = task
        self._pace = pace
        self._threads = threads
        self._rendered: dict[tuple[int, str], tuple[tuple[Message, ...], tuple[int, ...]]] = {}

    async def play(self, place: int, episode: _Episode) -> Trajectory:
        """One episode from its question to its ending."""
        ending = await self._to_its_end(place, episode)
        episode.goes(Place.DONE)
        await self._pace.leave(place)
        return episode.ended(ending)

    async def _to_its_end(self, place: int, episode: _Episode) -> Ending:
        question = await self._off_the_loop(episode, begin, episode.env, episode.problem)
        if isinstance(question, Ending):
            return question
        messages, tokens = self._opening(episode, question)
        observation_T = tokens
        while True:
            episode.goes(Place.ENGINE)
            completion = await self._pace.ask(place, episode.request(tokens, messages))
            answered = await self._off_the_loop(episode, answer, episode.env, completion.text, completion.stop_reason)
            episode.turns.append(Turn(observation_T, completion))
            if isinstance(answered, Ending):
                return answered
            reply = Message("user", answered)
            messages = (*messages, Message("assistant", completion.text), reply)
            observation_T = self._task.chat.continuation(reply)
            tokens = (*tokens, *completion.tokens_T, *observation_T)

    async def _off_the_loop(self, episode: _Episode, work: Callable[..., str | Ending], *arguments: Any) -> str | Ending:
        """What the environment says, while the event loop goes on."""
        episode.goes(Place.ENVIRONMENT)
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    def _opening(self, episode: _Episode, question: str) -> tuple[tuple[Message, ...], tuple[int, ...]]:
        """The rendered prompt, in words and as ids. What is the same is rendered once."""
        same = (episode.prompt.id, question)
        if same not in self._rendered:
            messages = self._task.prompt_messages(episode.prompt.principles, question)
            self._rendered[same] = messages, self._task.chat.encode(messages)
        return self._rendered[same]


async def roll_out(
    client: SamplingClient,
    task: Task,
    prompts_K: Sequence[SystemPrompt],
    problems_P: Sequence[Problem],
    group_size: int,
    *seed_keys: str | int,
    watchdog: Watchdog | None = None,
) -> tuple[TrajectoryGroup, ...]:
    """K·P groups, prompt by prompt and in each problem by problem.

    Args:
        client: samples from the policy.
        task: environment and wording.
        prompts_K: the prompts of this batch; one that stands twice is rolled out twice, with different seeds.
        problems_P: the problems.
        group_size: G, rollouts per prompt and problem.
        seed_keys: name the phase (and step) in the derived seeds; slot, problem and sample are added.
        watchdog: tells of rollouts that are stuck.
    """
    episodes = [
        _Episode(task, task.make_env(), problem, prompt, sample, (*seed_keys, slot, problem.id))
        for slot, prompt in enumerate(prompts_K)
        for problem in problems_P
        for sample in range(group_size)
    ]
    at_once = episodes[0].env.steps_at_once if episodes else 1
    pace = AsTheyCome(client) if task.continuous else Lockstep(client, len(episodes))
    threads = ThreadPoolExecutor(max(1, min(at_once, len(episodes))), thread_name_prefix="episode")
    watching = asyncio.create_task((watchdog or _NOBODY).watch(episodes))
    try:
        stage = _Stage(task, pace, threads)
        results = await _together([stage.play(place, episode) for place, episode in enumerate(episodes)])
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        await stop(watching)
    return tuple(
        TrajectoryGroup(results[start].problem, results[start].prompt_id, tuple(results[start : start + group_size]))
        for start in range(0, len(results), group_size)
    )


_NOBODY = Watchdog(0.0, lambda message: None)


async def _together(plays: Sequence[Coroutine[Any, Any, Trajectory]]) -> list[Trajectory]:
    """The results in order. The first failure ends all and is raised."""
    tasks = [asyncio.create_task(play) for play in plays]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


def rollout_rows(groups_KP: Sequence[TrajectoryGroup]) -> list[dict[str, object]]:
    """The rollouts as they are stored: enough to read them, and to replay them to the environment turn by turn."""
    seen: dict[tuple[int, str], int] = {}
    rows: list[dict[str, object]] = []
    for group in groups_KP:
        slot = seen.setdefault((group.prompt_id, group.problem.id), 0)
        seen[group.prompt_id, group.problem.id] += 1
        rows.extend(
            {
                "problem_id": group.problem.id,
                "question": group.problem.question,
                "answer": group.problem.answer,
                "prompt_id": group.prompt_id,
                "slot": slot,
                "sample": trajectory.sample,
                "turns": [turn.completion.text for turn in trajectory.turns],
                "reward": trajectory.reward,
                "outcome": trajectory.outcome.value,
                "stop_reason": trajectory.turns[-1].completion.stop_reason.value if trajectory.turns else None,
                "generated_tokens": trajectory.generated_tokens,
                "error": trajectory.error,
            }
            for trajectory in group.trajectories_G
        )
    return rows
