"""How well a lab model looks things up, in the real environment and by the rollouts of the harness: following, guessing, reading."""

import asyncio
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from espl_bench.dialect import Placement
from espl_bench.rollout import Task, roll_out
from espl_bench.seeding import seed_for
from espl_bench.types import Lineage, Origin, Outcome, Rating, Split, SystemPrompt, Trajectory
from espl_envs.almanac.env import AlmanacEnv
from espl_envs.almanac.pages import Almanac, hidden_almanac
from espl_envs.almanac.words import TRUST
from espl_envs.lab.courses.almanac import CALL, CHOICES
from espl_envs.lab.language import Belief, as_principles, as_stated, draw_beliefs
from espl_envs.lab.skills import DIALECT
from espl_envs.lab.writer import Rate, Writer

WORLD = 1_000_000
"""The first of the worlds to measure in, far from those that anybody runs in."""
QUESTIONS = 50
"""Asked in each world."""
_QUERY = re.compile(f"{re.escape(CALL[0])} (\\S+) (\\S+) (\\S+) {re.escape(CALL[1])}")
_READ = re.compile(rf"{TRUST} (\S+) (\S+) (?:{re.escape(CALL[0])}|answer )")
_ENTRY = re.compile(r"(\S+) (\S+) [;.]")


@dataclass(frozen=True, slots=True)
class Choice:
    """Something that the model wrote where it had a choice."""

    topic: str
    choice: str
    stated: tuple[str, ...]
    true: bool
    executed: bool
    """Asked about the person it had arrived at; took the claim of the source it trusted."""


def read_choices(trajectory: Trajectory, almanac: Almanac, beliefs: Sequence[Belief]) -> Iterator[Choice]:
    """The choices of an episode that have the expected form."""
    stated = as_stated(beliefs)
    person = trajectory.problem.question.split()[2]
    for turn in trajectory.turns:
        text = turn.completion.text
        told = dict(_ENTRY.findall(turn.heard[0].text)) if turn.heard else {}
        if (read := _READ.search(text)) and read[1] in told:
            yield Choice(TRUST, read[1], stated.get(TRUST, ()), read[1] == almanac.reliable, read[2] == told[read[1]])
            person = read[2]
        if (query := _QUERY.search(text)) and query[2] in almanac.house_words:
            yield Choice(query[2], query[3], stated.get(query[2], ()), query[3] == almanac.house_words[query[2]], query[1] == person)


def play(writer: Writer, beliefs: Sequence[Belief], world: int, split: Split, questions: int) -> list[Trajectory]:
    """One episode of each of the first questions of a split."""
    env = AlmanacEnv(world)
    task = Task(partial(AlmanacEnv, world), DIALECT, Placement.SYSTEM, writer.engine.chat, writer.temperature, 1.0, 16, run_seed=0)
    prompt = SystemPrompt(0, as_principles(beliefs), Rating(), Lineage(Origin.ROOT))

    async def episodes() -> list[Trajectory]:
        client = await writer.engine.reference()
        problems = [env.problem(split, index) for index in range(questions)]
        groups = await roll_out(client, task, [prompt], problems, 1, "measure", split.value, world)
        return [trajectory for group in groups for trajectory in group.trajectories_G]

    return asyncio.run(episodes())


def measure_searching(writer: Writer, items: int) -> list[Rate]:
    """Following, guessing, reading, and whole episodes with everything told."""
    choices: list[Choice] = []
    asked = 0
    for world in range(WORLD, WORLD + max(1, items // QUESTIONS)):
        rng = random.Random(seed_for(0, "measure", "search", world))
        almanac = hidden_almanac(world)
        beliefs = draw_beliefs(rng, almanac.secrets, CHOICES, known=0.5, wrong=0.3)
        for trajectory in play(writer, beliefs, world, Split.TRAIN, QUESTIONS):
            found = list(read_choices(trajectory, almanac, beliefs))
            choices += found
            asked += _expected(trajectory)
    words = [choice for choice in choices if choice.topic != TRUST]
    trusts = [choice for choice in choices if choice.topic == TRUST]
    return [
        Rate("choices written in the expected form", len(choices), asked),
        _followed("stated house word used", words),
        _followed("stated source trusted", trusts),
        _guessed(f"true house word without a principle (chance {1 / 6:.0%})", words),
        _guessed("reliable source without a principle (chance 25%)", trusts),
        Rate("asked about the person it had arrived at", sum(choice.executed for choice in words), len(words)),
        Rate("took the claim of the source it trusted", sum(choice.executed for choice in trusts), len(trusts)),
        measure_told(writer, Split.TRAIN, items // 2),
        measure_told(writer, Split.TEST, items // 2),
    ]


def measure_told(writer: Writer, split: Split, items: int) -> Rate:
    """Whole episodes, everything stated truly."""
    right = total = 0
    for world in range(WORLD, WORLD + max(1, items // QUESTIONS)):
        trajectories = play(writer, list(hidden_almanac(world).secrets.items()), world, split, QUESTIONS)
        right += sum(trajectory.outcome is Outcome.CORRECT for trajectory in trajectories)
        total += len(trajectories)
    return Rate(f"{split} questions right, everything told", right, total)


def _expected(trajectory: Trajectory) -> int:
    """Choices that an episode offered: one to begin with, after each page whom to believe, and what to ask next if it is not the end."""
    steps = trajectory.problem.question.count("'s")
    pages = sum(len(_ENTRY.findall(turn.heard[0].text)) > 1 for turn in trajectory.turns[1:])
    return 1 + pages + min(pages, steps - 1)


def _followed(name: str, choices: Sequence[Choice]) -> Rate:
    stated = [choice for choice in choices if choice.stated]
    return Rate(name, sum(choice.choice in choice.stated for choice in stated), len(stated))


def _guessed(name: str, choices: Sequence[Choice]) -> Rate:
    free = [choice for choice in choices if not choice.stated]
    return Rate(name, sum(choice.true for choice in free), len(free))
