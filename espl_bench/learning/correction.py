"""Truncated importance sampling, which keeps a sampler that computes slightly differently from misleading the trainer.

Even with the same weights an engine made for sampling rounds differently from the trainer, and a rare token may come out with
a probability several times too small or too large. A loss that weighs a token by its plain ratio p / q (`learning.losses`) has
that ratio truncated from above here, per token or per rollout, by a factor on its advantage. A factor is 1 where nothing is truncated,
so that a sampler that agrees with the trainer changes nothing, not even in the last bit. A loss that bounds the ratio itself is left
alone: a second truncation would weigh a token the less, the larger its ratio.

Notation as in `learning.losses`; ``row_N`` says which rollout a token belongs to.
"""

import torch
from torch import Tensor

from espl_bench.learning.loss_spec import LossSpec
from espl_bench.learning.losses import correction_of


def importance_weights(logprobs_N: Tensor, sampler_N: Tensor, row_N: Tensor, spec: LossSpec) -> Tensor:
    """Return the factor of each token's advantage, (N,), without a gradient.

    token: min(1, cap / ratio), so that the token weighs min(ratio, cap) (truncated importance sampling, Yao et al. 2025).
    sequence: the token weighs min(product of its rollout's ratios, cap) instead of its own ratio.
    none: 1.

    Raises UsageError for a correction that the loss does not take.
    """
    with torch.no_grad():
        gap_N = logprobs_N - sampler_N
        match correction_of(spec.name, spec.correction):
            case "token":
                return torch.exp(-gap_N).mul(spec.correction_cap).clamp(max=1.0)
            case "sequence":
                return torch.exp(rollout_sums(gap_N, row_N)[row_N] - gap_N).minimum(torch.exp(-gap_N) * spec.correction_cap)
            case "none":
                return torch.ones_like(gap_N)


def rollout_sums(gap_N: Tensor, row_N: Tensor) -> Tensor:
    """Return the log of the product of ratios of each rollout, (B,)."""
    return gap_N.new_zeros(int(row_N.max()) + 1).index_add(0, row_N, gap_N)


def off_policy_metrics(logprobs_N: Tensor, sampler_N: Tensor, sums_B: Tensor, spec: LossSpec) -> dict[str, float]:
    """Measure how far single tokens and whole rollouts are off-policy, before anything is truncated.

    Args:
        logprobs_N: the trainer's log p.
        sampler_N: the sampler's log q.
        sums_B: log of the product of ratios of each rollout.
        spec: the loss, for its cap.

    Returns:
        ``logprob_gap``: mean of |log p - log q| in nats.
        ``ratio_max``: the largest p / q of a token.
        ``capped_fraction``: share of tokens whose ratio is above the cap.
        ``sequence_ratio_mean``: mean over rollouts of the product of their ratios.
        ``sequence_capped_fraction``: share of rollouts whose product is above the cap.
    """
    with torch.no_grad():
        gap_N = logprobs_N - sampler_N
        ratio_N, ratio_B = torch.exp(gap_N), torch.exp(sums_B)
        return {
            "logprob_gap": gap_N.abs().mean().item(),
            "ratio_max": ratio_N.max().item(),
            "capped_fraction": (ratio_N > spec.correction_cap).float().mean().item(),
            "sequence_ratio_mean": ratio_B.mean().item(),
            "sequence_capped_fraction": (ratio_B > spec.correction_cap).float().mean().item(),
        }
