"""Decoding at fixed addresses with replayed steps, as on a GPU: a recording stands in for the CUDA graph (`recorded_steps`)."""

import gc
import random
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_calls import data, sample, sample_reference
from engines_fixtures import make_model
from hf_calls import load, requests, train
from model_families import FAMILIES, make_family
from recorded_steps import RecordedStep, replay_on_the_cpu
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import GPT2Config, GPT2LMHeadModel

from espl_bench.engines.hf.decoding import static_cache
from espl_bench.engines.hf.decoding.captured_step import WORTH
from espl_bench.engines.hf.decoding.kv_cache import prefill
from espl_bench.engines.hf.decoding.sampling import BatchSampler
from espl_bench.engines.hf.decoding.static_cache import StaticCache
from espl_bench.engines.hf.engine import HfEngine
from espl_bench.engines.hf.reading.forward import Reading
from espl_bench.engines.hf.trial import replays, understand
from espl_bench.types import Completion, SampleRequest, StopReason

GAP = 1e-5
"""Nats by which two log-probabilities of one token may differ in float32."""
WORDS = range(5, 95)
FAST = ("llama", "qwen3_moe", "gpt2", "mamba")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def replayed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> HfEngine:
    replay_on_the_cpu(monkeypatch)
    engine = load(folder)
    assert sampler(engine).replays
    return engine


@pytest.fixture(scope="module")
def plain(folder: Path) -> HfEngine:
    return load(folder)


def sampler(engine: HfEngine) -> BatchSampler:
    parts = engine._parts
    assert parts is not None
    return parts.policy.sampler


def assert_same(ours: list[Completion], theirs: list[Completion]) -> None:
    assert [completion.tokens_T for completion in ours] == [completion.tokens_T for completion in theirs]
    assert [completion.stop_reason for completion in ours] == [completion.stop_reason for completion in theirs]
    for own, other in zip(ours, theirs, strict=True):
        assert own.logprobs_T == pytest.approx(other.logprobs_T, abs=GAP)


def ragged(count: int) -> list[SampleRequest]:
    """Groups of one to five, prompts of several lengths, and limits of their own."""
    rng = random.Random(1)
    prompts = [tuple(rng.choices(WORDS, k=rng.randint(2, 30))) for _ in range(count)]
    return [SampleRequest(prompt, rng.getrandbits(32), rng.randint(1, 90), 1.0) for prompt in prompts for _ in range(rng.randint(1, 5))]


def test_the_cpu_decodes_as_it_did(plain: HfEngine) -> None:
    assert not sampler(plain).replays


@pytest.mark.parametrize("asked", [requests(60, max_tokens=90), ragged(20)], ids=["groups of three", "ragged"])
@pytest.mark.parametrize("bucket", [8, 16, 256])
def test_replayed_steps_sample_what_others_do(
    replayed: HfEngine, plain: HfEngine, asked: list[SampleRequest], bucket: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(static_cache, "FIRST_BUCKET", bucket)
    before = RecordedStep.made
    completions = sample(replayed, asked)
    assert RecordedStep.made > before
    assert {completion.stop_reason for completion in completions} == {StopReason.STOP, StopReason.LENGTH}
    assert_same(completions, sample(plain, asked))


def test_a_fuller_bucket_and_leaving_rows_are_captured_again(replayed: HfEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static_cache, "FIRST_BUCKET", 16)
    made = []
    for limits in ([17] * 8, [18, *[65] * 7], [65] * 8, [20] * 5 + [65] * 3):
        before = RecordedStep.made
        sample(replayed, [SampleRequest(endless(seed), seed, limit, 0.0) for seed, limit in enumerate(limits)])
        made.append(RecordedStep.made - before)
    assert made == [1, 3, 3, 4], "16 columns; 16, 32 and 64; likewise; and when five of eight had ended"


def test_python_launches_few_operations_beside_a_replayed_step(replayed: HfEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RecordedStep, "replay", lambda graph: graph._result)
    reads, counts = sampler(replayed), list[int]()
    for tokens in (16, 32):
        asked = [SampleRequest(endless(seed), seed, tokens, 0.0) for seed in range(8)]
        with Counter() as counter:
            reads.sample(asked)
        counts.append(counter.operations)
    assert (counts[1] - counts[0]) / 16 < 50, "views included; the model alone has hundreds"


class Counter(TorchDispatchMode):
    """Counts operations, views included."""

    operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count one."""
        self.operations += 1
        return func(*args, **(kwargs or {}))


def endless(seed: int) -> tuple[int, ...]:
    """A prompt that the model continues greedily without an end."""
    return (7 + seed, 8, 9)


@pytest.mark.parametrize("temperature", [0.0, 0.7])
@pytest.mark.parametrize("top_p", [1.0, 0.6])
def test_temperature_and_nucleus(replayed: HfEngine, plain: HfEngine, temperature: float, top_p: float) -> None:
    asked = requests(30, temperature=temperature, top_p=top_p, max_tokens=30)
    assert_same(sample(replayed, asked), sample(plain, asked))


def test_prompts_that_share_beginnings(replayed: HfEngine, plain: HfEngine) -> None:
    rng = random.Random(3)
    beginnings = [tuple(rng.choices(WORDS, k=40)) for _ in range(2)]
    prompts = [beginning + tuple(rng.choices(WORDS, k=rng.randint(1, 6))) for beginning in beginnings for _ in range(6)]
    asked = [SampleRequest(prompt, seed, 20, 1.0) for prompt in prompts for seed in range(2)]
    assert_same(sample(replayed, asked), sample(plain, asked))


def test_alone_is_as_together(replayed: HfEngine) -> None:
    asked = requests(15, max_tokens=30)
    together = sample(replayed, asked)
    for request, completion in zip(asked, together, strict=True):
        assert_same(sample(replayed, [request]), [completion])


def test_a_trained_adapter_is_replayed_and_the_reference_is_not_it(replayed: HfEngine) -> None:
    asked = requests(15, max_tokens=30)
    base = sample_reference(replayed, asked)
    for _ in range(2):
        metrics = train(replayed, data(asked, sample(replayed, asked)))
        assert metrics["logprob_gap"] < GAP and abs(metrics["ratio_mean"] - 1) < 1e-4
    assert sample(replayed, asked) != base
    assert sample_reference(replayed, asked) == base


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in FAMILIES])
def test_a_family_samples_the_same(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    family = make_family(name, tmp_path / "model")
    plain = load(family)
    replay_on_the_cpu(monkeypatch)
    engine = load(family)
    assert sampler(engine).replays == (plain.model_use.reading == "shared")
    asked = requests(12, max_tokens=WORTH + 8)
    assert_same(sample(engine, asked), sample(plain, asked))


@pytest.mark.parametrize("replay", [False, True])
def test_rows_that_have_ended_stay_within_the_context(replay: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A learned embedding has no position beyond it."""
    if replay:
        replay_on_the_cpu(monkeypatch)
    model = gpt2(context=32)
    assert understand(model, "gpt2", WORDS) is Reading.SHARED
    reads = BatchSampler(model, eos_ids=frozenset(), max_batch_tokens=10_000, reading=Reading.SHARED, may_replay=replay)
    assert reads.replays == replay
    asked = [SampleRequest((5,) * 28, 0, 24, 1.0), *(SampleRequest((5, 6), seed, 24, 1.0) for seed in range(12))]
    assert [len(sampled.tokens_T) for sampled in reads.sample(asked)] == [4, *[24] * 12]


def gpt2(context: int = 64) -> GPT2LMHeadModel:
    torch.manual_seed(0)
    ids = {"bos_token_id": None, "eos_token_id": 1}
    return GPT2LMHeadModel(GPT2Config(vocab_size=96, n_embd=32, n_layer=2, n_head=4, n_positions=context, **ids)).eval()


def test_a_step_reads_full_buckets_only_and_holds_a_prompt_once() -> None:
    model, prompt = gpt2(), tuple(range(5, 25))
    assert understand(model, "gpt2", WORDS) is Reading.SHARED
    with torch.inference_mode():
        _, memory = prefill(model, [prompt] * 6, 300, share=True, replay=True)
    assert isinstance(memory, StaticCache)
    layer = memory._layers[0]
    assert len(layer.prompt_keys) == 1
    assert (layer.own_keys.shape[2], layer.shown) == (300, 256)


def test_the_caches_of_a_batch_are_freed_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU they are gigabytes, and Python looks for cycles rarely."""
    replay_on_the_cpu(monkeypatch)
    model = gpt2()
    assert understand(model, "gpt2", WORDS) is Reading.SHARED
    gc.collect()
    gc.disable()
    try:
        with torch.inference_mode():
            _, memory = prefill(model, [(5, 6)] * 3, 20, share=True, replay=True)
            memory.step(torch.full((3, 1), 7), torch.full((3, 1), 2))
        freed = weakref.ref(memory)
        del memory
        assert freed() is None
    finally:
        gc.enable()


class Counts(nn.Module):
    """A layer that does something else at every call: Python's part of it is not replayed."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scale by what is the same at every call of a trial but a replayed one."""
        self.calls += 1
        return self.layer(x) * (1.0 + 0.0 * self.calls)


class Looks(Counts):
    """A layer that needs a value in Python, as experts do whose tokens are counted."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Look at a value of a decode step."""
        return self.layer(x) if x.shape[1] > 1 or float(x.sum()) > -1e9 else x


class Remembers(Counts):
    """A layer with a tensor of its own that Python replaces: a graph keeps writing to the old one."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Say what was said one step before, in decode steps."""
        y = self.layer(x)
        if x.shape[1] > 1:
            return y
        before, self.before = getattr(self, "before", None), y
        return y if before is None or before.shape != y.shape else before


@pytest.mark.parametrize(("kind", "may"), [(Counts, True), (Looks, False), (Remembers, False)])
def test_a_model_that_does_not_bear_replaying_is_sampled_as_before(
    kind: Callable[[nn.Module], nn.Module], may: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    replay_on_the_cpu(monkeypatch)
    model = gpt2()
    assert understand(model, "gpt2", WORDS) is Reading.SHARED
    model.set_submodule("transformer.h.0.mlp", kind(model.get_submodule("transformer.h.0.mlp")))
    assert replays(model, WORDS) == may
