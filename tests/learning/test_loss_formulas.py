"""Every loss under every correction against formulas written here a second time, for ratios from 0.01 to 100."""

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from engine_calls import data, sample, wait
from engines_fixtures import make_model
from hf_calls import load, requests

from espl_bench.engines.engine import AdamParams
from espl_bench.errors import UsageError
from espl_bench.learning.correction import importance_weights
from espl_bench.learning.loss_spec import CorrectionLevel, LossSpec
from espl_bench.learning.losses import correction_of, default_loss, summed_loss
from espl_bench.registry import LOSSES, names

RATIOS = tuple(10 ** (exponent / 20) for exponent in range(-40, 41))
"""0.01 to 100, 1 in the middle."""
ADVANTAGES = (1.0, 0.3, -1.0, -2.5)
CAP = 2.0
SEVERAL = 3
"""Tokens of a rollout, for corrections of whole sequences."""


def plain(ratio: float, advantage: float) -> float:
    """The policy gradient with its importance ratio."""
    return ratio * advantage


def truncated(ratio: float, advantage: float) -> float:
    """Truncated importance sampling (Yao et al. 2025)."""
    return min(ratio, CAP) * advantage


def clipped_where_it_would_gain(ratio: float, advantage: float) -> float:
    """PPO (arXiv 1707.06347): no gradient from a ratio that has moved far enough in the direction of its advantage."""
    moved_enough = ratio > 1.2 if advantage > 0 else ratio < 0.8
    return 0.0 if moved_enough else ratio * advantage


def clipped_weight(ratio: float, advantage: float) -> float:
    """CISPO (MiniMax-M1, arXiv 2506.13585): the clipped ratio is a weight of the gradient."""
    return min(ratio, 4.0) * advantage


FORMULAS = {
    ("importance_sampling", None): truncated,
    ("importance_sampling", "token"): truncated,
    ("importance_sampling", "none"): plain,
    ("ppo", None): clipped_where_it_would_gain,
    ("ppo", "none"): clipped_where_it_would_gain,
    ("cispo", None): clipped_weight,
    ("cispo", "none"): clipped_weight,
}


def weights(spec: LossSpec, ratios: list[float], advantages: list[float], rows: list[int]) -> list[float]:
    """What each token's gradient of log p is weighed with, as the trainer computes it."""
    sampler_N = torch.linspace(-6.0, -0.1, len(ratios), dtype=torch.float64)
    logprobs_N = (sampler_N + torch.tensor(ratios, dtype=torch.float64).log()).requires_grad_()
    advantage_N = torch.tensor(advantages, dtype=torch.float64)
    factor_N = importance_weights(logprobs_N, sampler_N, torch.tensor(rows), spec)
    summed_loss(logprobs_N, sampler_N, advantage_N * factor_N, spec).backward()
    assert logprobs_N.grad is not None
    return (-logprobs_N.grad).tolist()


def test_every_registered_loss_has_a_formula_here():
    assert {loss for loss, _ in FORMULAS} == set(names(LOSSES))


@pytest.mark.parametrize(("loss", "correction"), FORMULAS, ids=str)
@pytest.mark.parametrize("advantage", ADVANTAGES)
def test_a_token_weighs_what_its_paper_says(loss: str, correction: CorrectionLevel | None, advantage: float):
    spec = replace(default_loss(loss), correction=correction, correction_cap=CAP)
    ratios = [ratio for ratio in RATIOS if all(abs(ratio - bound) > 1e-9 for bound in (0.8, 1.2))]
    found = weights(spec, ratios, [advantage] * len(ratios), list(range(len(ratios))))
    assert found == pytest.approx([FORMULAS[loss, correction](ratio, advantage) for ratio in ratios])


@pytest.mark.parametrize("loss", ["importance_sampling", "cispo"])
def test_no_token_weighs_less_for_a_larger_ratio(loss: str):
    found = weights(default_loss(loss), list(RATIOS), [1.0] * len(RATIOS), list(range(len(RATIOS))))
    assert all(later >= earlier * (1 - 1e-12) for earlier, later in pairwise(found))


def test_every_token_of_a_rollout_weighs_the_truncated_product_of_its_ratios():
    ratios = [*RATIOS[: len(RATIOS) // SEVERAL * SEVERAL]]
    rows = [place // SEVERAL for place in range(len(ratios))]
    spec = LossSpec("importance_sampling", correction="sequence", correction_cap=CAP)
    products = [math.prod(ratios[start : start + SEVERAL]) for start in range(0, len(ratios), SEVERAL)]
    for advantage in ADVANTAGES:
        found = weights(spec, ratios, [advantage] * len(ratios), rows)
        assert found == pytest.approx([min(products[row], CAP) * advantage for row in rows])


@pytest.mark.parametrize("loss", ["ppo", "cispo"])
@pytest.mark.parametrize("correction", ["token", "sequence"])
def test_a_loss_that_bounds_the_ratio_itself_takes_no_second_truncation(loss: str, correction: CorrectionLevel):
    with pytest.raises(UsageError, match=f"correction {correction} truncates plain ratios, and loss {loss} .*; leave it out"):
        weights(replace(default_loss(loss), correction=correction), [1.0], [1.0], [0])


def test_a_loss_has_a_correction_of_its_own():
    assert {loss: correction_of(loss) for loss in ("importance_sampling", "ppo", "cispo")} == {
        "importance_sampling": "token",
        "ppo": "none",
        "cispo": "none",
    }
    assert correction_of("importance_sampling", "sequence") == "sequence" and correction_of("cispo", "none") == "none"
    with pytest.raises(UsageError, match="unknown loss 'cipso'; did you mean 'cispo'"):
        correction_of("cipso")


@pytest.mark.parametrize(("ratio", "weight"), [(0.5, 0.5), (3.0, 3.0), (8.0, 4.0), (40.0, 4.0)])
def test_the_trainer_weighs_by_cispos_weight(ratio: float, weight: float, tmp_path: Path):
    asked = requests()
    norms: dict[float, float] = {}
    for each in (1.0, ratio):
        engine = load(make_model(tmp_path / str(each)))
        off = [replace(d, logprobs_T=tuple(q - math.log(each) for q in d.logprobs_T)) for d in data(asked, sample(engine, asked))]
        norms[each] = wait(engine.train_step(off, default_loss("cispo"), AdamParams(lr=1e-3, grad_clip=0.0)))["grad_norm"]
    assert norms[ratio] / norms[1.0] == pytest.approx(weight, rel=1e-3)
