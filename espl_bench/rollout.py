"""Rollouts: every prompt meets every problem, G times. Failures of an environment are data, not crashes.

All episodes go turn by turn in lockstep, so that one call samples a whole turn of the batch. Environments answer in threads,
as many at a time as they allow, so that the event loop never waits for a grader. Later turns are appended to the tokens as
sampled; nothing is ever re-tokenised.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from espl_bench.control import stand_in
from espl_bench.dialect import Dialect, Placement
from espl_bench.engines.protocol import Chat, SamplingClient
from espl_bench.env import TextEnv
from espl_bench.episode import Ending, Item, Result, answer, begin, side_by_side
from espl_bench.seeding import seed_for
from espl_bench.types import (
    Completion,
    Message,
    Problem,
    SampleRequest,
    SystemPrompt,
    Trajectory,
    TrajectoryGroup,
    Turn,
)


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
    irrelevant: tuple[str, ...] = ()
    """Principles that the policy is shown in place of a prompt's own; none: it is shown its own."""

    def prompt_tokens(self, principles: Sequence[str], question: str) -> tuple[int, ...]:
        """The one rendering of a problem under a system prompt, for training and evaluation alike."""
        return self.chat.encode(self.prompt_messages(principles, question))

    def prompt_messages(self, principles: Sequence[str], question: str) -> tuple[Message, ...]:
        """The same in words."""
        shown = stand_in(principles, self.irrelevant) if self.irrelevant else principles
        return self.dialect.prompt_messages(shown, question, self.placement)


@dataclass
class _Episode:
    """One rollout on its way."""

    task: Task
    env: TextEnv
    problem: Problem
    prompt: SystemPrompt
    sample: int
    seed_keys: tuple[str | int, ...]
    tokens: tuple[int, ...] = ()
    """Everything so far, ending where the policy is to speak."""
    messages: tuple[Message, ...] = ()
    """The same in words."""
    observation_T: tuple[int, ...] = ()
    """What was appended since the policy spoke last."""
    turns: list[Turn] = field(default_factory=list[Turn])
    result: Trajectory | None = None

    def request(self) -> SampleRequest:
        """What to sample next."""
        return SampleRequest(
            prompt_T=self.tokens,
            seed=seed_for(self.task.run_seed, *self.seed_keys, self.sample, len(self.turns)),
            max_tokens=self.task.max_tokens,
            temperature=self.task.temperature,
            top_p=self.task.top_p,
            messages=self.messages,
        )

    def begin(self) -> str | Ending:
        """Start the environment, whatever the loop does meanwhile."""
        return begin(self.env, self.problem)

    def answer(self, completion: Completion) -> str | Ending:
        """Let the environment answer, whatever the loop does meanwhile."""
        return answer(self.env, completion.text, completion.stop_reason)

    def go_on(self, completion: Completion, answered: str | Ending) -> None:
        """Append a turn and what was answered; sets `result` when that is the ending."""
        self.turns.append(Turn(self.observation_T, completion))
        if isinstance(answered, Ending):
            self.end(answered)
            return
        reply = Message("user", answered)
        self.messages = (*self.messages, Message("assistant", completion.text), reply)
        self.observation_T = self.task.chat.continuation(reply)
        self.tokens = (*self.tokens, *completion.tokens_T, *self.observation_T)

    def end(self, ending: Ending) -> None:
        """Set the result."""
        found = (ending.reward, ending.outcome, ending.error)
        self.result = Trajectory(self.problem, self.prompt.id, self.sample, tuple(self.turns), *found)


async def roll_out(
    client: SamplingClient,
    task: Task,
    prompts_K: Sequence[SystemPrompt],
    problems_P: Sequence[Problem],
    group_size: int,
    *seed_keys: str | int,
) -> tuple[TrajectoryGroup, ...]:
    """K·P groups, prompt by prompt and in each problem by problem.

    Args:
        client: samples from the policy.
        task: environment and wording.
        prompts_K: the prompts of this batch; one that stands twice is rolled out twice, with different seeds.
        problems_P: the problems.
        group_size: G, rollouts per prompt and problem.
        seed_keys: name the phase (and step) in the derived seeds; slot, problem and sample are added.
    """
    episodes = [
        _Episode(task, task.make_env(), problem, prompt, sample, (*seed_keys, slot, problem.id))
        for slot, prompt in enumerate(prompts_K)
        for problem in problems_P
        for sample in range(group_size)
    ]
    await _begin(task, episodes)
    live = [episode for episode in episodes if episode.result is None]
    while live:
        completions = await client.sample([episode.request() for episode in live])
        turns = list(zip(live, completions, strict=True))
        answers = await _off_the_loop(lambda turn: turn[0].answer(turn[1]), turns, live[0].env.steps_at_once)
        for (episode, completion), answered in zip(turns, answers, strict=True):
            episode.go_on(completion, answered)
        live = [episode for episode in live if episode.result is None]
    results = [episode.result for episode in episodes if episode.result is not None]
    return tuple(
        TrajectoryGroup(results[start].problem, results[start].prompt_id, tuple(results[start : start + group_size]))
        for start in range(0, len(results), group_size)
    )


async def _begin(task: Task, episodes: Sequence[_Episode]) -> None:
    """Bring all episodes to their first turn, or to their end by a fault. What is the same is rendered once."""
    rendered: dict[tuple[int, str], tuple[tuple[Message, ...], tuple[int, ...]]] = {}
    at_once = episodes[0].env.steps_at_once if episodes else 1
    for episode, question in zip(episodes, await _off_the_loop(_Episode.begin, episodes, at_once), strict=True):
        if isinstance(question, Ending):
            episode.end(question)
            continue
        same = (episode.prompt.id, question)
        if same not in rendered:
            messages = task.prompt_messages(episode.prompt.principles, question)
            rendered[same] = messages, task.chat.encode(messages)
        episode.messages, episode.tokens = rendered[same]
        episode.observation_T = episode.tokens


async def _off_the_loop(work: Callable[[Item], Result], items: Sequence[Item], at_once: int) -> list[Result]:
    """`side_by_side` in threads, while the event loop goes on."""
    return await asyncio.to_thread(lambda: list(side_by_side(work, items, at_once)))


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
