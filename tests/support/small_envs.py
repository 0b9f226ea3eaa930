"""Small sound environments: additions, asked once or twice."""

from typing import Any, ClassVar

from espl_bench.environment.text_env import Info, SingleTurnEnv, TextEnv, Verdict
from espl_bench.types import Outcome, Problem, Split


class Sums(SingleTurnEnv):
    """A small sound environment: what is 3 + 4?"""

    max_response_chars = 1000
    offset: ClassVar = {Split.TRAIN: 0, Split.VALIDATION: 100, Split.TEST: 200}

    def size(self, split: Split) -> int:
        return 20

    def problem(self, split: Split, index: int) -> Problem:
        left = self.offset[split] + index
        return Problem(f"{split}/{index}", split, index, f"{left} + 4 = ?", str(left + 4), gold=f"answer {left + 4}")

    def grade(self, problem: Problem, response: str) -> Verdict:
        _, found, answer = response.rpartition("answer")
        if not found or not answer.strip():
            return Verdict.of(Outcome.NO_ANSWER)
        return Verdict.of(Outcome.CORRECT if answer.strip() == problem.answer else Outcome.WRONG)


class AskTwice(TextEnv):
    """A sound environment of two turns."""

    max_response_chars = 1000
    sums = Sums()

    def size(self, split: Split) -> int:
        return self.sums.size(split)

    def problem(self, split: Split, index: int) -> Problem:
        return self.sums.problem(split, index)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        self.turn = 0
        return super().reset(seed=seed, options=options)

    def respond(self, problem: Problem, action: str) -> tuple[str, float, bool, bool, Info]:
        self.turn += 1
        if self.turn < 2:
            return "are you sure?", 0.0, False, False, {}
        self.current = None
        verdict = self.sums.grade(problem, action)
        return "", verdict.reward, True, False, {"outcome": verdict.outcome}
