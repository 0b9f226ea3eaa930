import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_calls import data, sample, sample_reference
from engines_fixtures import make_model
from hf_calls import load, requests, train
from transformers import AutoModelForCausalLM

from espl_bench.engines.hf.decoding.sampling import draw, uniforms
from espl_bench.types import SampleRequest, StopReason


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_sampler_and_trainer_agree_on_ragged_prompts_before_and_after_training(folder: Path, temperature: float) -> None:
    engine = load(folder)
    asked = requests(temperature=temperature)
    for _ in range(3):
        completions = sample(engine, asked)
        rollouts = data(asked, completions)
        for datum in rollouts:  # alone, so that a mean cannot hide a row that is off
            metrics = train(engine, [datum], lr=0.0)
            assert abs(metrics["kl_sampler"]) < 1e-4
            assert abs(metrics["ratio_mean"] - 1) < 1e-4
        together = train(engine, rollouts)
        assert abs(together["kl_sampler"]) < 1e-4
        assert together["clip_fraction"] == 0.0


def test_logprobs_are_those_of_transformers_token_by_token(folder: Path) -> None:
    asked = requests(temperature=0.7, top_p=0.8)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for request, completion in zip(asked, sample_reference(load(folder), asked), strict=True):
        ids = torch.tensor([request.prompt_T + completion.tokens_T])
        with torch.inference_mode():
            logprobs_TV = torch.log_softmax(model(input_ids=ids).logits[0] / 0.7, dim=-1)
        start = len(request.prompt_T)
        expected = [logprobs_TV[start - 1 + t, token].item() for t, token in enumerate(completion.tokens_T)]
        assert completion.logprobs_T == pytest.approx(expected, abs=1e-4)


def test_the_order_of_the_requests_changes_nothing(folder: Path) -> None:
    engine = load(folder, max_batch_tokens=200)
    asked = requests(30)
    expected = dict(zip(asked, sample(engine, asked), strict=True))
    shuffled = random.Random(1).sample(asked, len(asked))
    assert sample(engine, shuffled) == [expected[request] for request in shuffled]


def test_a_request_gets_the_same_tokens_alone_as_in_a_batch(folder: Path) -> None:
    engine = load(folder)
    asked = requests()
    for request, together in zip(asked, sample(engine, asked), strict=True):
        [alone] = sample(engine, [request])
        assert alone.tokens_T == together.tokens_T
        assert alone.logprobs_T == pytest.approx(together.logprobs_T, abs=1e-4)


def test_batches_within_the_budget_give_the_same_tokens_as_one_batch(folder: Path) -> None:
    asked = requests(30)
    whole, split = sample(load(folder), asked), sample(load(folder, max_batch_tokens=64), asked)
    assert [c.tokens_T for c in whole] == [c.tokens_T for c in split]


def test_different_seeds_differ_and_the_same_seed_repeats(folder: Path) -> None:
    engine = load(folder)
    prompt = requests()[0].prompt_T
    completions = sample(engine, [SampleRequest(prompt, seed, 12, 1.0) for seed in (1, 2, 3, 4, 1)])
    assert len({c.tokens_T for c in completions}) == 4
    assert completions[0] == completions[4]


def test_greedy_is_transformers_greedy(folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    asked = requests(30, temperature=0.0)
    for request, completion in zip(asked, sample_reference(load(folder), asked), strict=True):
        ids = torch.tensor([request.prompt_T])
        greedy = {"attention_mask": torch.ones_like(ids), "do_sample": False, "max_new_tokens": 12}
        out = model.generate(ids, **greedy)  # pyright: ignore[reportAttributeAccessIssue]
        assert completion.tokens_T == tuple(out[0, len(request.prompt_T) :].tolist())


def test_greedy_and_sampled_rows_share_a_batch(folder: Path) -> None:
    engine = load(folder)
    greedy, warm = requests(temperature=0.0), requests(temperature=1.0)
    together = sample(engine, greedy + warm)
    assert [c.tokens_T for c in together] == [c.tokens_T for c in sample(engine, greedy) + sample(engine, warm)]


def test_completions_end_at_the_end_token_or_at_their_own_limit(folder: Path) -> None:
    engine = load(folder)
    asked = [SampleRequest(r.prompt_T, r.seed, 1 + r.seed % 40, 1.5) for r in requests(90)]
    completions = sample(engine, asked)
    reasons = Counter(completion.stop_reason for completion in completions)
    assert set(reasons) == {StopReason.STOP, StopReason.LENGTH}
    for request, completion in zip(asked, completions, strict=True):
        assert 1 not in completion.tokens_T[:-1]
        assert len(completion.tokens_T) == len(completion.logprobs_T)
        if completion.stop_reason is StopReason.STOP:
            assert completion.tokens_T[-1] == 1
            assert "<end>" not in completion.text
        else:
            assert completion.tokens_T[-1] != 1
            assert len(completion.tokens_T) == request.max_tokens


def test_the_context_limits_a_completion(tmp_path: Path) -> None:
    engine = load(make_model(tmp_path, context=16))
    short, full, over = sample(engine, [SampleRequest(tuple(range(5, 5 + n)), 0, 8, 1.0) for n in (12, 16, 20)])
    assert len(short.tokens_T) <= 4
    assert full.tokens_T == over.tokens_T == ()
    assert full.stop_reason is StopReason.LENGTH


def test_no_requests_no_completions(folder: Path) -> None:
    assert sample(load(folder), []) == []


def test_draws_follow_the_distribution() -> None:
    probs = torch.tensor([0.5, 0.0, 0.3, 0.15, 0.05])
    count = 20_000
    uniform_B1 = torch.from_numpy(uniforms(7, count))[:, None]
    drawn_B = draw(probs.log().expand(count, -1), uniform_B1, None)[:, 0]
    shares = torch.bincount(drawn_B, minlength=5) / count
    assert shares[1] == 0
    assert (shares - probs).abs().max() < 0.015
    nucleus_B = draw(probs.log().expand(count, -1), uniform_B1, torch.full((count, 1), 0.7))[:, 0]
    shares = torch.bincount(nucleus_B, minlength=5) / count
    assert (shares - torch.tensor([0.625, 0.0, 0.375, 0.0, 0.0])).abs().max() < 0.015


def test_the_ends_of_the_uniform_draw_tokens_that_can_be_drawn() -> None:
    logprobs_BV = torch.tensor([[0.0, 0.5, 0.5, 0.0]]).log().expand(2, -1)
    ends_B1 = torch.tensor([[2.0**-24], [1.0]])
    assert draw(logprobs_BV, ends_B1, None).tolist() == [[1], [2]]
    assert draw(logprobs_BV, ends_B1, torch.tensor([[0.5], [1.0]])).tolist() == [[1], [2]]


def test_a_stream_of_uniforms_does_not_depend_on_how_many_are_taken() -> None:
    assert np.array_equal(uniforms(3, 101)[:7], uniforms(3, 7))
    assert not np.array_equal(uniforms(3, 7), uniforms(4, 7))
    assert (uniforms(3, 10_000) > 0).all()
