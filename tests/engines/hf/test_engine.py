import asyncio
import json
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checked import present
from engine_calls import data, sample, sample_reference, wait
from engines_fixtures import make_model
from hf_calls import ADAM, LOSS, load, requests, train
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

from espl_bench.engines.engine import Engine
from espl_bench.engines.hf.engine import HfEngine
from espl_bench.engines.hf.packing import reading_whole
from espl_bench.engines.hf.sampling import draw, uniforms
from espl_bench.errors import CheckpointError, EsplError, ModelError, UsageError
from espl_bench.learning.losses import default_loss
from espl_bench.types import Completion, Datum, Message, SampleRequest, StopReason


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


def adapter(engine: HfEngine) -> dict[str, torch.Tensor]:
    parts = engine._parts
    assert parts is not None
    return {name: parameter.detach().clone() for name, parameter in parts.trainer.parameters.items()}


def base_weights(engine: HfEngine) -> dict[str, torch.Tensor]:
    parts = engine._parts
    assert parts is not None
    return {name: p.detach().clone() for name, p in parts.trainer.model.named_parameters() if not p.requires_grad}


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


# Sampling


def test_it_is_an_engine(folder: Path) -> None:
    engine: Engine = load(folder)
    assert engine.isolates_snapshots


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


def test_weights_alone_are_loaded_with_a_fresh_optimiser(folder: Path, tmp_path: Path) -> None:
    engine, asked = load(folder), requests()
    rollouts = data(asked, sample(engine, asked))
    train(engine, rollouts, lr=0.05)
    wait(engine.save(tmp_path))
    trained = adapter(engine)
    train(engine, rollouts, lr=0.05)
    wait(engine.load_weights(tmp_path))
    parts = engine._parts
    assert parts is not None
    assert same(adapter(engine), trained) and not parts.trainer.optimizer.state


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


# Training


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


# Checkpoints


def test_training_continues_from_a_checkpoint_bit_for_bit(folder: Path, tmp_path: Path) -> None:
    unbroken, resumed = load(folder), load(folder, seed=9)
    asked = requests()
    rollouts = data(asked, sample(unbroken, asked))
    train(unbroken, rollouts)
    wait(unbroken.save(tmp_path))
    train(resumed, rollouts)  # moments of its own, to be forgotten
    wait(resumed.load(tmp_path))
    for _ in range(2):
        assert sample(unbroken, asked) == sample(resumed, asked)
        assert train(unbroken, rollouts) == train(resumed, rollouts)
    assert same(adapter(unbroken), adapter(resumed))


def test_a_checkpoint_from_before_the_first_step_resets_the_optimiser(folder: Path, tmp_path: Path) -> None:
    fresh, used = load(folder), load(folder)
    asked = requests()
    rollouts = data(asked, sample(fresh, asked))
    wait(fresh.save(tmp_path))
    train(used, rollouts)
    wait(used.load(tmp_path))
    assert train(fresh, rollouts) == train(used, rollouts)
    assert same(adapter(fresh), adapter(used))


def test_peft_reads_the_adapter(folder: Path, tmp_path: Path) -> None:
    engine = load(folder)
    asked = requests(temperature=0.0)
    train(engine, data(requests(), sample(engine, requests())))
    wait(engine.save(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "adapter_config.json", "adapter_model.safetensors", "optimizer.safetensors",
    ]  # fmt: skip
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), str(tmp_path))
    for request, completion in zip(asked, sample(engine, asked), strict=True):
        ids = torch.tensor([request.prompt_T])
        out = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=12)
        assert completion.tokens_T == tuple(out[0, len(request.prompt_T) :].tolist())


def one_line(error: EsplError, *parts: str) -> None:
    text = str(error)
    assert "\n" not in text
    for part in parts:
        assert part in text


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json", "optimizer.safetensors"])
@pytest.mark.parametrize("damage", ["missing", "cut", "garbage"])
def test_a_damaged_checkpoint_is_refused_whole(folder: Path, tmp_path: Path, name: str, damage: str) -> None:
    engine = load(folder)
    asked = requests()
    train(engine, data(asked, sample(engine, asked)))
    wait(engine.save(tmp_path))
    path = tmp_path / name
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:20] if damage == "cut" else b"\xff" * 200)
    other = load(folder)
    before = adapter(other)
    with pytest.raises(CheckpointError) as caught:
        wait(other.load(tmp_path))
    one_line(caught.value, name)
    assert same(before, adapter(other))


@pytest.mark.parametrize("settings", [{"rank": 2}, {"alpha": 3.0}])
def test_a_checkpoint_of_another_adapter_is_refused(folder: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
    wait(load(folder).save(tmp_path))
    with pytest.raises(CheckpointError) as caught:
        wait(load(folder, **settings).load(tmp_path))
    one_line(caught.value, "adapter_config.json")


def test_a_checkpoint_of_another_model_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "checkpoint").mkdir()
    wait(load(folder).save(tmp_path / "checkpoint"))
    with pytest.raises(CheckpointError) as caught:
        wait(load(make_model(tmp_path / "wide", width=64)).load(tmp_path / "checkpoint"))
    one_line(caught.value, "adapter_model.safetensors")


# Chat and loading


def test_the_chat_is_the_models_own_template(folder: Path) -> None:
    chat = load(folder).chat
    ids = AutoTokenizer.from_pretrained(folder).convert_tokens_to_ids
    prompt = chat.encode([Message("system", "w1"), Message("user", "w2 w3")])
    assert list(prompt) == ids(["<system>", "w1", "<end>", "<user>", "w2", "w3", "<end>", "<assistant>"])
    assert chat.decode(ids(["w5", "w6", "<end>"])) == "w5 w6"


def test_a_continuation_is_what_the_template_puts_between_two_assistant_turns(folder: Path) -> None:
    chat = load(folder).chat
    opening = [Message("user", "w1")]
    said = tuple(AutoTokenizer.from_pretrained(folder).convert_tokens_to_ids(["w7", "<end>"]))
    for reply in ("w2 w3", "w2 <end> <assistant> w3"):
        whole = chat.encode([*opening, Message("assistant", "w7"), Message("user", reply)])
        spoken = [*opening, Message("assistant", "w7")]
        assert chat.encode(opening) + said + present(chat.continuation(spoken, [Message("user", reply)])) == whole


def test_a_template_that_never_ends_a_turn_is_not_extended(tmp_path: Path) -> None:
    bare = "{% for m in messages %}{{ m['content'] }} {% endfor %}{% if add_generation_prompt %}<assistant> {% endif %}"
    chat = load(make_model(tmp_path, chat_template=bare)).chat
    assert chat.continuation([Message("user", "w1"), Message("assistant", "w7")], [Message("user", "w2")]) is None


def test_a_template_that_refuses_a_role_says_so(tmp_path: Path) -> None:
    strict = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}<user> w1 <end>"
    chat = load(make_model(tmp_path, chat_template=strict)).chat
    with pytest.raises(ModelError) as caught:
        chat.encode([Message("system", "w1"), Message("user", "w2")])
    one_line(caught.value, "no system role", "--placement user")


def test_a_missing_model_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        load(tmp_path / "nowhere")
    one_line(caught.value, "nowhere", "does not exist")


def test_an_unreachable_hub_id_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError) as caught:
        load(Path("no-such-org-xyz/no-such-model"))
    one_line(caught.value, "no-such-org-xyz/no-such-model")


@pytest.mark.parametrize("damage", ["empty folder", "no weights", "cut weights", "bad config"])
def test_a_broken_model_folder_is_one_line(tmp_path: Path, damage: str) -> None:
    broken = tmp_path / "model"
    broken.mkdir()
    if damage != "empty folder":
        make_model(broken)
    weights = broken / "model.safetensors"
    if damage == "no weights":
        weights.unlink()
    elif damage == "cut weights":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif damage == "bad config":
        (broken / "config.json").write_text(json.dumps({"model_type": "no-such-type"}))
    with pytest.raises(ModelError) as caught:
        load(broken)
    one_line(caught.value, str(broken))


def test_a_model_without_a_chat_template_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        load(make_model(tmp_path, chat_template=None))
    one_line(caught.value, "chat template")


@pytest.mark.parametrize("settings", [{"device": "gpu9"}, {"dtype": "float3"}])
def test_unknown_devices_and_dtypes_are_usage_errors(folder: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        load(folder, **settings)
    one_line(caught.value, next(iter(settings.values())))


def test_a_bfloat16_base_trains_a_float32_adapter_that_the_sampler_follows(folder: Path) -> None:
    engine = load(folder, dtype="bfloat16")
    assert {weights.dtype for weights in adapter(engine).values()} == {torch.float32}
    asked = requests()
    for _ in range(2):
        metrics = train(engine, data(asked, sample(engine, asked)))
        assert abs(metrics["kl_sampler"]) < 0.05


def test_a_closed_engine_refuses_work(folder: Path) -> None:
    engine = load(folder)
    wait(engine.close())
    with pytest.raises(RuntimeError, match="closed"):
        wait(engine.current())
