"""Sampling that costs money: every request is answered from what was paid for already, or paid for and written down.

All paid clients of a run share one `Till`, so that its budget and its bound on requests in flight hold for policy and editor
together. A request that fails for good, or for which nothing is left, stops those that have not begun; those in flight are
waited for and kept, because they cost either way.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from espl_bench.answers import Answers, key_of
from espl_bench.engines.protocol import SamplingClient
from espl_bench.errors import EsplError
from espl_bench.spending import Purse, Role
from espl_bench.summary import LedgerTotals
from espl_bench.types import Completion, SampleRequest


class Till:
    """The purse and the answers of a run, and the places for requests in flight."""

    def __init__(self, purse: Purse, concurrency: int) -> None:
        """`concurrency` requests may be in flight."""
        self.purse = purse
        self.answers = Answers()
        self.places = asyncio.Semaphore(concurrency)

    def begin(self, run: Path, step: int) -> None:
        """A commit has been made: what it holds need not be kept any longer."""
        if self.purse.models:
            self.answers.begin(run, step)

    def resume(self, run: Path, step: int, totals: LedgerTotals) -> None:
        """Go on after the commit of `step`: what was answered after it is known and paid for."""
        if self.purse.models:
            self.purse.restore(totals)
            for role, usage in self.answers.begin(run, step):
                self.purse.pay(role, usage)

    def client(self, client: SamplingClient, role: Role) -> SamplingClient:
        """The client through the till, if an endpoint plays this role; else the client itself."""
        return PaidClient(client, self, role) if role in self.purse.models else client


class PaidClient:
    """An endpoint's client in one role."""

    def __init__(self, client: SamplingClient, till: Till, role: Role) -> None:
        """Everything asked through this client goes through the till."""
        self._client = client
        self._till = till
        self._role = role

    async def sample(self, requests: Sequence[SampleRequest]) -> list[Completion]:
        """One completion per request, in order.

        Raises:
            BudgetSpent: nothing more may be asked.
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
        key = key_of(self._role, self._till.purse.models[self._role], request)
        known = self._till.answers.take(key)
        if known is not None:
            return known
        async with self._till.places:
            if failures:
                return None
            try:
                self._till.purse.require()
                completion = await self._ask(request)
                self._till.answers.keep(key, self._role, completion)
            except EsplError as error:
                failures.append(error)
                return None
        return completion

    async def _ask(self, request: SampleRequest) -> Completion:
        [completion] = await self._client.sample([request])
        if completion.usage is not None:
            self._till.purse.pay(self._role, completion.usage)
        return completion
