"""Episodes as coroutines: together turn by turn, or each as it comes; and who keeps the others waiting is named."""

import asyncio
import re
import time
from dataclasses import dataclass, field

import pytest
from rollout_fixtures import CHAT, ROOT, Says, problems, prompt, task
from small_envs import AskTwice, Sums

from espl_bench.rollouts.rollout import roll_out
from espl_bench.rollouts.watchdog import RolloutState, Watchdog, _message
from espl_bench.types import Completion, Outcome, Problem, StopReason

LONG_S = 600.0
"""Longer than any test takes on any machine."""


@dataclass
class Streams:
    """Answers each request after a time of its own, as an engine does that batches continuously."""

    seconds: dict[int, float] = field(default_factory=dict)
    """By the number of the request."""
    last: int | None = None
    """Number of a request that is answered when every other one has been asked."""
    total: int = 0
    """Requests in all, the repeated ones included, for `last`."""
    calls: list = field(default_factory=list)
    open: int = 0
    most: int = 0

    async def sample(self, requests):
        self.calls.append(tuple(requests))
        number = len(self.calls) - 1
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            await asyncio.sleep(self.seconds.get(number, 0.001))
            while number == self.last and len(self.calls) < self.total:
                await asyncio.sleep(0.001)
        finally:
            self.open -= 1
        tokens = tuple(CHAT._tokenizer("answer 4 <|end|>", add_special_tokens=False)["input_ids"])
        return [Completion(tokens, (-0.5,) * len(tokens), "answer 4", StopReason.STOP) for _ in requests]


def rolled(client, made, *, continuous: bool = True, watchdog: Watchdog | None = None, count: int = 2, group_size: int = 3):
    asked = task(made, continuous=continuous)
    return asyncio.run(roll_out(client, asked, [ROOT, prompt(1)], problems(made, count), group_size, "rollout", 0, watchdog=watchdog))


def test_a_continuous_engine_is_asked_by_every_episode_for_itself():
    client = Streams()
    rolled(client, Sums)
    assert [len(call) for call in client.calls] == [1] * 12
    assert client.most == 12, "all at once"


def test_an_episode_goes_on_while_others_wait_for_their_turn():
    client = Streams(last=0, total=23)  # its own second turn comes after
    groups = rolled(client, AskTwice)
    assert len(client.calls) == 24
    assert all(len(t.turns) == 2 for group in groups for t in group.trajectories_G)
    # the first request was answered last, after second turns of others
    assert client.calls[-1][0].prompt_T[: len(client.calls[0][0].prompt_T)] == client.calls[0][0].prompt_T


def test_both_ways_of_asking_find_the_same():
    requests = []
    for continuous in (False, True):
        client = Says(("answer 4",))
        groups = rolled(client, Sums, continuous=continuous)
        requests.append(({request for call in client.calls for request in call}, groups))
    assert requests[0] == requests[1]


def test_a_failure_ends_all_that_is_under_way():
    class Fails(Streams):
        async def sample(self, requests):
            if len(self.calls) == 3:
                raise RuntimeError("the engine is gone")
            return await super().sample(requests)

    client = Fails(dict.fromkeys(range(12), LONG_S))
    began = time.monotonic()
    with pytest.raises(RuntimeError, match="the engine is gone"):
        rolled(client, Sums)
    assert time.monotonic() - began < LONG_S
    assert client.open == 0, "nothing is left asking"


# The watchdog


def test_a_rollout_stuck_at_the_engine_is_named():
    said: list[str] = []
    rolled(Streams({4: 1.0}), Sums, watchdog=Watchdog(0.2, said.append))
    assert 1 <= len(said) <= 3, "again only when it has lasted twice as long"
    assert re.fullmatch(r"stuck rollouts, at the engine: train/1 under prompt 0, sample 1, turn 1 \(0 s\)", said[0])


def test_a_rollout_stuck_in_its_environment_is_named_before_those_that_wait_for_it():
    class Stalls(Sums):
        steps_at_once = 12

        def respond(self, problem: Problem, action: str):
            if problem.index == 1:
                time.sleep(0.6)
            return super().respond(problem, action)

    said: list[str] = []
    groups = rolled(Streams(), Stalls, watchdog=Watchdog(0.2, said.append))
    assert said[0].startswith("stuck rollouts, in the environment: train/1 under prompt ")
    assert not any("at the engine" in line for line in said), "the others are done"
    assert {t.outcome for group in groups for t in group.trajectories_G} <= {Outcome.CORRECT, Outcome.WRONG}


@dataclass
class Stuck:
    name: str
    state: RolloutState
    since: float


def test_of_many_stuck_rollouts_the_longest_are_named_and_those_in_an_environment_first():
    here = [Stuck(f"train/{index}", RolloutState.ENVIRONMENT, float(index)) for index in (4, 2, 0, 3, 1)]
    said = _message([Stuck("train/9", RolloutState.ENGINE, 5.0), *here], 10.0)
    expected = "in the environment: train/0 (10 s), train/1 (9 s), train/2 (8 s) and 2 more; at the engine: train/9 (5 s)"
    assert said == f"stuck rollouts, {expected}"


@pytest.mark.parametrize("after_s", [0.0, 5.0])
def test_what_moves_is_not_named(after_s: float):
    said: list[str] = []
    rolled(Streams({3: 0.4}), Sums, watchdog=Watchdog(after_s, said.append))
    assert said == []
