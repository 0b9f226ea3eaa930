"""How answers are graded: the one place where the mathematics environments call the project's grader."""

from espl_bench.env import Verdict
from espl_bench.thinking import spoken


def judge(gold: str, response: str) -> Verdict:
    """Grade what a response says after any thinking. The grader loads a computer algebra system, so it is imported when first used."""
    from espl_bench.grading import GradingRules, grade

    found = grade(gold, spoken(response), GradingRules())
    return Verdict.of(found.outcome, None if found.outcome.graded else found.detail)
