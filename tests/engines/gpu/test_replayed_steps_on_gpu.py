"""Engine hf with captured decode steps. Elsewhere than on CUDA nothing is captured, and the same holds."""

import asyncio
from pathlib import Path

import pytest
import torch
from engine_calls import data, sample, wait
from engines_fixtures import make_model
from hf_calls import ADAM, LOSS, load, requests, train
from model_families import FAMILIES, make_family

from espl_bench.engines.hf.decoding import captured_step
from espl_bench.engines.hf.decoding.sampling import BatchSampler
from espl_bench.engines.hf.engine import HfEngine, HfSamplingClient
from espl_bench.engines.hf.reading.forward import Reading
from espl_bench.types import Completion, SampleRequest

pytestmark = pytest.mark.gpu

GAP = 1e-4
"""Nats by which two log-probabilities of one token may differ in float32."""
LIMITS = (300, 40, 40, 40, 300)
"""Tokens of the rows of a group: more than half leave, and the others fill the first bucket."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"), context=1_024)


@pytest.fixture
def engine(folder: Path, device: str) -> HfEngine:
    return load(folder, "float32", device=device)


@pytest.fixture
def captures(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The graphs that are captured from now on."""
    made: list[object] = []
    whole = captured_step.Graph.__init__

    def noted(self: captured_step.Graph, *args, **others) -> None:
        whole(self, *args, **others)
        made.append(self)

    monkeypatch.setattr(captured_step.Graph, "__init__", noted)
    return made


def client(engine: HfEngine) -> HfSamplingClient:
    return wait(engine.current())


def step_by_step(engine: HfEngine, asked: list[SampleRequest]) -> list[Completion]:
    """Sample without a capture, as a model does that does not allow it."""
    kept = client(engine).sampler
    reading = Reading[engine.model_use.reading.upper()]
    plain = BatchSampler(kept.model, eos_ids=kept.eos_ids, max_batch_tokens=32_768, reading=reading, may_replay=False)
    return wait(HfSamplingClient(plain, client(engine)._chat).sample(asked))


def assert_same(ours: list[Completion], theirs: list[Completion]) -> None:
    for own, other in zip(ours, theirs, strict=True):
        assert own.tokens_T == other.tokens_T
        assert own.logprobs_T == pytest.approx(other.logprobs_T, abs=GAP)


def long_requests() -> list[SampleRequest]:
    return [
        SampleRequest(tuple(range(5 + prompt, 15 + 2 * prompt)), 10 * prompt + row, limit, 1.0)
        for prompt in range(6)
        for row, limit in enumerate(LIMITS)
    ]


def test_steps_are_captured_on_cuda_alone(engine: HfEngine, device: str, captures: list[object]) -> None:
    assert client(engine).sampler.replays == (device == "cuda")
    sample(engine, requests(max_tokens=40))
    assert bool(captures) == (device == "cuda")


def test_captured_steps_sample_what_others_do(engine: HfEngine) -> None:
    for asked in (requests(60, max_tokens=60), requests(30, temperature=0.0, max_tokens=40), requests(30, top_p=0.7, max_tokens=40)):
        assert_same(sample(engine, asked), step_by_step(engine, asked))


def test_leaving_rows_and_fuller_buckets(engine: HfEngine, captures: list[object], device: str) -> None:
    asked = long_requests()
    assert_same(sample(engine, asked), step_by_step(engine, asked))
    assert len(captures) >= 2 or device != "cuda"


def test_after_training_the_new_adapter_is_sampled(engine: HfEngine) -> None:
    asked = requests(30, max_tokens=40)
    for _ in range(2):
        assert train(engine, data(asked, sample(engine, asked)))["logprob_gap"] < 1e-3
    assert_same(sample(engine, asked), step_by_step(engine, asked))


def test_policy_reference_and_trainer_at_once(engine: HfEngine) -> None:
    """One captures while the others launch, allocate and wait."""
    asked = long_requests()
    rollouts = data(asked, sample(engine, asked))

    async def one_after_another() -> list[list[Completion]]:
        return [await (await engine.current()).sample(asked), await (await engine.reference()).sample(asked)]

    async def at_once() -> list[list[Completion]]:
        policy, reference = await engine.current(), await engine.reference()
        *both, _ = await asyncio.gather(policy.sample(asked), reference.sample(asked), engine.train_step(rollouts, LOSS, ADAM))
        return both

    for _ in range(5):
        expected = wait(one_after_another())
        for ours, theirs in zip(wait(at_once()), expected, strict=True):
            assert_same(ours, theirs)


def test_memory_is_given_back(engine: HfEngine, device: str) -> None:
    if device != "cuda":
        pytest.skip("only CUDA counts a process's memory")
    asked, held = long_requests(), list[int]()
    for _ in range(6):
        sample(engine, asked)
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        held.append(torch.cuda.memory_reserved())
    assert max(held[2:]) <= held[1] * 1.05, held


@pytest.mark.parametrize("name", ["qwen3", "qwen3_moe", "gpt2", "phi3", "mistral (window)"])
def test_families_sample_the_same(name: str, device: str, tmp_path: Path) -> None:
    """Captured where the model bears it; what a family's experts do on a GPU decides that."""
    engine = load(make_family(name, tmp_path / "model"), "float32", device=device)
    asked = requests(30, max_tokens=40)
    same = [own.tokens_T == other.tokens_T for own, other in zip(sample(engine, asked), step_by_step(engine, asked), strict=True)]
    assert all(same) or (FAMILIES[name].routes and sum(same) >= 0.9 * len(same))
