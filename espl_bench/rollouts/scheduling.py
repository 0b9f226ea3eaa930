"""Scheduling of the requests of many episodes to an engine: each at once, or a whole turn of all episodes in one call.

Episodes are coroutines that each wait for their next turn. An engine that batches continuously is best asked the moment an episode is
ready. An engine that decodes a batch from start to end is asked once per turn, by `Lockstep`, when every unfinished episode waits: the
call is then the same in whatever order the environments answered.
"""

import asyncio
from typing import Protocol

from espl_bench.engines.engine import SamplingClient
from espl_bench.types import Completion, SampleRequest


class RequestScheduler(Protocol):
    """Sends the requests of one batch's episodes to an engine. Each episode is identified by its index in the batch."""

    async def ask(self, index: int, request: SampleRequest) -> Completion:
        """Sample the episode's next turn."""
        ...

    async def leave(self, index: int) -> None:
        """Note that the episode has ended and sends no more requests."""
        ...


class Immediate:
    """Sends every request as its own call."""

    def __init__(self, client: SamplingClient) -> None:
        self._client = client

    async def ask(self, index: int, request: SampleRequest) -> Completion:
        """Send it at once."""
        [completion] = await self._client.sample([request])
        return completion

    async def leave(self, index: int) -> None:
        """Do nothing: requests are independent."""


class Lockstep:
    """Sends all requests of a turn as one call, ordered by episode. The episode that completes the turn makes the call."""

    def __init__(self, client: SamplingClient, episodes: int) -> None:
        """Expect this many episodes."""
        self._client = client
        self._under_way = episodes
        self._waiting: dict[int, tuple[SampleRequest, asyncio.Future[Completion]]] = {}

    async def ask(self, index: int, request: SampleRequest) -> Completion:
        """Wait until all other episodes wait too, or have left."""
        answer = asyncio.get_running_loop().create_future()
        self._waiting[index] = request, answer
        await self._ask_if_complete()
        return await answer

    async def leave(self, index: int) -> None:
        """Remove the episode from the barrier."""
        self._under_way -= 1
        await self._ask_if_complete()

    async def _ask_if_complete(self) -> None:
        if not self._waiting or len(self._waiting) < self._under_way:
            return
        turn = [self._waiting[index] for index in sorted(self._waiting)]
        self._waiting = {}
        completions = await self._client.sample([request for request, _ in turn])
        for (_, answer), completion in zip(turn, completions, strict=True):
            if not answer.cancelled():
                answer.set_result(completion)


class GroupedLockstep:
    """Runs several locksteps. Episode i belongs to lockstep i modulo their number, so the rollouts of a problem are spread over all."""

    def __init__(self, client: SamplingClient, episodes: int, groups: int) -> None:
        """Divide this many episodes; with one group this is a lockstep of all."""
        sizes = [len(range(group, episodes, groups)) for group in range(groups)]
        self._locksteps = [Lockstep(client, size) for size in sizes]

    async def ask(self, index: int, request: SampleRequest) -> Completion:
        """Wait for the others of its lockstep."""
        return await self._locksteps[index % len(self._locksteps)].ask(index, request)

    async def leave(self, index: int) -> None:
        """Remove the episode from its lockstep."""
        await self._locksteps[index % len(self._locksteps)].leave(index)
