"""Truncated importance sampling by hand, and that it changes nothing where sampler and trainer agree."""

import math
from dataclasses import replace

import pytest
import torch

from espl_bench.engines.protocol import LossSpec
from espl_bench.learning.correction import factors, rollout_sums, spread
from espl_bench.learning.losses import LOSSES, default_loss

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
    advantage_N = factors(logprobs_N, sampler_N, torch.tensor(ROWS), spec)
    LOSSES[spec.name](logprobs_N, sampler_N, advantage_N, spec).backward()
    assert logprobs_N.grad is not None
    return (-logprobs_N.grad).tolist()


def test_a_token_weighs_its_ratio_up_to_the_cap() -> None:
    assert weights(SPEC) == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.0, 0.25])
    assert weights(replace(SPEC, correction_cap=5.0)) == pytest.approx([0.5, 1.0, 1.5, 3.0, 5.0, 0.25])


def test_a_rollout_weighs_the_product_of_its_ratios_up_to_the_cap() -> None:
    assert weights(replace(SPEC, correction="sequence")) == pytest.approx([0.75, 0.75, 0.75, 2.0, 2.0, 0.25])


def test_without_correction_a_token_weighs_its_ratio() -> None:
    assert weights(replace(SPEC, correction="none")) == pytest.approx(list(RATIOS))


def test_cispo_and_ppo_are_corrected_too() -> None:
    assert weights(default_loss("cispo")) == pytest.approx([0.5, 1.0, 1.5, 2.0, 2 / 8 * 4, 0.25])
    assert weights(default_loss("ppo")) == pytest.approx([0.5, 1.0, 0.0, 0.0, 0.0, 0.25])


@pytest.mark.parametrize("ratio", [1 - 1e-6, 1.0, 1 + 1e-6, 1.9])
def test_where_nothing_is_truncated_the_factor_is_one_to_the_bit(ratio: float) -> None:
    logprobs_N, sampler_N = (each.float() for each in pair((ratio,) * 6))
    assert factors(logprobs_N, sampler_N, torch.tensor(ROWS), SPEC).tolist() == [1.0] * 6


def test_the_spread_by_hand() -> None:
    logprobs_N, sampler_N = pair()
    sums_B = rollout_sums(logprobs_N - sampler_N, torch.tensor(ROWS))
    assert sums_B.exp().tolist() == pytest.approx([0.75, 24.0, 0.25])
    found = spread(logprobs_N, sampler_N, sums_B, SPEC)
    assert found["logprob_gap"] == pytest.approx(sum(abs(math.log(ratio)) for ratio in RATIOS) / 6)
    assert found["ratio_max"] == pytest.approx(8.0), "raw: before anything is truncated"
    assert found["capped_fraction"] == pytest.approx(2 / 6)
    assert found["sequence_ratio_mean"] == pytest.approx(25 / 3)
    assert found["sequence_capped_fraction"] == pytest.approx(1 / 3)
