"""Every hostile answer ends within its limits, with the right outcome, and leaves nothing behind: no file, no memory."""

import gc
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from grading_fixtures import SHORT, hostile, resident_mib

from espl_bench.grading import Candidate, Extraction, GradingRules, VerifierPool, grade, judge_many
from espl_bench.grading.extract import extract
from espl_bench.types import Outcome

PATIENT = replace(SHORT, timeout_s=9.0)
"""Time enough for what is only long, also on a busy machine."""


def test_the_hostile_corpus(tmp_path: Path, pool: VerifierPool):
    mark = tmp_path / "executed"
    grade("1/2", "\\boxed{0.5}", SHORT, pool)
    gc.collect()
    before = resident_mib() if sys.platform == "linux" else 0.0
    corpus = list(hostile(mark))
    assert len(corpus) >= 60
    assert len({case.name for case in corpus}) == len(corpus)

    began = time.monotonic()
    candidates = (Candidate(case.gold, extract(case.response, PATIENT.extraction), PATIENT) for case in corpus)
    grades = list(judge_many(candidates, pool))
    lasted = time.monotonic() - began
    surprises = {
        case.name: (found.outcome, found.detail) for case, found in zip(corpus, grades, strict=True) if found.outcome not in case.allowed
    }
    assert not surprises
    assert not mark.exists(), "nothing was run as code"
    assert lasted < len(corpus) * PATIENT.timeout_s, "nobody waits for what hangs"

    if sys.platform == "linux":
        del corpus, grades, candidates
        gc.collect()
        assert resident_mib() - before < 50, "MiB of this process"


def test_searching_a_hostile_text_is_bounded_too(tmp_path: Path, pool: VerifierPool):
    mark = tmp_path / "executed"
    texts = [
        f"The answer is __import__('os').system('touch {mark}')",
        "Final answer is $9^{9^{9^{9^9}}}$. I hope",
        "The final answer is 9**9**9**9**9",
        "$" * 100_000,
        "answer " * 100_000,
        "\\boxed{" * 100_000,
        "1 " * 100_000 + "x",
        "(" * 50_000 + "7" + ")" * 50_000,
        "the number $x_{1}$ is \\(3\\) and so 12 = 7 or [a] $$ " * 2_000,
        "9" * 1_000_000,
        "",
        "\x00\ud800\u202e",
    ]
    rules = type(SHORT)(Extraction.ANYWHERE, timeout_s=SHORT.timeout_s)
    candidates = [Candidate("42", extract(text, Extraction.ANYWHERE), rules) for text in texts]
    outcomes = [found.outcome for found in judge_many(candidates, pool)]
    assert Outcome.CORRECT not in outcomes
    assert not mark.exists()


@pytest.mark.parametrize(
    ("answer", "rules", "outcome"),
    [
        ("9^{9^{9^{9^9}}}", SHORT, Outcome.TIMEOUT),
        ("\\prod_{n=1}^{10^{9}} n", SHORT, Outcome.TIMEOUT),
        ("\\operatorname{eye}(30000)", replace(SHORT, timeout_s=90.0), Outcome.ERROR),
    ],
)
def test_the_same_answer_has_the_same_outcome(answer: str, rules: GradingRules, outcome: Outcome, pool: VerifierPool):
    """Each meets one of the two limits, of time and of memory, long before the other."""
    first, second = (grade("42", f"\\boxed{{{answer}}}", rules, pool) for _ in range(2))
    assert first == second
    assert first.outcome is outcome
