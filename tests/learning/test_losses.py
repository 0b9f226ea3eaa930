import math

import pytest
import torch

from espl_bench.errors import UsageError
from espl_bench.learning.loss_spec import LossSpec
from espl_bench.learning.losses import default_loss, mismatch, summed_loss
from espl_bench.registry import LOSSES, names

RATIOS = (0.5, 1.0, 1.5, 0.5, 1.5, 6.0)
ADVANTAGES = (1.0, 1.0, 1.0, -1.0, -1.0, 0.5)
SAMPLER = (-1.0, -0.3, -2.0, -0.7, -1.1, -3.0)


def loss_and_gradient(name: str, ratios: tuple[float, ...] = RATIOS) -> tuple[float, list[float]]:
    sampler_N = torch.tensor(SAMPLER, dtype=torch.float64)
    logprobs_N = (sampler_N + torch.tensor(ratios, dtype=torch.float64).log()).requires_grad_()
    advantages_N = torch.tensor(ADVANTAGES, dtype=torch.float64)
    loss = summed_loss(logprobs_N, sampler_N, advantages_N, default_loss(name))
    loss.backward()
    assert logprobs_N.grad is not None
    return loss.item(), logprobs_N.grad.tolist()


def test_importance_sampling_by_hand() -> None:
    loss, gradient = loss_and_gradient("importance_sampling")
    assert loss == pytest.approx(-(0.5 + 1.0 + 1.5 - 0.5 - 1.5 + 3.0))
    assert gradient == pytest.approx([-0.5, -1.0, -1.5, 0.5, 1.5, -3.0])


def test_ppo_by_hand() -> None:
    # min(rA, clip(r)A): 0.5, 1, 1.2 (cut), -0.8 (cut), -1.5, 0.6 (cut); a cut token has no gradient
    loss, gradient = loss_and_gradient("ppo")
    assert loss == pytest.approx(-(0.5 + 1.0 + 1.2 - 0.8 - 1.5 + 0.6))
    assert gradient == pytest.approx([-0.5, -1.0, 0.0, 0.0, 1.5, 0.0])


def test_cispo_by_hand() -> None:
    # weights are clipped to 0…4, and every token keeps its gradient
    loss, gradient = loss_and_gradient("cispo")
    logprobs = [sampler + math.log(ratio) for sampler, ratio in zip(SAMPLER, RATIOS, strict=True)]
    weights = [0.5, 1.0, 1.5, -0.5, -1.5, 2.0]
    assert loss == pytest.approx(-sum(weight * logprob for weight, logprob in zip(weights, logprobs, strict=True)))
    assert gradient == pytest.approx([-weight for weight in weights])


def test_ppo_is_importance_sampling_while_ratios_lie_within_the_clips() -> None:
    inside = (0.81, 0.9, 1.0, 1.1, 1.19, 1.05)
    for ours, theirs in zip(loss_and_gradient("ppo", inside), loss_and_gradient("importance_sampling", inside), strict=True):
        assert ours == pytest.approx(theirs)


def test_all_losses_share_the_on_policy_gradient() -> None:
    gradients = [loss_and_gradient(name, (1.0,) * 6)[1] for name in names(LOSSES)]
    for gradient in gradients:
        assert gradient == pytest.approx([-advantage for advantage in ADVANTAGES])


def test_mismatch_by_hand() -> None:
    sampler_N = torch.tensor(SAMPLER, dtype=torch.float64)
    logprobs_N = sampler_N + torch.tensor(RATIOS, dtype=torch.float64).log()
    measured = mismatch(logprobs_N, sampler_N, torch.arange(6.0), LossSpec("ppo", 0.8, 1.2))
    assert measured["ratio_mean"] == pytest.approx(sum(RATIOS) / 6)
    assert measured["kl_sampler"] == pytest.approx(-sum(map(math.log, RATIOS)) / 6)
    assert measured["clip_fraction"] == pytest.approx(5 / 6)
    assert measured["entropy"] == pytest.approx(2.5)


def test_default_clips_are_those_of_the_papers() -> None:
    assert default_loss("ppo") == LossSpec("ppo", 0.8, 1.2)
    assert default_loss("cispo") == LossSpec("cispo", 0.0, 4.0)
    assert default_loss("importance_sampling").name == "importance_sampling"
    with pytest.raises(UsageError, match="unknown loss 'cipso'; did you mean 'cispo'"):
        default_loss("cipso")  # type: ignore[arg-type]
