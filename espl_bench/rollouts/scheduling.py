"""How the requests of many episodes reach an engine: as they come, or a whole turn of all episodes in one call.

Episodes are coroutines that each wait for their next turn. An engine that batches continuously is best asked the moment an
episode is ready. One that decodes a batch from its start to its end is asked once per turn, by `Lockstep`, when every
episode that is still under way waits: the same call whatever the order in which the environments answered.
"""

import asyncio
from typing import Protocol

from espl_bench.engines.protocol import SamplingClient
from espl_bench.types import Completion, SampleRequest


class RequestScheduler(Protocol):
    """Between the episodes of one batch and an engine. Each episode is known by its place in the batch."""

    async def ask(self, place: int, request: SampleRequest) -> Completion:
        """The episode's next turn."""
        ...

    async def leave(self, place: int) -> None:
        """The episode has ended and asks no more."""
        ...


class Immediate:
    """Every request is a call of its own."""

    def __init__(self, client: SamplingClient) -> None:
        """Ask this client."""
        self._client = client

    async def ask(self, place: int, request: SampleRequest) -> Completion:
        """Ask at once."""
        [completion] = await self._client.sample([request])
        return completion

    async def leave(self, place: int) -> None:
        """Nobody waits for anybody."""


class Lockstep:
    """All requests of a turn are one call, in the order of the places. Whoever completes the turn makes the call."""

    def __init__(self, client: SamplingClient, episodes: int) -> None:
        """Expect this many episodes."""
        self._client = client
        self._under_way = episodes
        self._waiting: dict[int, tuple[SampleRequest, asyncio.Future[Completion]]] = {}

    async def ask(self, place: int, request: SampleRequest) -> Completion:
        """Wait until all others wait too, or have left."""
        answer = asyncio.get_running_loop().create_future()
        self._waiting[place] = request, answer
        await self._ask_if_complete()
        return await answer

    async def leave(self, place: int) -> None:
        """Wait for this one no longer."""
        self._under_way -= 1
        await self._ask_if_complete()

    async def _ask_if_complete(self) -> None:
        if not self._waiting or len(self._waiting) < self._under_way:
            return
        turn = [self._waiting[place] for place in sorted(self._waiting)]
        self._waiting = {}
        completions = await self._client.sample([request for request, _ in turn])
        for (_, answer), completion in zip(turn, completions, strict=True):
            if not answer.cancelled():
                answer.set_result(completion)


class GroupedLockstep:
    """Episode i is of cohort i modulo their number; a group's episodes are spread over all of them."""

    def __init__(self, client: SamplingClient, episodes: int, cohorts: int) -> None:
        """Divide this many episodes; with one cohort this is a lockstep of all."""
        sizes = [len(range(cohort, episodes, cohorts)) for cohort in range(cohorts)]
        self._locksteps = [Lockstep(client, size) for size in sizes]

    async def ask(self, place: int, request: SampleRequest) -> Completion:
        """Wait for the others of the cohort."""
        return await self._locksteps[place % len(self._locksteps)].ask(place, request)

    async def leave(self, place: int) -> None:
        """Wait for this one no longer."""
        await self._locksteps[place % len(self._locksteps)].leave(place)
