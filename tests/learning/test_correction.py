"""Truncated importance sampling by hand, and that it changes nothing where sampler and trainer agree."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_calls import data, sample, wait
from engines_fixtures import make_model
from hf_calls import load, requests, train

from espl_bench.engines.engine import AdamParams
from espl_bench.learning.correction import importance_weights, off_policy_metrics, rollout_sums
from espl_bench.learning.loss_spec import LossSpec
from espl_bench.learning.losses import default_loss, summed_loss
from espl_bench.types import SampleRequest

RATIOS = (0.5, 1.0, 1.5, 3.0, 8.0, 0.25)
ROWS = (0, 0, 0, 1, 1, 2)
SPEC = LossSpec("importance_sampling")


def pair(ratios: tuple[float, ...] = RATIOS) -> tuple[torch.Tensor, torch.Tensor]:
    """The trainer's and the sampler's log-probabilities."""
    sampler_N = torch.linspace(-3.0, -0.5, len(ratios), dtype=torch.float64)
    return (sampler_N + torch.tensor(ratios, dtype=torch.float64).log()), sampler_N


def weights(spec: LossSpec, ratios: tuple[float, ...] = RATIOS) -> list[float]:
    """What each token's gradient of log p is weighed with, by autograd, at advantage 1."""
    logprobs_N, sampler_N = pair(ratios)
    logprobs_N.requires_grad_()
    advantage_N = importance_weights(logprobs_N, sampler_N, torch.tensor(ROWS), spec)
    summed_loss(logprobs_N, sampler_N, advantage_N, spec).backward()
    assert logprobs_N.grad is not None
    return (-logprobs_N.grad).tolist()


def test_a_token_weighs_its_ratio_up_to_the_cap() -> None:
    assert weights(SPEC) == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.0, 0.25])
    assert weights(replace(SPEC, correction_cap=5.0)) == pytest.approx([0.5, 1.0, 1.5, 3.0, 5.0, 0.25])


def test_a_rollout_weighs_the_product_of_its_ratios_up_to_the_cap() -> None:
    assert weights(replace(SPEC, correction="sequence")) == pytest.approx([0.75, 0.75, 0.75, 2.0, 2.0, 0.25])


def test_without_correction_a_token_weighs_its_ratio() -> None:
    assert weights(replace(SPEC, correction="none")) == pytest.approx(list(RATIOS))


def test_cispo_and_ppo_bound_the_ratio_themselves_and_are_left_alone() -> None:
    assert weights(default_loss("cispo")) == pytest.approx([0.5, 1.0, 1.5, 3.0, 4.0, 0.25])
    assert weights(default_loss("ppo")) == pytest.approx([0.5, 1.0, 0.0, 0.0, 0.0, 0.25])


@pytest.mark.parametrize("ratio", [1 - 1e-6, 1.0, 1 + 1e-6, 1.9])
def test_where_nothing_is_truncated_the_factor_is_one_to_the_bit(ratio: float) -> None:
    logprobs_N, sampler_N = (each.float() for each in pair((ratio,) * 6))
    assert importance_weights(logprobs_N, sampler_N, torch.tensor(ROWS), SPEC).tolist() == [1.0] * 6


def test_the_spread_by_hand() -> None:
    logprobs_N, sampler_N = pair()
    sums_B = rollout_sums(logprobs_N - sampler_N, torch.tensor(ROWS))
    assert sums_B.exp().tolist() == pytest.approx([0.75, 24.0, 0.25])
    found = off_policy_metrics(logprobs_N, sampler_N, sums_B, SPEC)
    assert found["logprob_gap"] == pytest.approx(sum(abs(math.log(ratio)) for ratio in RATIOS) / 6)
    assert found["ratio_max"] == pytest.approx(8.0), "raw: before anything is truncated"
    assert found["capped_fraction"] == pytest.approx(2 / 6)
    assert found["sequence_ratio_mean"] == pytest.approx(25 / 3)
    assert found["sequence_capped_fraction"] == pytest.approx(1 / 3)


# In the trainer


def test_ratios_of_a_rollout_are_multiplied_wherever_its_tokens_are_packed(tmp_path: Path) -> None:
    """Rollouts of very different lengths are read in two levels; each alone is read in one."""
    engine = load(make_model(tmp_path))
    asked = [SampleRequest((5, 6, 7), seed, 60 if seed % 4 == 0 else 4, 1.5) for seed in range(16)]
    rollouts = [replace(datum, logprobs_T=tuple(q - 0.01 * q for q in datum.logprobs_T)) for datum in data(asked, sample(engine, asked))]
    assert len({len(datum.tokens_T) for datum in rollouts}) > 2
    together = train(engine, rollouts, lr=0.0)
    alone = [train(engine, [datum], lr=0.0)["sequence_ratio_mean"] for datum in rollouts]
    assert together["sequence_ratio_mean"] == pytest.approx(sum(alone) / len(alone), rel=1e-4)
    assert max(alone) - min(alone) > 0.01
    assert 0 < together["logprob_gap"] < 0.2


@pytest.mark.parametrize("level", ["token", "sequence"])
def test_what_is_truncated_moves_the_weights_less(tmp_path: Path, level: Any) -> None:
    asked = requests()
    moved = []
    for correction in (level, "none"):
        engine = load(make_model(tmp_path / correction))
        improbable = [replace(d, logprobs_T=tuple(q - 2.0 for q in d.logprobs_T)) for d in data(asked, sample(engine, asked))]
        spec = replace(SPEC, correction=correction)
        metrics = wait(engine.train_step(improbable, spec, AdamParams(lr=1e-3, grad_clip=0.0)))
        assert metrics["capped_fraction"] == 1.0 and metrics["ratio_max"] == pytest.approx(math.exp(2.0), rel=1e-3)
        moved.append(metrics["grad_norm"])
    assert 0 < moved[0] < moved[1] / 3, "weights of 2 in place of e squared or more"
