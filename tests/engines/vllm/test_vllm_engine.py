"""What vLLM serves is what the trainer trains, version by version, and the reference stays the base model."""

import asyncio
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest
import torch
from checked import present
from engine_calls import data, sample, sample_reference, wait
from engines_fixtures import make_model
from transformers import AutoModelForCausalLM

from espl_bench.engines.adapter_spec import AdapterSpec
from espl_bench.engines.engine import AdamParams, Engine
from espl_bench.engines.hf.engine import HfEngine
from espl_bench.engines.vllm import setup
from espl_bench.engines.vllm.engine import VllmEngine
from espl_bench.errors import CheckpointError, EngineError
from espl_bench.learning.losses import default_loss
from espl_bench.types import Completion, SampleRequest, StopReason

LOSS = default_loss("importance_sampling")
STILL, FAR = AdamParams(lr=0.0), AdamParams(lr=2e-2)


def requests(count: int = 24, *, temperature: float = 1.0, top_p: float = 1.0, max_tokens: int = 12) -> list[SampleRequest]:
    """Ragged prompts, each asked for three times, with different seeds."""
    rng = random.Random(0)
    prompts = [tuple(rng.randrange(6, 120) for _ in range(rng.randint(2, 70))) for _ in range(count // 3)]
    return [
        SampleRequest(prompt, 2**62 + 100 * i + j, max_tokens, temperature, top_p) for i, prompt in enumerate(prompts) for j in range(3)
    ]


def learn(engine: VllmEngine, asked: list[SampleRequest]) -> None:
    """Move the adapter far."""
    metrics = wait(engine.train_step(data(asked, sample(engine, asked)), LOSS, FAR))
    assert metrics["skipped_steps"] == 0


def off(engine: VllmEngine, asked: list[SampleRequest], completions: list[Completion], *, adapted: bool) -> float:
    """Mean |log-probability difference| to the trainer, with its adapter or without; the worst completion's."""
    drawn = data(asked, completions)
    found = []
    for datum, scored in zip(drawn, wait(engine.score(drawn, reference=not adapted)), strict=True):
        sampled = [logprob for logprob, mask in zip(datum.logprobs_T, datum.mask_T, strict=True) if mask]
        found.append(fmean(abs(ours - theirs) for ours, theirs in zip(sampled, scored, strict=True)))
    return max(found)


def test_it_is_an_engine(engine: VllmEngine) -> None:
    asked: Engine = engine
    assert asked.isolates_snapshots and asked.batches_continuously


# Sampler and trainer


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_sampler_and_trainer_agree_before_and_after_training(engine: VllmEngine, temperature: float) -> None:
    asked = requests(temperature=temperature)
    for _ in range(2):
        completions = sample(engine, asked)
        metrics = wait(engine.train_step(data(asked, completions), LOSS, STILL))
        assert metrics["logprob_gap"] < 1e-4
        assert metrics["ratio_mean"] == pytest.approx(1, abs=1e-4)
        assert metrics["capped_fraction"] == metrics["sequence_capped_fraction"] == 0
        assert off(engine, asked, completions, adapted=True) < 1e-4
        learn(engine, asked)


def test_the_reference_is_the_base_model_also_in_one_batch_with_the_policy(engine: VllmEngine) -> None:
    asked = requests(60)
    learn(engine, requests())

    async def together() -> tuple[list[Completion], list[Completion]]:
        policy, reference = await engine.current(), await engine.reference()
        ours, theirs = await asyncio.gather(policy.sample(asked), reference.sample(asked))
        return ours, theirs

    policy, reference = wait(together())
    assert off(engine, asked, policy, adapted=True) < 1e-4
    assert off(engine, asked, reference, adapted=False) < 1e-4
    assert off(engine, asked, policy, adapted=False) > 0.01
    assert [c.tokens_T for c in policy] != [c.tokens_T for c in reference]


def test_the_reference_samples_while_weights_are_trained_and_sees_nothing_of_it(engine: VllmEngine) -> None:
    asked = requests(60)
    rollouts = data(asked, sample(engine, asked))

    async def both() -> list[Completion]:
        reference = await engine.reference()
        completions, _ = await asyncio.gather(reference.sample(asked), engine.train_step(rollouts, LOSS, FAR))
        return completions

    assert off(engine, asked, wait(both()), adapted=False) < 1e-4


# Versions


def test_every_version_has_a_name_and_an_id_of_its_own_and_the_old_one_is_gone(engine: VllmEngine) -> None:
    adapters = present(engine._parts).adapters
    names, numbers = [], []
    for _ in range(3):
        learn(engine, requests())
        sample(engine, requests(3))
        newest, proof, server = present(adapters.newest), present(adapters.proof), present(engine._parts).server
        lora = present(newest.lora)
        names.append(lora.lora_name)
        numbers.append(lora.lora_int_id)
        assert [folder.name for folder in adapters._root.iterdir()] == [lora.lora_name]
        assert set(wait(server.call(server._llm.list_loras()))) == {lora.lora_int_id}
        assert proof.version == newest.number
        assert proof.gap < 1e-4 and proof.base_gap < 1e-4
        assert proof.shift > 0.01 and proof.to_base > 0.01, "and it is not the base model"
    assert len(set(names)) == len(set(numbers)) == 3
    assert str(adapters._root).startswith("/dev/shm"), "in memory, where the system has such"


def test_a_version_is_published_once_and_anew_only_after_training(engine: VllmEngine) -> None:
    sample(engine, requests(3))
    before = present(engine._parts).adapters.newest
    sample(engine, requests(3))
    assert present(engine._parts).adapters.newest is before
    wait(engine.train_step([], LOSS, FAR))
    sample(engine, requests(3))
    assert present(engine._parts).adapters.newest is before, "no data, no step"


def test_a_probe_finds_out_that_older_weights_are_served(engine: VllmEngine) -> None:
    asked = requests()
    rollouts = data(asked, sample(engine, asked))
    adapters = present(engine._parts).adapters
    wait(present(engine._parts).server.call(adapters._prove(present(adapters.newest)))).check(2e-3)
    wait(engine.train_step(rollouts, LOSS, FAR))  # and nothing is published
    stale = wait(present(engine._parts).server.call(adapters._prove(present(adapters.newest))))
    with pytest.raises(EngineError, match="vLLM serves other weights than were trained: adapter version"):
        stale.check(2e-3)


def test_a_probe_finds_out_that_the_base_model_is_served(engine: VllmEngine) -> None:
    learn(engine, requests())
    sample(engine, requests(3))
    adapters = present(engine._parts).adapters
    nothing = replace(present(adapters.newest), lora=None)
    found = wait(present(engine._parts).server.call(adapters._prove(nothing)))
    assert found.to_base < 1e-4
    with pytest.raises(EngineError, match="serves other weights"):
        found.check(2e-3)
    with pytest.raises(EngineError, match="serves the base model in place of adapter version"):
        replace(found, shift=1.0, gap=0.2, to_base=0.01).check(0.5)
    with pytest.raises(EngineError, match="serves another reference than the base model"):
        replace(found, gap=0.0, base_gap=0.1).check(2e-3)


# What is sampled


def test_seeds_bind_and_the_batch_does_not_change_the_tokens(engine: VllmEngine) -> None:
    asked = requests()
    first = sample_reference(engine, asked)
    assert [c.tokens_T for c in sample_reference(engine, asked[::-1])] == [c.tokens_T for c in first[::-1]]
    for request, together in list(zip(asked, first, strict=True))[:4]:
        [alone] = sample_reference(engine, [request])
        assert alone.tokens_T == together.tokens_T
        assert alone.logprobs_T == pytest.approx(together.logprobs_T, abs=1e-4)
    seeds = [replace(asked[12], seed=seed) for seed in (1, 2, 3, 4, 1)]
    drawn = [c.tokens_T for c in sample_reference(engine, seeds)]
    assert len(set(drawn)) > 1 and drawn[0] == drawn[4]


def test_greedy_is_transformers_greedy(engine: VllmEngine, lab_model: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(lab_model, dtype=torch.float32)
    asked = requests(temperature=0.0)
    for request, completion in zip(asked, sample_reference(engine, asked), strict=True):
        ids = torch.tensor([request.prompt_T])
        greedy = {"attention_mask": torch.ones_like(ids), "do_sample": False, "max_new_tokens": 12}
        out = model.generate(ids, **greedy)  # pyright: ignore[reportAttributeAccessIssue]
        assert completion.tokens_T == tuple(out[0, len(request.prompt_T) :].tolist())


def test_completions_end_at_the_end_token_or_at_their_own_limit(engine: VllmEngine) -> None:
    asked = [replace(r, max_tokens=1 + r.seed % 40, temperature=1.5) for r in requests(90)]
    completions = sample_reference(engine, asked)
    end = next(iter(engine._chat.eos_ids))
    assert set(Counter(completion.stop_reason for completion in completions)) == {StopReason.STOP, StopReason.LENGTH}
    for request, completion in zip(asked, completions, strict=True):
        assert end not in completion.tokens_T[:-1]
        assert len(completion.tokens_T) == len(completion.logprobs_T)
        if completion.stop_reason is StopReason.STOP:
            assert completion.tokens_T[-1] == end
        else:
            assert len(completion.tokens_T) == request.max_tokens
    assert completions[0].text == engine.chat.decode(completions[0].tokens_T)


def test_the_context_limits_a_completion(engine: VllmEngine) -> None:
    context = present(engine._parts).server.context
    asked = [SampleRequest((7,) * length, 0, 30, 1.0) for length in (context - 4, context, context + 5)]
    short, full, over = sample_reference(engine, asked)
    assert 1 <= len(short.tokens_T) <= 4
    assert full.tokens_T == over.tokens_T == ()
    assert full.stop_reason is StopReason.LENGTH


def test_a_nucleus_is_renormalised_by_vllm_and_seen_in_the_ratio(engine: VllmEngine) -> None:
    """Why training samples are drawn from the whole distribution by default."""
    asked = requests(60, temperature=1.5, top_p=0.5)
    metrics = wait(engine.train_step(data(asked, sample(engine, asked)), LOSS, STILL))
    assert metrics["ratio_mean"] < 0.95


def test_no_requests_no_completions(engine: VllmEngine) -> None:
    assert sample(engine, []) == []


# Checkpoints


def test_a_checkpoint_is_the_embedded_engines_and_comes_back(engine: VllmEngine, lab_model: Path, tmp_path: Path) -> None:
    asked = requests()
    learn(engine, asked)
    before = sample(engine, asked)
    wait(engine.save(tmp_path))
    embedded = HfEngine.from_pretrained(lab_model, AdapterSpec(rank=4, alpha=8.0, seed=1, device="cpu"))
    wait(embedded.load(tmp_path))
    measured = wait(embedded.train_step(data(asked, before), LOSS, STILL))
    assert measured["logprob_gap"] < 1e-4, "the embedded engine goes on from it"
    learn(engine, asked)
    assert [c.tokens_T for c in sample(engine, asked)] != [c.tokens_T for c in before]
    wait(engine.load(tmp_path))
    assert [c.tokens_T for c in sample(engine, asked)] == [c.tokens_T for c in before]
    (tmp_path / "adapter_model.safetensors").unlink()
    with pytest.raises(CheckpointError):
        wait(engine.load(tmp_path))


def test_a_context_that_memory_has_no_room_for_is_cut_to_what_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model(tmp_path / "model", width=128, context=16_384)
    monkeypatch.setattr(setup, "CPU_CACHE_BYTES", 2**22)
    started = VllmEngine.from_pretrained(str(model), AdapterSpec(rank=4, alpha=8.0, seed=0))
    try:
        asked = requests(6)
        assert 1_024 <= present(started._parts).server.context < 16_384
        assert all(completion.tokens_T for completion in sample(started, asked))
    finally:
        wait(started.close())
