"""Which loss a training step uses, and what of its probability ratios is clipped or truncated."""

from dataclasses import dataclass
from typing import Literal

CorrectionLevel = Literal["token", "sequence", "none"]


@dataclass(frozen=True, slots=True)
class LossSpec:
    """Which policy-gradient loss, and where its ratio is clipped (learning/losses.py has the formulas)."""

    name: str = "importance_sampling"
    """As it is registered."""
    clip_low: float = 0.8
    """Lower bound of the probability ratio (ppo: 0.8, cispo: 0.0); unused by importance_sampling."""
    clip_high: float = 1.2
    """Upper bound of the probability ratio (ppo: 1.2, cispo: 4.0)."""
    correction: CorrectionLevel = "token"
    """Whose ratio of trainer to sampler is truncated (learning/correction.py)."""
    correction_cap: float = 2.0
