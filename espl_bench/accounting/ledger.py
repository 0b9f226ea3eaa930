"""Ledger of a run: every token sampled or trained on, every episode, every second. Tables match budgets by it.

Counting happens where the engine is called (`MeteredClient`, `metered_train_step`), so nothing is sampled uncounted.
"""

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum

from espl_bench.accounting.usage import LedgerTotals
from espl_bench.engines.engine import AdamParams, MeasurableEngine, SamplingClient, ScoringEngine, TrainingClient
from espl_bench.learning.loss_spec import LossSpec
from espl_bench.types import Completion, Datum, SampleRequest


class Purpose(StrEnum):
    """Purpose of a completion."""

    ROLLOUT = "rollout"
    """Training episodes."""
    REFLECTION = "reflection"
    """Reflections of the editor."""
    EVALUATION = "evaluation"


class Ledger:
    """Running totals. Used from one event loop; not thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start at zero; `clock` gives seconds from any origin. Wall time counts from here."""
        self._clock = clock
        self._counts = dict.fromkeys((name for name in LedgerTotals.model_fields if name not in ("wall_s", "device_s")), 0)
        self._wall_s = 0.0
        self._since = clock()
        self._device_s = 0.0
        self._active = 0
        self._active_since = 0.0

    def record_samples(self, purpose: Purpose, requests: Sequence[SampleRequest], completions: Sequence[Completion]) -> None:
        """Count the tokens of one completed call. Raises ValueError unless there is one completion per request."""
        if len(requests) != len(completions):
            raise ValueError(f"{len(requests)} requests, but {len(completions)} completions")
        asked = zip(requests, completions, strict=True)
        prompt = sum(completion.usage.prompt if completion.usage else len(request.prompt_T) for request, completion in asked)
        sampled = sum(completion.sampled_tokens for completion in completions)
        match purpose:
            case Purpose.ROLLOUT:
                self._add("generated_tokens", sampled)
                self._add("prompt_tokens", prompt)
            case Purpose.REFLECTION:
                self._add("reflection_tokens", sampled)
                self._add("reflection_prompt_tokens", prompt)
                self._add("reflection_calls", len(requests))
            case Purpose.EVALUATION:
                self._add("eval_tokens", sampled)
                self._add("eval_prompt_tokens", prompt)

    def record_episodes(self, purpose: Purpose, count: int) -> None:
        """Count finished episodes. Raises ValueError for reflections, which have none."""
        match purpose:
            case Purpose.ROLLOUT:
                self._add("rollouts", count)
            case Purpose.EVALUATION:
                self._add("eval_rollouts", count)
            case Purpose.REFLECTION:
                raise ValueError("a reflection is a call, not an episode")

    def record_training(self, data: Sequence[Datum]) -> None:
        """Count the tokens, prompts included, of one training step, or of a teacher that reads for one."""
        self._add("train_tokens", sum(len(datum.tokens_T) for datum in data))

    @contextmanager
    def device(self) -> Generator[None]:
        """Count the seconds inside as device time. Overlapping uses count once."""
        if self._active == 0:
            self._active_since = self._clock()
        self._active += 1
        try:
            yield
        finally:
            self._active -= 1
            if self._active == 0:
                self._device_s += self._clock() - self._active_since

    def totals(self) -> LedgerTotals:
        """Return the totals until now, including uses still running."""
        now = self._clock()
        running = now - self._active_since if self._active else 0.0
        return LedgerTotals(**self._counts, wall_s=self._wall_s + now - self._since, device_s=self._device_s + running)

    def restore(self, totals: LedgerTotals) -> None:
        """Continue from an earlier process's totals: its counts, plus this ledger's own seconds.

        This ledger's own counts are dropped, but its time since construction is kept: loading is part of the run.
        """
        self._counts = {name: getattr(totals, name) for name in self._counts}
        self._wall_s = totals.wall_s
        self._device_s = totals.device_s

    def _add(self, name: str, amount: int) -> None:
        self._counts[name] += amount


class MeteredClient:
    """A sampling client that records every call in a ledger."""

    def __init__(self, client: SamplingClient, ledger: Ledger, purpose: Purpose) -> None:
        """Count everything sampled through this client for one purpose."""
        self._client = client
        self._ledger = ledger
        self._purpose = purpose

    async def sample(self, requests: Sequence[SampleRequest]) -> list[Completion]:
        """Sample as the wrapped client; tokens are counted when it returns."""
        with self._ledger.device():
            completions = await self._client.sample(requests)
        self._ledger.record_samples(self._purpose, requests, completions)
        return completions


async def metered_score(engine: ScoringEngine, ledger: Ledger, data: Sequence[Datum], *, reference: bool) -> list[tuple[float, ...]]:
    """Call `engine.score` and record it in the ledger: its tokens count as those of training."""
    with ledger.device():
        logprobs = await engine.score(data, reference=reference)
    ledger.record_training(data)
    return logprobs


async def metered_divergence(
    engine: MeasurableEngine, ledger: Ledger, data: Sequence[Datum], others: Sequence[Datum]
) -> list[tuple[float, ...]]:
    """Call `engine.divergence` and record it in the ledger: both readings count as tokens of training."""
    with ledger.device():
        values = await engine.divergence(data, others)
    ledger.record_training([*data, *others])
    return values


async def metered_train_step(
    engine: TrainingClient, ledger: Ledger, data: Sequence[Datum], loss: LossSpec, adam: AdamParams
) -> Mapping[str, float]:
    """Call `engine.train_step` and record it in the ledger."""
    with ledger.device():
        metrics = await engine.train_step(data, loss, adam)
    ledger.record_training(data)
    return metrics
