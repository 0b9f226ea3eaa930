"""Requests of many sessions that nobody synchronises: what waits when the engine is free goes to it in one call."""

import asyncio

from espl_bench.engines.engine import SamplingClient
from espl_bench.types import Completion, SampleRequest


class Gathering:
    """Sends requests to an engine that decodes a whole batch at a time. For one event loop."""

    def __init__(self, client: SamplingClient) -> None:
        """Take the engine's client."""
        self._client = client
        self._waiting: list[tuple[SampleRequest, asyncio.Future[Completion]]] = []
        self._sending: asyncio.Task[None] | None = None

    async def ask(self, request: SampleRequest) -> Completion:
        """Sample one completion. Raises as the engine."""
        answer: asyncio.Future[Completion] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, answer))
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send())
        return await answer

    async def _send(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                completions = await self._client.sample([request for request, _ in batch])
            except Exception as error:  # noqa: BLE001  # whoever waits raises it
                for _, answer in batch:
                    if not answer.done():
                        answer.set_exception(error)
                continue
            for (_, answer), completion in zip(batch, completions, strict=True):
                if not answer.done():
                    answer.set_result(completion)
