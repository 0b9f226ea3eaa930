"""Grading of mathematical answers: exact, bounded in time and memory, and safe with whatever a model writes.

    from espl_bench.grading import Extraction, GradingRules, grade

    grade("1/2", response).outcome                       # of the last box
    grade("42", response, GradingRules(Extraction.BOXED_OR_ANSWER_LINE)).outcome

An outcome is one of `espl_bench.types.Outcome`; ``truncated`` is left to the rollout, which knows why a text ended. For its
design, measurements and limits see ``docs/grading.md``.
"""

from espl_bench.grading.grader import (
    COMPETITION_MATHS,
    Candidate,
    Explanation,
    explain,
    explain_many,
    grade,
    grade_answer,
    grade_many,
    judge,
    judge_many,
)
from espl_bench.grading.process_pool import VerifierPool, shared_pool
from espl_bench.grading.rules import Extraction, Grade, GradingRules, How, MatchType

__all__ = [
    "COMPETITION_MATHS",
    "Candidate",
    "Explanation",
    "Extraction",
    "Grade",
    "GradingRules",
    "How",
    "MatchType",
    "VerifierPool",
    "explain",
    "explain_many",
    "grade",
    "grade_answer",
    "grade_many",
    "judge",
    "judge_many",
    "shared_pool",
]
