import asyncio
import random

import pytest

from espl_bench.accounting.ledger import Ledger, MeteredClient, Purpose, metered_train_step
from espl_bench.accounting.usage import LedgerTotals
from espl_bench.engines.engine import AdamParams
from espl_bench.learning.loss_spec import LossSpec
from espl_bench.types import Completion, Datum, SampleRequest, StopReason


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class RecordingEngine:
    """Keeps everything that really passed through it."""

    def __init__(self):
        self.calls = []
        self.trained = []

    async def sample(self, requests):
        await asyncio.sleep(0)
        completions = [Completion(tuple(range(request.seed % 5)), (0.0,) * (request.seed % 5), "", StopReason.STOP) for request in requests]
        self.calls.append((requests, completions))
        return completions

    async def train_step(self, data, loss, adam):
        await asyncio.sleep(0)
        self.trained.append(data)
        return {"loss": float(len(data))}

    async def save(self, folder):
        raise NotImplementedError

    async def load(self, folder):
        raise NotImplementedError


def request(prompt, seed):
    return SampleRequest((7,) * prompt, seed, 8, 1.0)


def datum(length):
    return Datum((1,) * length, (True,) * length, (0.0,) * length, 1.0, 1.0)


def test_the_ledger_equals_what_a_recording_engine_counted():
    engines = {purpose: RecordingEngine() for purpose in Purpose}
    trainer = RecordingEngine()
    ledger = Ledger()
    rng = random.Random(3)

    async def everything():
        calls = []
        for _ in range(40):
            purpose = rng.choice(list(Purpose))
            requests = [request(rng.randrange(9), rng.randrange(100)) for _ in range(rng.randrange(4))]
            calls.append(MeteredClient(engines[purpose], ledger, purpose).sample(requests))
        for _ in range(5):
            data = [datum(rng.randrange(1, 9)) for _ in range(3)]
            calls.append(metered_train_step(trainer, ledger, data, LossSpec(), AdamParams(lr=1.0)))
        await asyncio.gather(*calls)

    asyncio.run(everything())

    def prompts(purpose):
        return sum(len(asked.prompt_T) for requests, _ in engines[purpose].calls for asked in requests)

    def sampled(purpose):
        return sum(len(completion.tokens_T) for _, completions in engines[purpose].calls for completion in completions)

    totals = ledger.totals()
    assert totals.generated_tokens == sampled(Purpose.ROLLOUT) > 0
    assert totals.prompt_tokens == prompts(Purpose.ROLLOUT) > 0
    assert totals.reflection_tokens == sampled(Purpose.REFLECTION) > 0
    assert totals.reflection_prompt_tokens == prompts(Purpose.REFLECTION) > 0
    assert totals.reflection_calls == sum(len(requests) for requests, _ in engines[Purpose.REFLECTION].calls) > 0
    assert totals.eval_tokens == sampled(Purpose.EVALUATION) > 0
    assert totals.eval_prompt_tokens == prompts(Purpose.EVALUATION) > 0
    assert totals.train_tokens == sum(len(each.tokens_T) for data in trainer.trained for each in data) > 0
    assert totals.rollouts == totals.eval_rollouts == 0
    assert 0 < totals.device_s <= totals.wall_s


def test_metering_changes_neither_completions_nor_metrics():
    engine, ledger = RecordingEngine(), Ledger()
    requests = [request(2, 3), request(1, 4)]
    completions = asyncio.run(MeteredClient(engine, ledger, Purpose.ROLLOUT).sample(requests))
    assert completions == engine.calls[0][1]
    assert asyncio.run(metered_train_step(engine, ledger, [datum(2)], LossSpec(), AdamParams(lr=1.0))) == {"loss": 1.0}


def test_episodes_are_counted_by_purpose_and_reflections_have_none():
    ledger = Ledger()
    ledger.record_episodes(Purpose.ROLLOUT, 5)
    ledger.record_episodes(Purpose.EVALUATION, 7)
    totals = ledger.totals()
    assert (totals.rollouts, totals.eval_rollouts) == (5, 7)
    with pytest.raises(ValueError, match="not an episode"):
        ledger.record_episodes(Purpose.REFLECTION, 1)


def test_a_missing_completion_is_refused():
    ledger = Ledger()
    with pytest.raises(ValueError, match="1 requests, but 0 completions"):
        ledger.record_samples(Purpose.ROLLOUT, [request(1, 1)], [])
    assert ledger.totals().prompt_tokens == 0


def test_device_time_is_the_union_of_overlapping_uses():
    clock = Clock()
    ledger = Ledger(clock)
    clock.now += 1
    with ledger.device():
        clock.now += 2
        with ledger.device():
            clock.now += 4
        clock.now += 8
        assert ledger.totals().device_s == 14
    clock.now += 16
    with ledger.device():
        clock.now += 32
    totals = ledger.totals()
    assert totals.device_s == 46
    assert totals.wall_s == 63


@pytest.mark.parametrize("seed", range(20))
def test_device_time_counts_each_second_once_whatever_order_uses_end_in(seed):
    rng = random.Random(seed)
    spans = [(begin, begin + rng.randrange(6)) for begin in (rng.randrange(20) for _ in range(5))]
    clock = Clock()
    ledger = Ledger(clock)
    open_uses = {}
    for second in range(30):
        for place, (begin, end) in enumerate(spans):
            if second == begin:
                open_uses[place] = ledger.device()
                open_uses[place].__enter__()
            if second == end:
                open_uses.pop(place).__exit__(None, None, None)
        clock.now += 1
    assert ledger.totals().device_s == len({second for begin, end in spans for second in range(begin, end)})


def test_a_failed_call_costs_time_but_no_tokens():
    clock = Clock()
    ledger = Ledger(clock)

    class Failing:
        async def sample(self, requests):
            clock.now += 3
            raise RuntimeError("lost")

    with pytest.raises(RuntimeError, match="lost"):
        asyncio.run(MeteredClient(Failing(), ledger, Purpose.ROLLOUT).sample([request(5, 1)]))
    clock.now += 1
    assert ledger.totals().device_s == 3
    assert ledger.totals().prompt_tokens == 0


def test_a_restored_ledger_goes_on_from_the_totals_and_counts_its_own_time():
    clock = Clock()
    before = LedgerTotals(**dict.fromkeys(LedgerTotals.model_fields, 11))
    ledger = Ledger(clock)
    clock.now += 2
    ledger.record_episodes(Purpose.ROLLOUT, 99)
    ledger.restore(before)
    clock.now += 3
    ledger.record_episodes(Purpose.ROLLOUT, 4)
    with ledger.device():
        clock.now += 1
    assert ledger.totals() == before.model_copy(update={"rollouts": 15, "wall_s": 17.0, "device_s": 12.0})


def test_restoring_totals_gives_them_back():
    totals = LedgerTotals(**{name: place for place, name in enumerate(LedgerTotals.model_fields)})
    ledger = Ledger(Clock())
    ledger.restore(totals)
    assert ledger.totals() == totals
