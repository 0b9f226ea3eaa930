"""Measure how well a lab model looks things up in the real environment: following, guessing, copying."""

import asyncio
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from espl_bench.prompts.dialect import Placement
from espl_bench.rollouts.rollout import RolloutSpec, roll_out
from espl_bench.seeding import seed_for
from espl_bench.types import ROOT_ORIGIN, Lineage, Outcome, Rating, Split, SystemPrompt, Trajectory
from espl_envs.almanac.env import AlmanacEnv
from espl_envs.almanac.pages import hidden_almanac
from espl_envs.almanac.words import HOUSE_WORDS, SOURCE, SOURCES
from espl_envs.lab.courses.almanac import CALL, CHOICES
from espl_envs.lab.language import Belief, as_principles, as_stated, draw_beliefs
from espl_envs.lab.skills import DIALECT
from espl_envs.lab.writer import Rate, Writer

WORLD = 1_000_000
"""The first world to measure in, far from those used in runs."""
QUESTIONS = 50
"""Questions asked in each world."""
_SPOKEN = re.compile(rf"{re.escape(CALL[0])} (\S+) (\S+) (\S+) {SOURCE} (\S+) {re.escape(CALL[1])}|answer (\S+)")
"""A turn of the expected form: a query's person, relation, house word and source; or the answer."""
_CLAIM = re.compile(r"(\S+) (\S+) \.")


@dataclass(frozen=True, slots=True)
class MeasuredTurn:
    """One turn of the model, as far as it is readable."""

    copied: bool | None
    """True if the model wrote the person it had arrived at; None where nothing was found."""
    choices: tuple[Belief, ...] = ()
    """House word and source of a query."""


def read_turns(trajectory: Trajectory) -> Iterator[MeasuredTurn]:
    """Yield the turns of an episode that have the expected form."""
    for number, turn in enumerate(trajectory.turns):
        claim = _CLAIM.search(turn.observations[0].text) if turn.observations else None
        person = claim[2] if claim else None if number else trajectory.problem.question.split()[2]
        match _SPOKEN.fullmatch(turn.completion.text):
            case re.Match() as spoken if spoken[5]:
                yield MeasuredTurn(None if person is None else spoken[5] == person)
            case re.Match() as spoken:
                yield MeasuredTurn(None if person is None else spoken[1] == person, ((spoken[2], spoken[3]), (SOURCE, spoken[4])))
            case _:
                pass


def play(writer: Writer, beliefs: Sequence[Belief], world: int, split: Split, questions: int) -> list[Trajectory]:
    """Play one episode of each of the first questions of a split."""
    env = AlmanacEnv(world)
    spec = RolloutSpec(partial(AlmanacEnv, world), DIALECT, Placement.SYSTEM, writer.engine.chat, writer.temperature, 1.0, 16, run_seed=0)
    prompt = SystemPrompt(0, as_principles(beliefs), Rating(), Lineage(ROOT_ORIGIN))

    async def episodes() -> list[Trajectory]:
        client = await writer.engine.reference()
        problems = [env.problem(split, index) for index in range(questions)]
        groups = await roll_out(client, spec, [prompt], problems, 1, "measure", split.value, world)
        return [trajectory for group in groups for trajectory in group.trajectories_G]

    return asyncio.run(episodes())


def measure_searching(writer: Writer, items: int) -> list[Rate]:
    """Measure following, guessing, copying, and whole episodes with everything stated."""
    spoken: list[MeasuredTurn] = []
    totals = {True: Counter[str](), False: Counter[str]()}
    hits = {True: Counter[str](), False: Counter[str]()}
    expected = 0
    for world in range(WORLD, WORLD + max(1, items // QUESTIONS)):
        rng = random.Random(seed_for(0, "measure", "search", world))
        secrets = hidden_almanac(world).secrets
        beliefs = draw_beliefs(rng, secrets, CHOICES, known=0.5, wrong=0.3)
        stated = as_stated(beliefs)
        for trajectory in play(writer, beliefs, world, Split.TRAIN, QUESTIONS):
            expected += len(trajectory.turns)
            for turn in read_turns(trajectory):
                spoken.append(turn)
                for topic, choice in turn.choices:
                    kind = SOURCE if topic == SOURCE else "house word"
                    totals[topic in stated][kind] += 1
                    hits[topic in stated][kind] += choice in stated.get(topic, (secrets.get(topic),))
    copied = [turn.copied for turn in spoken if turn.copied is not None]
    chances = {"house word": len(HOUSE_WORDS), SOURCE: len(SOURCES)}
    return [
        Rate("turns written in the expected form", len(spoken), expected),
        *(Rate(f"stated {kind} used", hits[True][kind], totals[True][kind]) for kind in chances),
        *(
            Rate(f"true {kind} without a principle (chance {1 / size:.0%})", hits[False][kind], totals[False][kind])
            for kind, size in chances.items()
        ),
        Rate("wrote the person it had arrived at", sum(copied), len(copied)),
        measure_stated(writer, Split.TRAIN, items // 2),
        measure_stated(writer, Split.TEST, items // 2),
    ]


def measure_stated(writer: Writer, split: Split, items: int) -> Rate:
    """Measure whole episodes with everything stated truly."""
    right = total = 0
    for world in range(WORLD, WORLD + max(1, items // QUESTIONS)):
        trajectories = play(writer, list(hidden_almanac(world).secrets.items()), world, split, QUESTIONS)
        right += sum(trajectory.outcome is Outcome.CORRECT for trajectory in trajectories)
        total += len(trajectories)
    return Rate(f"{split} questions right, everything told", right, total)
