"""Instances of an environment: made once, used again, closed in the end, and never more at a time than it allows."""

import asyncio
import threading
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from rollout_fixtures import Says, problems, prompt, task
from small_envs import AskTwice, Sums

from espl_bench.environment.pool import MOST_IDLE, EnvPool
from espl_bench.environment.text_env import Info, TextEnv
from espl_bench.errors import EnvError
from espl_bench.rollouts.rollout import roll_out
from espl_bench.types import Outcome, Problem


class Counted(AskTwice):
    """Counts its instances, how many episodes are under way at once, and the threads that make instances."""

    made: ClassVar[list["Counted"]] = []
    under_way: ClassVar[set[int]] = set()
    most: ClassVar[list[int]] = []
    makers: ClassVar[set[int]] = set()

    def __init__(self) -> None:
        super().__init__()
        self.made.append(self)
        self.makers.add(threading.get_ident())
        self.closed = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        self.under_way.add(id(self))
        self.most.append(len(self.under_way))
        return super().reset(seed=seed, options=options)

    def respond(self, problem: Problem, action: str) -> tuple[str, float, bool, bool, Info]:
        answered = super().respond(problem, action)
        if answered[2]:
            self.under_way.discard(id(self))
        return answered

    def close(self) -> None:
        self.closed += 1


class Few(Counted):
    """A server with three sessions."""

    episodes_at_once = 3


@pytest.fixture(autouse=True)
def fresh():
    for kept in (Counted.made, Counted.most):
        kept.clear()
    Counted.under_way.clear()
    Counted.makers.clear()


def test_instances_are_made_once_off_the_event_loop_and_used_again():
    spec = task(Counted)
    loops: list[int] = []

    async def play():
        loops.append(threading.get_ident())
        for step in range(3):
            await roll_out(Says(), spec, [prompt(0)], problems(AskTwice, 2), 2, "rollout", step)

    asyncio.run(play())
    assert len(Counted.made) == 4, "as many as episodes of a batch, not of three"
    assert Counted.makers.isdisjoint(loops)
    spec.pool.close()
    assert [env.closed for env in Counted.made] == [1] * 4


@pytest.mark.parametrize("continuous", [False, True])
def test_no_more_episodes_are_under_way_than_the_environment_allows(continuous: bool):
    seeds: list[list[int]] = []
    for made in (Few, Counted):
        spec, client = replace(task(made), continuous=continuous), Says()
        asyncio.run(roll_out(client, spec, [prompt(0)], problems(AskTwice, 4), 2, "rollout", 0))
        seeds.append(sorted(request.seed for call in client.calls for request in call))
        if made is Few:
            assert max(Counted.most) <= 3 and len(Counted.made) <= 3
            Counted.under_way.clear()
    assert seeds[0] == seeds[1], "the same requests, in several rounds or in one"


class Paying(AskTwice):
    """Pays for each turn."""

    def respond(self, problem: Problem, action: str) -> tuple[str, float, bool, bool, Info]:
        text, _, terminated, truncated, info = super().respond(problem, action)
        return text, 0.25, terminated, truncated, {"outcome": Outcome.CORRECT} if info else info


def test_an_episode_earns_the_sum_of_its_turns():
    [group] = asyncio.run(roll_out(Says(), task(Paying), [prompt(0)], problems(AskTwice, 1), 2, "rollout", 0))
    assert [each.reward for each in group.trajectories_G] == [0.5, 0.5]


class FailsOnce(Sums):
    """Breaks down in its first episode."""

    made: ClassVar[list["FailsOnce"]] = []
    closed = 0

    def __init__(self) -> None:
        super().__init__()
        self.made.append(self)

    def close(self) -> None:
        self.closed += 1

    def grade(self, problem: Problem, response: str):
        if self is self.made[0]:
            raise EnvError("no judge")
        return super().grade(problem, response)


def test_an_instance_that_failed_is_closed_and_not_used_again():
    spec = task(FailsOnce)

    async def play():
        return [await roll_out(Says(), spec, [prompt(0)], problems(Sums, 1), 1, "rollout", step) for step in range(3)]

    outcomes = [group.trajectories_G[0].outcome for (group,) in asyncio.run(play())]
    assert outcomes[0] is Outcome.ERROR and Outcome.ERROR not in outcomes[1:]
    assert len(FailsOnce.made) == 2 and FailsOnce.made[0].closed == 1 and FailsOnce.made[1].closed == 0


class WillNotClose(Sums):
    def close(self) -> None:
        raise RuntimeError("the socket\nis gone")


def test_an_instance_that_cannot_be_closed_is_told_and_ends_nothing():
    pool = EnvPool(WillNotClose)
    pool.give_back(pool.take())
    with pytest.warns(RuntimeWarning, match=r"WillNotClose\.close failed: RuntimeError: the socket"):
        pool.close()


def test_a_pool_keeps_a_bounded_number():
    class Plain(TextEnv):
        closed = 0

        def __init__(self) -> None:
            """No spaces: a thousand of them take long."""

        size = problem = respond = None  # pyright: ignore[reportAssignmentType]

        def close(self) -> None:
            type(self).closed += 1

    pool = EnvPool(Plain)
    for env in [pool.take() for _ in range(MOST_IDLE + 2)]:
        pool.give_back(env)
    assert Plain.closed == 2
