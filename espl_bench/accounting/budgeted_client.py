"""Sampling that costs money: at an endpoint every request is answered from what was paid for already, or paid for and written down.

All paid clients of a run share one `BudgetedClients`, so that its budget and its bound on requests in flight hold for policy and editor
together. A request that fails for good, or for which nothing is left, stops those that have not begun; those in flight are
waited for and kept, because they cost either way.

A service that trains gets its requests many at a time and is asked whether anything is left before each lot; what it has answered
since the last commit is not kept, because after a resume it comes from weights that are trained anew.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from espl_bench.accounting.budget import CostTracker, ModelRole
from espl_bench.accounting.response_cache import ResponseCache, key_of
from espl_bench.accounting.usage import LedgerTotals
from espl_bench.engines.protocol import SamplingClient
from espl_bench.errors import EsplError
from espl_bench.types import Completion, SampleRequest, Usage


class BudgetedClients:
    """The purse and the answers of a run, and the places for requests in flight."""

    def __init__(self, cost_tracker: CostTracker, concurrency: int, services: frozenset[ModelRole] = frozenset()) -> None:
        """`concurrency` requests may be in flight at endpoints; `services` are the roles that a service plays."""
        self.cost_tracker = cost_tracker
        self._services = services
        self.keeps_answers = bool(cost_tracker.models.keys() - services)
        """Whether what was answered is there again after a resume."""
        self.answers = ResponseCache()
        self.places = asyncio.Semaphore(concurrency)

    def begin(self, run: Path, step: int) -> None:
        """A commit has been made: what it holds need not be kept any longer."""
        if self.keeps_answers:
            self.answers.begin(run, step)

    def resume(self, run: Path, step: int, totals: LedgerTotals) -> None:
        """Go on after the commit of `step`: what was answered after it is known and paid for."""
        self.cost_tracker.restore(totals)
        if self.keeps_answers:
            for role, usage in self.answers.begin(run, step):
                self.cost_tracker.pay(role, usage)

    def client(self, client: SamplingClient, role: ModelRole) -> SamplingClient:
        """The client through the till, if an endpoint or a service plays this role; else the client itself."""
        if role in self._services:
            return BudgetedServiceClient(client, self.cost_tracker, role)
        return BudgetedClient(client, self, role) if role in self.cost_tracker.models else client


class BudgetedServiceClient:
    """A service's client in one role."""

    def __init__(self, client: SamplingClient, cost_tracker: CostTracker, role: ModelRole) -> None:
        """Everything asked through this client is paid for from the purse."""
        self._client = client
        self._purse = cost_tracker
        self._role = role

    async def sample(self, requests: Sequence[SampleRequest]) -> list[Completion]:
        """One completion per request, in order. Raises BudgetSpentError if nothing more may be asked, and as the client."""
        self._purse.require()
        completions = await self._client.sample(requests)
        prompt = sum(len(request.prompt_T) for request in requests)
        self._purse.pay(self._role, Usage(prompt, sum(completion.sampled_tokens for completion in completions)))
        return completions


class BudgetedClient:
    """An endpoint's client in one role."""

    def __init__(self, client: SamplingClient, till: BudgetedClients, role: ModelRole) -> None:
        """Everything asked through this client goes through the till."""
        self._client = client
        self._till = till
        self._role = role

    async def sample(self, requests: Sequence[SampleRequest]) -> list[Completion]:
        """One completion per request, in order.

        Raises:
            BudgetSpentError: nothing more may be asked.
            EndpointError: a request failed for good.
            RunDirError: an answer cannot be written down.
        """
        failures: list[EsplError] = []
        completions = await asyncio.gather(*(self._answer(request, failures) for request in requests))
        if failures:
            raise failures[0]
        return [completion for completion in completions if completion is not None]

    async def _answer(self, request: SampleRequest, failures: list[EsplError]) -> Completion | None:
        """The answer, or None once anything has failed."""
        key = key_of(self._role, self._till.cost_tracker.models[self._role], request)
        known = self._till.answers.take(key)
        if known is not None:
            return known
        async with self._till.places:
            if failures:
                return None
            try:
                self._till.cost_tracker.require()
                completion = await self._ask(request)
                self._till.answers.keep(key, self._role, completion)
            except EsplError as error:
                failures.append(error)
                return None
        return completion

    async def _ask(self, request: SampleRequest) -> Completion:
        [completion] = await self._client.sample([request])
        if completion.usage is not None:
            self._till.cost_tracker.pay(self._role, completion.usage)
        return completion
