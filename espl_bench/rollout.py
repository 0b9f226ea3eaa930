"""Rollouts: every prompt meets every problem, G times. Failures of an environment are data, not crashes.

All episodes go turn by turn in lockstep, so that one call samples a whole turn of the batch. Later turns are appended to
the tokens as sampled; nothing is ever re-tokenised.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from espl_bench.dialect import Dialect, Placement
from espl_bench.engines.protocol import Chat, SamplingClient
from espl_bench.env import TextEnv
from espl_bench.errors import EnvironmentFault
from espl_bench.seeding import seed_for
from espl_bench.types import (
    Completion,
    Message,
    Outcome,
    Problem,
    SampleRequest,
    StopReason,
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
    prompt_id: int
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

    def take(self, completion: Completion) -> None:
        """Let the environment answer a completion; sets `result` when the episode ends."""
        self.turns.append(Turn(self.observation_T, completion))
        try:
            observation, reward, terminated, truncated, info = self.env.step(completion.text)
        except EnvironmentFault as fault:
            self.end(0.0, Outcome.ERROR, str(fault))
            return
        if terminated or truncated:
            self.end(reward, _outcome(info["outcome"], completion.stop_reason), info.get("error"))
            return
        if completion.stop_reason is StopReason.LENGTH:  # a turn that was not closed cannot be followed by another
            self.end(reward, Outcome.TRUNCATED, None)
            return
        answer = Message("user", observation)
        self.messages = (*self.messages, Message("assistant", completion.text), answer)
        self.observation_T = self.task.chat.continuation(answer)
        self.tokens = (*self.tokens, *completion.tokens_T, *self.observation_T)

    def end(self, reward: float, outcome: Outcome, error: str | None) -> None:
        """Set the result."""
        self.result = Trajectory(self.problem, self.prompt_id, self.sample, tuple(self.turns), reward, outcome, error)


def _outcome(outcome: Outcome, stop: StopReason) -> Outcome:
    """A text without an answer that was cut by the token limit is truncated, not unanswered."""
    return Outcome.TRUNCATED if outcome is Outcome.NO_ANSWER and stop is StopReason.LENGTH else outcome


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
        episode
        for slot, prompt in enumerate(prompts_K)
        for problem in problems_P
        for episode in _begin(task, prompt, problem, group_size, (*seed_keys, slot, problem.id))
    ]
    live = [episode for episode in episodes if episode.result is None]
    while live:
        completions = await client.sample([episode.request() for episode in live])
        for episode, completion in zip(live, completions, strict=True):
            episode.take(completion)
        live = [episode for episode in live if episode.result is None]
    results = [episode.result for episode in episodes if episode.result is not None]
    return tuple(
        TrajectoryGroup(results[start].problem, results[start].prompt_id, tuple(results[start : start + group_size]))
        for start in range(0, len(results), group_size)
    )


def _begin(task: Task, prompt: SystemPrompt, problem: Problem, group_size: int, seed_keys: tuple[str | int, ...]) -> list[_Episode]:
    """The G episodes of one group, at their first turn, or ended by a fault. The prompt is rendered once."""
    episodes: list[_Episode] = []
    tokens: tuple[int, ...] = ()
    messages: tuple[Message, ...] = ()
    for sample in range(group_size):
        env = task.make_env()
        episode = _Episode(task, env, problem, prompt.id, sample, seed_keys)
        try:
            question, _ = env.reset(options={"split": problem.split, "index": problem.index})
        except EnvironmentFault as fault:
            episode.end(0.0, Outcome.ERROR, str(fault))
        else:
            messages = messages or task.prompt_messages(prompt.principles, question)
            tokens = tokens or task.chat.encode(messages)
            episode.tokens = episode.observation_T = tokens
            episode.messages = messages
        episodes.append(episode)
    return episodes


def outcome_rates(trajectories: Sequence[Trajectory]) -> dict[Outcome, float]:
    """Share of each outcome that occurred, most frequent kinds named in the enum's order."""
    total = len(trajectories)
    counts = {outcome: sum(t.outcome is outcome for t in trajectories) for outcome in Outcome}
    return {outcome: count / total for outcome, count in counts.items() if count}


def rollout_rows(groups_KP: Sequence[TrajectoryGroup]) -> list[dict[str, object]]:
    """The rollouts as they are stored: enough to re-grade them and to read them."""
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
                "response": trajectory.text,
                "reward": trajectory.reward,
                "outcome": trajectory.outcome.value,
                "stop_reason": trajectory.turns[-1].completion.stop_reason.value if trajectory.turns else None,
                "generated_tokens": trajectory.generated_tokens,
                "error": trajectory.error,
            }
            for trajectory in group.trajectories_G
        )
    return rows
