"""Context distillation on the student's own rollouts: the same tokens, as a teacher under another prompt sees them.

A student's token that a teacher finds more probable than the student has a positive advantage, log p_teacher - log p_student. With the loss
`importance_sampling` its gradient is that of the reverse KL divergence of each token's distribution, KL(student || teacher), estimated by
the token that was sampled (as on-policy distillation does; OPCD, arXiv 2602.12275, sums over the vocabulary's most probable tokens).
"""

from collections.abc import Sequence
from dataclasses import replace

from espl_bench.errors import UsageError
from espl_bench.learning.datums import to_datums
from espl_bench.types import Datum, Trajectory


def seen_under(trajectory: Trajectory, prompt_T: Sequence[int], temperature: float) -> Datum:
    """Return a rollout as it would be if it had begun with another rendered prompt.

    Raises UsageError for a rollout of several segments: later ones repeat the conversation in their own rendering.
    """
    if len(trajectory.segments) != 1:
        raise UsageError(
            "a teacher reads a rollout as one token sequence, and this model's chat template rewrites earlier turns; "
            "distil a model whose template extends them"
        )
    first, *later = trajectory.turns
    [datum] = to_datums(replace(trajectory, turns=(replace(first, observation_T=tuple(prompt_T)), *later)), 0.0, temperature)
    return datum


def towards(student: Datum, teacher_logprobs: Sequence[float], scale: float = 1.0) -> Datum:
    """Return the student's datum with the advantages that lead to the teacher.

    Args:
        student: a rollout as it was sampled.
        teacher_logprobs: the teacher's log-probability of each sampled token, in nats.
        scale: factor of every advantage.
    """
    teacher = iter(teacher_logprobs)
    advantages_T = tuple(
        (next(teacher) - own) * scale if sampled else 0.0 for own, sampled in zip(student.logprobs_T, student.mask_T, strict=True)
    )
    return replace(student, advantages_T=advantages_T)


def mean_gap(students: Sequence[Datum], teacher_logprobs: Sequence[Sequence[float]]) -> float:
    """Return the mean over sampled tokens of log p_student - log p_teacher: an estimate of the reverse KL in nats per token."""
    own = [logprob for datum in students for logprob, sampled in zip(datum.logprobs_T, datum.mask_T, strict=True) if sampled]
    theirs = [logprob for row in teacher_logprobs for logprob in row]
    return sum(one - other for one, other in zip(own, theirs, strict=True)) / max(1, len(own))
