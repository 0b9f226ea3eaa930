"""Budgeted sampling: serve each request from the response cache, or send it and record cost and response.

All paid clients of a run share one `BudgetedClients`, so that its budget and its bound on requests in flight hold for policy and editor
together. A request that fails for good, or exceeds the budget, stops those that have not begun; those in flight are awaited
and cached, because they cost either way.

A service that trains gets many requests at a time, and the budget is checked before each batch. Its responses since the last
checkpoint are not cached, because after a resume they come from weights that are trained again.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from espl_bench.accounting.cost_tracker import CostTracker, ModelRole
from espl_bench.accounting.response_cache import ResponseCache, key_of
from espl_bench.accounting.usage import LedgerTotals
from espl_bench.engines.engine import SamplingClient
from espl_bench.errors import EsplError
from espl_bench.types import Completion, SampleRequest, Usage


class BudgetedClients:
    """Cost tracker and response cache of a run, and its bound on requests in flight."""

    def __init__(self, cost_tracker: CostTracker, concurrency: int, services: frozenset[ModelRole] = frozenset()) -> None:
        """Allow `concurrency` requests in flight at endpoints; `services` are the roles of a service."""
        self.cost_tracker = cost_tracker
        self._services = services
        self.keeps_answers = bool(cost_tracker.models.keys() - services)
        """True if responses are still available after a resume."""
        self.cache = ResponseCache()
        self.semaphore = asyncio.Semaphore(concurrency)

    def begin(self, run: Path, step: int) -> None:
        """Start a new cache after the checkpoint of `step`: the checkpoint holds the earlier responses."""
        if self.keeps_answers:
            self.cache.open(run, step)

    def resume(self, run: Path, step: int, totals: LedgerTotals) -> None:
        """Continue after the checkpoint of `step`: load the responses recorded since, and their costs."""
        self.cost_tracker.restore(totals)
        if self.keeps_answers:
            for role, usage in self.cache.open(run, step):
                self.cost_tracker.record(role, usage)

    def client(self, client: SamplingClient, role: ModelRole) -> SamplingClient:
        """Wrap the client if an endpoint or a service has this role; else return the client itself."""
        if role in self._services:
            return BudgetedServiceClient(client, self.cost_tracker, role)
        return BudgetedClient(client, self, role) if role in self.cost_tracker.models else client


class BudgetedServiceClient:
    """A service's client in one role."""

    def __init__(self, client: SamplingClient, cost_tracker: CostTracker, role: ModelRole) -> None:
        """Record the cost of everything requested through this client."""
        self._client = client
        self._cost_tracker = cost_tracker
        self._role = role

    async def sample(self, requests: Sequence[SampleRequest]) -> list[Completion]:
        """Return one completion per request, in order. Raises BudgetSpentError if the budget is spent, and as the client."""
        self._cost_tracker.require()
        completions = await self._client.sample(requests)
        prompt = sum(len(request.prompt_T) for request in requests)
        self._cost_tracker.record(self._role, Usage(prompt, sum(completion.sampled_tokens for completion in completions)))
        return completions


class BudgetedClient:
    """An endpoint's client in one role."""

    def __init__(self, client: SamplingClient, shared: BudgetedClients, role: ModelRole) -> None:
        """Send requests through `client` within the budget and cache of `shared`."""
        self._client = client
        self._shared = shared
        self._role = role

    async def sample(self, requests: Sequence[SampleRequest]) -> list[Completion]:
        """Return one completion per request, in order.

        Raises:
            BudgetSpentError: nothing more may be asked.
            EndpointError: a request failed for good.
            RunDirError: a response cannot be written to the cache.
        """
        failures: list[EsplError] = []
        completions = await asyncio.gather(*(self._answer(request, failures) for request in requests))
        if failures:
            raise failures[0]
        return [completion for completion in completions if completion is not None]

    async def _answer(self, request: SampleRequest, failures: list[EsplError]) -> Completion | None:
        """Return the completion, or None once anything has failed."""
        key = key_of(self._role, self._shared.cost_tracker.models[self._role], request)
        known = self._shared.cache.pop(key)
        if known is not None:
            return known
        async with self._shared.semaphore:
            if failures:
                return None
            try:
                self._shared.cost_tracker.require()
                completion = await self._ask(request)
                self._shared.cache.put(key, self._role, completion)
            except EsplError as error:
                failures.append(error)
                return None
        return completion

    async def _ask(self, request: SampleRequest) -> Completion:
        [completion] = await self._client.sample([request])
        if completion.usage is not None:
            self._shared.cost_tracker.record(self._role, completion.usage)
        return completion
