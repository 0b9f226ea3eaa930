"""The policy-gradient losses, one function each with its formula, and how far the trainer is from the sampler.

Notation: for each sampled token, p is its probability under the weights being trained, q the one the sampler drew it
with, both at the sampling temperature; A is the advantage of its trajectory; ratio = p / q. All losses are *summed* over
tokens (paper: policy gradient summed over tokens), and none has a KL term (paper: beta = 0).

A ratio is truncated once. A loss that bounds it in its own formula, as ppo and cispo do, is that of its paper and takes no
correction (`learning.correction`); importance_sampling bounds nothing, and takes one by default.

Every function takes tensors of shape (N,), N being all sampled tokens of some trajectories.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from espl_bench.errors import UsageError
from espl_bench.learning.loss_spec import DEFAULT_CORRECTION, CorrectionLevel, LossSpec
from espl_bench.registry import LOSSES, find

Compute = Callable[[Tensor, Tensor, Tensor, LossSpec], Tensor]
"""(trainer's log p, sampler's log q, advantage, spec) -> the summed loss, a scalar to minimise."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A loss with its usual clips."""

    compute: Compute
    clip_low: float = 0.8
    clip_high: float = 1.2
    weighs_by_ratio: bool = False
    """True if the gradient weighs every token by its plain ratio, which a correction may then truncate."""


def importance_sampling(logprobs_N: Tensor, sampler_N: Tensor, advantages_N: Tensor, spec: LossSpec) -> Tensor:
    """Compute L = -sum ratio * A. Its gradient is the policy gradient, corrected for the gap between sampler and trainer."""
    del spec  # nothing is clipped
    return -(torch.exp(logprobs_N - sampler_N) * advantages_N).sum()


def ppo(logprobs_N: Tensor, sampler_N: Tensor, advantages_N: Tensor, spec: LossSpec) -> Tensor:
    """Compute L = -sum min(ratio * A, clip(ratio, low, high) * A) (PPO, arXiv 1707.06347, equation 7)."""
    ratio_N = torch.exp(logprobs_N - sampler_N)
    clipped_N = ratio_N.clamp(spec.clip_low, spec.clip_high)
    return -torch.minimum(ratio_N * advantages_N, clipped_N * advantages_N).sum()


def cispo(logprobs_N: Tensor, sampler_N: Tensor, advantages_N: Tensor, spec: LossSpec) -> Tensor:
    """Compute L = -sum stopgrad(clip(ratio, low, high)) * A * log p (CISPO, arXiv 2506.13585): every token keeps a gradient."""
    weight_N = torch.exp(logprobs_N.detach() - sampler_N).clamp(spec.clip_low, spec.clip_high)
    return -(weight_N * advantages_N * logprobs_N).sum()


IMPORTANCE_SAMPLING = Loss(importance_sampling, weighs_by_ratio=True)
PPO = Loss(ppo, clip_low=0.8, clip_high=1.2)
CISPO = Loss(cispo, clip_low=0.0, clip_high=4.0)
"""The paper clips CISPO's ratio to 0…4."""


def find_loss(name: str) -> Loss:
    """Return a loss by name. Raises UsageError with the nearest known name."""
    return find(LOSSES, name)


def default_loss(name: str) -> LossSpec:
    """Return the spec of a loss with its usual clips. Raises UsageError with the nearest known name."""
    loss = find_loss(name)
    return LossSpec(name, loss.clip_low, loss.clip_high)


def correction_of(loss: str, wanted: CorrectionLevel | None = None) -> CorrectionLevel:
    """Return the correction that a loss is computed with: the one wanted, or for None its own.

    Raises UsageError for one that a loss does not take, or with the nearest known name of a loss.
    """
    takes = find_loss(loss).weighs_by_ratio
    if wanted is None:
        return DEFAULT_CORRECTION if takes else "none"
    if wanted != "none" and not takes:
        raise UsageError(
            f"correction {wanted} truncates plain ratios, and loss {loss} does not weigh tokens by them; "
            f"leave it out, or set correction to none"
        )
    return wanted


def summed_loss(logprobs_N: Tensor, sampler_N: Tensor, advantages_N: Tensor, spec: LossSpec) -> Tensor:
    """Return the loss that the spec names, a scalar to minimise."""
    return find_loss(spec.name).compute(logprobs_N, sampler_N, advantages_N, spec)


def mismatch(logprobs_N: Tensor, sampler_N: Tensor, entropy_N: Tensor, spec: LossSpec) -> dict[str, float]:
    """Measure how far the trainer's probabilities are from the sampler's, as means over N >= 1 sampled tokens.

    Args:
        logprobs_N: the trainer's log p.
        sampler_N: the sampler's log q.
        entropy_N: the entropy of each token's distribution in the trainer, in nats.
        spec: the loss, for its clips.

    Returns:
        ``ratio_mean``: mean of p / q; 1 when the two agree.
        ``kl_sampler``: mean of log q - log p, an estimate of KL(sampler || trainer) in nats; may be slightly negative.
        ``clip_fraction``: share of ratios outside the clips (for importance_sampling, which clips nothing: would lie).
        ``entropy``: mean entropy in nats.
    """
    with torch.no_grad():
        ratio_N = torch.exp(logprobs_N - sampler_N)
        outside_N = (ratio_N < spec.clip_low) | (ratio_N > spec.clip_high)
        return {
            "ratio_mean": ratio_N.mean().item(),
            "kl_sampler": (sampler_N - logprobs_N).mean().item(),
            "clip_fraction": outside_N.float().mean().item(),
            "entropy": entropy_N.mean().item(),
        }
