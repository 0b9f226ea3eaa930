import asyncio
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_calls import data, sample, sample_reference, wait
from engines_fixtures import make_model
from hf_calls import ADAM, LOSS, adapter, base_weights, load, requests, same, train, trainer
from peft import PeftModel
from trajectories import forest
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

from espl_bench.engines.hf.training.packing import reading_whole
from espl_bench.learning.losses import default_loss
from espl_bench.types import Completion, Datum, SampleRequest


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


def test_a_fresh_adapter_changes_nothing(folder: Path) -> None:
    engine = load(folder)
    assert sample(engine, requests()) == sample_reference(engine, requests())


def test_training_raises_the_log_probability_of_what_was_good(folder: Path) -> None:
    engine = load(folder)
    asked = requests()[:1]
    rollouts = data(asked, sample(engine, asked), advantages=(1.0,))
    before = train(engine, rollouts)["kl_sampler"]
    after = train(engine, rollouts)["kl_sampler"]  # mean of the old log-probability minus the new one
    assert abs(before) < 1e-4
    assert after < -0.01


@pytest.mark.parametrize("name", ["importance_sampling", "ppo", "cispo"])
def test_every_loss_moves_the_policy_towards_the_advantage(folder: Path, name: Any) -> None:
    engine = load(folder)
    asked = requests()[:2]
    good, bad = data(asked, sample(engine, asked), advantages=(1.0, -1.0))
    wait(engine.train_step([good, bad], default_loss(name), ADAM))
    assert train(engine, [good], lr=0.0)["kl_sampler"] < -1e-3
    assert train(engine, [bad], lr=0.0)["kl_sampler"] > 1e-3


def test_training_leaves_the_base_and_the_reference_alone(folder: Path) -> None:
    engine = load(folder)
    asked = requests()
    base, reference, policy = base_weights(engine), sample_reference(engine, asked), sample(engine, asked)
    for _ in range(3):
        train(engine, data(asked, policy))
    assert same(base, base_weights(engine))
    assert sample_reference(engine, asked) == reference
    assert sample(engine, asked) != policy


def test_the_trees_share_one_copy_of_the_base_weights(folder: Path) -> None:
    parts = load(folder)._parts
    assert parts is not None
    trained = {p.data_ptr() for p in parts.trainer.model.parameters() if not p.requires_grad}
    for client in (parts.policy, parts.reference):
        assert {p.data_ptr() for p in client.sampler.model.parameters()} == trained


def test_only_sampled_tokens_count_in_the_loss(folder: Path) -> None:
    asked = requests()[:2]
    rollouts = data(asked, sample(load(folder), asked))
    noisy = [
        Datum(d.tokens_T, d.mask_T, tuple(q if m else 9.0 for q, m in zip(d.logprobs_T, d.mask_T, strict=True)), d.advantage, 1.0)
        for d in rollouts
    ]
    assert train(load(folder), rollouts) == train(load(folder), noisy)


def test_later_turns_are_trained_and_the_tool_between_them_is_not(folder: Path) -> None:
    engine = load(folder)
    prompt, tool = (5, 6, 7), (20, 21)
    [first] = sample(engine, [SampleRequest(prompt, 1, 6, 1.0)])
    [second] = sample(engine, [SampleRequest(prompt + first.tokens_T + tool, 2, 6, 1.0)])
    datum = Datum(
        prompt + first.tokens_T + tool + second.tokens_T,
        (False,) * 3 + (True,) * len(first.tokens_T) + (False,) * 2 + (True,) * len(second.tokens_T),
        (0.0,) * 3 + first.logprobs_T + (0.0,) * 2 + second.logprobs_T,
        1.0,
        1.0,
    )
    metrics = train(engine, [datum])
    assert abs(metrics["kl_sampler"]) < 1e-4
    assert metrics["loss"] == pytest.approx(-(len(first.tokens_T) + len(second.tokens_T)), abs=1e-2)


def test_micro_batches_give_the_step_of_one_batch(folder: Path) -> None:
    whole, split = load(folder, token_budget=100_000), load(folder, token_budget=40)
    asked = requests(30)
    rollouts = data(asked, sample(whole, asked), advantages=(0.3, -0.2, 0.1))
    ours, theirs = train(whole, rollouts, lr=1e-3), train(split, rollouts, lr=1e-3)
    assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-5)
    for name, weights in adapter(whole).items():
        assert torch.allclose(weights, adapter(split)[name], atol=1e-5)


def test_gradient_checkpointing_takes_the_same_step(folder: Path) -> None:
    plain, frugal = load(folder), load(folder, gradient_checkpointing=True)
    assert frugal._parts is not None
    recomputed = [m for m in frugal._parts.trainer.model.modules() if getattr(m, "gradient_checkpointing", False) and m.training]
    assert sum(isinstance(module, LlamaDecoderLayer) for module in recomputed) == 2, "both layers"
    asked = requests()
    rollouts = data(asked, sample(plain, asked))
    for _ in range(2):
        assert train(plain, rollouts, lr=1e-3) == pytest.approx(train(frugal, rollouts, lr=1e-3), rel=1e-4, abs=1e-5)
    for name, weights in adapter(plain).items():
        assert torch.allclose(weights, adapter(frugal)[name], atol=1e-5)


def test_gradient_checkpointing_takes_the_same_step_on_rollouts_of_very_different_lengths(folder: Path) -> None:
    """Without it they are read in two levels, the second through a cache, which a layer that runs twice does not have."""
    plain, frugal = load(folder), load(folder, gradient_checkpointing=True)
    rng = random.Random(0)
    rollouts = [ragged(rng, length) for length in (8, 8, 8, 8, 8, 8, 120)]
    for _ in range(2):
        assert train(plain, rollouts) == pytest.approx(train(frugal, rollouts), rel=1e-4, abs=1e-5)


def ragged(rng: random.Random, length: int) -> Datum:
    """A rollout of that many tokens behind a prompt of five."""
    tokens = tuple(rng.randrange(5, 95) for _ in range(5 + length))
    return Datum(tokens, (False,) * 5 + (True,) * length, (0.0,) * 5 + (-3.0,) * length, rng.choice((1.0, -0.5)), 1.0)


def test_sharing_prompts_and_reading_them_whole_give_the_same_step(folder: Path) -> None:
    shared, whole = load(folder), load(folder)
    assert whole._parts is not None
    whole._parts.trainer._pack = reading_whole
    asked = requests(30)
    rollouts = data(asked, sample(shared, asked), advantages=(0.3, -0.2, 0.1))
    assert train(shared, rollouts, lr=1e-3) == pytest.approx(train(whole, rollouts, lr=1e-3), rel=1e-4, abs=1e-5)
    for name, weights in adapter(shared).items():
        assert torch.allclose(weights, adapter(whole)[name], atol=1e-5)


def test_gradients_are_clipped_to_the_bound_and_zero_means_unbounded(folder: Path) -> None:
    asked = requests()
    rollouts = data(asked, sample(load(folder), asked))
    norms = []
    for bound in (1e-9, 0.0):
        engine = load(folder)
        norms.append(train(engine, rollouts, lr=1e-3, grad_clip=bound, eps=1e-4)["grad_norm"])
        moved = max((weights - adapter(load(folder))[name]).abs().max().item() for name, weights in adapter(engine).items())
        assert (moved < 1e-6) == (bound > 0)
    assert norms[0] == norms[1] > 0


def test_an_empty_step_changes_nothing_and_says_so(folder: Path) -> None:
    engine = load(folder)
    asked = requests()
    keys = train(engine, data(asked, sample(engine, asked))).keys()
    before = adapter(engine)
    empty = train(engine, [])
    assert empty.keys() == keys
    assert (empty["loss"], empty["grad_norm"], empty["skipped_steps"]) == (0.0, 0.0, 0.0)
    prompt_only = Datum((5, 6), (False, False), (0.0, 0.0), 1.0, 1.0)
    assert train(engine, [prompt_only]) == empty
    assert same(before, adapter(engine))


def test_a_step_that_is_not_finite_is_skipped(folder: Path) -> None:
    engine = load(folder)
    asked = requests()[:2]
    good, bad = data(asked, sample(engine, asked))
    before = adapter(engine)
    poisoned = Datum(bad.tokens_T, bad.mask_T, tuple(-1e30 for _ in bad.logprobs_T), 1.0, 1.0)
    assert train(engine, [good, poisoned])["skipped_steps"] == 1.0
    assert same(before, adapter(engine))
    assert train(engine, [good])["skipped_steps"] == 0.0
    assert not same(before, adapter(engine))


def test_the_adapter_is_a_function_of_its_seed_and_the_global_random_state_is_left_alone(folder: Path) -> None:
    state = torch.get_rng_state()
    first, again, other = adapter(load(folder)), adapter(load(folder)), adapter(load(folder, seed=1))
    assert torch.equal(state, torch.get_rng_state())
    assert same(first, again)
    assert not same(first, other)


def test_training_beside_reference_sampling_gives_what_one_after_the_other_gives(folder: Path) -> None:
    asked = requests(30)
    apart, beside = load(folder), load(folder)
    rollouts = data(asked, sample(apart, asked))

    async def together() -> tuple[Any, list[Completion]]:
        reference = await beside.reference()
        metrics, completions = await asyncio.gather(beside.train_step(rollouts, LOSS, ADAM), reference.sample(asked))
        return metrics, completions

    for _ in range(3):
        expected = train(apart, rollouts), sample_reference(apart, asked)
        assert wait(together()) == expected
    assert same(adapter(apart), adapter(beside))


def test_divergence_from_the_base_is_that_of_whole_distributions(folder: Path) -> None:
    engine, asked = load(folder), requests(temperature=0.7)
    rollouts = data(asked, sample(engine, asked))
    assert all(value == 0.0 for values in wait(engine.divergence(rollouts, rollouts)) for value in values), "nothing was trained"
    train(engine, rollouts, lr=0.05)
    parts = engine._parts
    assert parts is not None
    others = [under_another_prompt(datum) for datum in rollouts]
    for second in (rollouts, others):
        for own, other, found in zip(rollouts, second, wait(engine.divergence(rollouts, second)), strict=True):
            with torch.inference_mode():
                logp = whole_distributions(parts.trainer.model, own)
                with parts.trainer.model.disable_adapter():
                    logq = whole_distributions(parts.trainer.model, other)
            expected = (logp.exp() * (logp - logq)).sum(-1).tolist()
            assert len(found) == sum(own.mask_T) and min(found) > 0.0
            assert found == pytest.approx(expected, abs=1e-4)


def under_another_prompt(datum: Datum) -> Datum:
    """The same rollout with one more token before it."""
    fields = {"tokens_T": (7, *datum.tokens_T), "mask_T": (False, *datum.mask_T), "logprobs_T": (0.0, *datum.logprobs_T)}
    return replace(datum, **fields)


def whole_distributions(model: PeftModel, datum: Datum) -> torch.Tensor:
    """Log-probabilities of every word where a token was sampled."""
    places = [index - 1 for index, sampled in enumerate(datum.mask_T) if sampled]
    return torch.log_softmax(model(input_ids=torch.tensor([datum.tokens_T])).logits[0, places] / datum.temperature, dim=-1)


@pytest.mark.parametrize("budget", [1, 200, 100_000])
def test_trajectories_are_scored_together_as_alone_and_in_order(tmp_path: Path, budget: int) -> None:
    engine = load(make_model(tmp_path, context=1_024), token_budget=budget)
    several = [*forest(0), *forest(0)[:2], *forest(1)]
    several.append(several[0])  # the same object
    train(engine, several, lr=1e-2)
    together = wait(engine.score(several, reference=False))
    assert [len(scores) for scores in together] == [sum(datum.mask_T) for datum in several]
    for datum, scores in zip(several, together, strict=True):
        assert scores == pytest.approx(trainer(engine).score([datum])[0], abs=1e-5)
