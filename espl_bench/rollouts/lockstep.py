"""Lockstep in several groups, so that the engine samples for one while the environments of another answer.

In one lockstep the engine stands still for as long as the slowest environment takes. With a retriever of 200 ms and a fast model
that is most of the time. Which episode is in which cohort is settled by its place in the batch, never by time, so that an engine whose
last bits depend on the composition of a batch still computes the same again.
"""

from espl_bench.engines.protocol import SamplingClient
from espl_bench.rollouts.scheduling import Lockstep
from espl_bench.types import Completion, SampleRequest


class Cohorts:
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
