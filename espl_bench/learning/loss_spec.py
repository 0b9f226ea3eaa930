"""The loss of a training step, and the clipping or truncation of its probability ratios."""

from dataclasses import dataclass
from typing import Final, Literal

CorrectionLevel = Literal["token", "sequence", "none"]
DEFAULT_LOSS: Final = "importance_sampling"
DEFAULT_CORRECTION: Final[CorrectionLevel] = "token"
"""The correction of every loss that takes one, unless another is asked for."""


@dataclass(frozen=True, slots=True)
class LossSpec:
    """A policy-gradient loss and its clips (learning/losses.py has the formulas)."""

    name: str = DEFAULT_LOSS
    """Registered name."""
    clip_low: float = 0.8
    """Lower bound of the probability ratio (ppo: 0.8, cispo: 0.0); unused by importance_sampling."""
    clip_high: float = 1.2
    """Upper bound of the probability ratio (ppo: 1.2, cispo: 4.0)."""
    correction: CorrectionLevel | None = None
    """The ratio of trainer to sampler that is truncated: each token's, the sequence's, or none (learning/correction.py). None: the loss's
    own."""
    correction_cap: float = 2.0
