"""The advantages of a distilled token, and that their gradient is that of the reverse KL."""

from dataclasses import replace

import pytest
import torch

from espl_bench.errors import UsageError
from espl_bench.learning.distillation import mean_gap, seen_under, towards
from espl_bench.learning.loss_spec import LossSpec
from espl_bench.learning.losses import importance_sampling
from espl_bench.types import Completion, Datum, Outcome, Problem, Split, StopReason, Trajectory, Turn

PROBLEM = Problem("train/0", Split.TRAIN, 0, "q", "a", gold="a")
FIRST = Turn((1, 2), Completion((3, 4), (-0.1, -0.2), "x", StopReason.STOP))
SECOND = Turn((5,), Completion((6,), (-0.3,), "y", StopReason.STOP))
ROLLOUT = Trajectory(PROBLEM, 0, 0, (FIRST, SECOND), 1.0, Outcome.CORRECT)


def test_the_teacher_sees_the_same_tokens_after_its_own_prompt():
    assert seen_under(ROLLOUT, (7, 8, 9), 0.5) == Datum(
        (7, 8, 9, 3, 4, 5, 6), (False, False, False, True, True, False, True), (0.0, 0.0, 0.0, -0.1, -0.2, 0.0, -0.3), 0.0, 0.5
    )


def test_several_segments_are_refused():
    with pytest.raises(UsageError, match="rewrites earlier turns"):
        seen_under(replace(ROLLOUT, turns=(FIRST, replace(SECOND, starts_segment=True))), (7,), 1.0)


def test_an_advantage_is_what_the_teacher_finds_more_probable():
    student = seen_under(ROLLOUT, (1, 2), 1.0)
    assert towards(student, (-0.3, -0.1, -0.3)).advantages_T == pytest.approx((0.0, 0.0, -0.2, 0.1, 0.0, 0.0))
    assert towards(student, (-0.3, -0.1, -0.3), 0.5).advantages_T == pytest.approx((0.0, 0.0, -0.1, 0.05, 0.0, 0.0))
    assert mean_gap([student], [(-0.3, -0.1, -0.3)]) == pytest.approx((0.2 - 0.1) / 3)


def test_the_expected_gradient_is_that_of_the_reverse_kl():
    """Over all tokens, each weighed by its probability under the student."""
    generator = torch.Generator().manual_seed(0)
    logits, teacher = torch.randn(7, generator=generator).requires_grad_(), torch.log_softmax(torch.randn(7, generator=generator), 0)
    student = torch.log_softmax(logits, 0)
    kl = (student.exp() * (student - teacher)).sum()
    [expected] = torch.autograd.grad(kl, logits, retain_graph=True)
    sampled, weight = student.detach(), student.detach().exp()
    loss = importance_sampling(student, sampled, weight * (teacher - sampled), LossSpec())
    [found] = torch.autograd.grad(loss, logits)
    assert torch.allclose(found, expected, atol=1e-6)
