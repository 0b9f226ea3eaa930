"""Environments of strangers, each with a fault that is met often; `Sums` with a change each."""

import os
import random
import time
from contextlib import suppress
from typing import Any, ClassVar

from small_envs import AskTwice, Sums

from espl_bench.environment.text_env import EnvironmentSpec, Info, Verdict
from espl_bench.types import Outcome, Problem, Split


def given(response: str) -> str:
    """What stands after the last mark."""
    return response.rpartition("answer")[2].strip() if "answer" in response else ""


class Evaluates(Sums):
    """Lets Python read the answer."""

    def grade(self, problem: Problem, response: str) -> Verdict:
        if not given(response):
            return Verdict.of(Outcome.NO_ANSWER)
        try:
            right = eval(given(response)) == int(problem.answer)
        except Exception:  # noqa: BLE001  # the fault
            right = False
        return Verdict.of(Outcome.CORRECT if right else Outcome.WRONG)


class NeverReturns(Sums):
    """Hangs on a tower of powers, as a grader that computes does."""

    def grade(self, problem: Problem, response: str) -> Verdict:
        while "9**9**9" in given(response):
            time.sleep(0.01)
        return super().grade(problem, response)


class Exits(Sums):
    """Ends its process on what it cannot read."""

    def grade(self, problem: Problem, response: str) -> Verdict:
        if response.startswith("[[[["):
            os._exit(3)
        return super().grade(problem, response)


class RaisesOnNoise(Sums):
    """Trusts that an answer is a number."""

    def grade(self, problem: Problem, response: str) -> Verdict:
        if not response:
            return Verdict.of(Outcome.NO_ANSWER)
        return Verdict.of(Outcome.CORRECT if float(response.removeprefix("answer ")) == float(problem.answer) else Outcome.WRONG)


class SharesState(AskTwice):
    """Counts turns in the class."""

    count: ClassVar[list[int]] = [0]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        self.count[0] = 0
        return super().reset(seed=seed, options=options)

    def respond(self, problem: Problem, action: str) -> tuple[str, float, bool, bool, Info]:
        self.count[0] += 1
        self.turn = self.count[0] - 1
        return super().respond(problem, action)


class RemembersEpisodes(Sums):
    """Does not take the same response twice."""

    last = ""

    def grade(self, problem: Problem, response: str) -> Verdict:
        repeated, self.last = response == self.last != "", response
        return Verdict.of(Outcome.WRONG) if repeated else super().grade(problem, response)


class SeedsTheProcess(Sums):
    """Seeds the generator that everybody shares."""

    def problem(self, split: Split, index: int) -> Problem:
        random.seed(index)
        return super().problem(split, index)


class Prints(Sums):
    """Tells the terminal what it does."""

    def grade(self, problem: Problem, response: str) -> Verdict:
        print("grading", problem.id)  # noqa: T201  # the fault
        return super().grade(problem, response)


class PaysForForm(Sums):
    """Accepts any number in the right place."""

    def grade(self, problem: Problem, response: str) -> Verdict:
        if not given(response):
            return Verdict.of(Outcome.NO_ANSWER)
        return Verdict.of(Outcome.CORRECT if given(response).isdecimal() and len(given(response)) < 9 else Outcome.WRONG)


class FindsAnywhere(Sums):
    """Looks for the answer anywhere, and names it among choices in the question."""

    def problem(self, split: Split, index: int) -> Problem:
        left = self.offset[split] + index
        return Problem(f"{split}/{index}", split, index, f"{left} + 4 = ? {left + 3}, {left + 4}", str(left + 4), gold=f"answer {left + 4}")

    def grade(self, problem: Problem, response: str) -> Verdict:
        if not response.strip():
            return Verdict.of(Outcome.NO_ANSWER)
        return Verdict.of(Outcome.CORRECT if problem.answer in response.split(" ") else Outcome.WRONG)


class FillsIn(Sums):
    """Formats what a model wrote."""

    def grade(self, problem: Problem, response: str) -> Verdict:
        with suppress(ValueError, KeyError, IndexError, AttributeError):
            response = response.format("", answer=problem.answer, problem=problem)
        return Verdict.of(Outcome.CORRECT if problem.answer in response.split() else Outcome.NO_ANSWER)


class ShiftedCopies(Sums):
    """Seeds of the splits that are next to each other."""

    offset: ClassVar = {Split.TRAIN: 1, Split.VALIDATION: 2, Split.TEST: 3}


class HalfACharacter(Sums):
    def problem(self, split: Split, index: int) -> Problem:
        plain = super().problem(split, index)
        return Problem(plain.id, split, index, plain.question + "\ud83d", plain.answer, plain.gold)


class NoText(Sums):
    def problem(self, split: Split, index: int) -> Problem:
        plain = super().problem(split, index)
        return Problem(plain.id, split, index, plain.question, None, plain.gold)  # pyright: ignore[reportArgumentType]


class OtherIdentity(Sums):
    def data_identity(self) -> dict[str, str]:
        return {"train": str(id(self)), "validation": "b", "test": "c"}


class SlowToMake(Sums):
    """Sound, and slow."""

    def __init__(self) -> None:
        super().__init__()
        time.sleep(1.1)


class WithoutGold(Sums):
    """Sound, and nobody knows the truth."""

    def problem(self, split: Split, index: int) -> Problem:
        plain = super().problem(split, index)
        return Problem(plain.id, split, index, plain.question)

    def grade(self, problem: Problem, response: str) -> Verdict:
        return Verdict.of(Outcome.WRONG if given(response) else Outcome.NO_ANSWER)


class BreaksWhenMade(Sums):
    def __init__(self, size: int = 3) -> None:
        super().__init__()
        assert size > 5, "size must\nbe above 5"


EVALUATES, NEVER_RETURNS, EXITS, SLOW, GOLDLESS, BREAKS, SOUND = (
    EnvironmentSpec(
        name=made.__name__, gym_id=f"faulty/{made.__name__}-v0", entry_point=f"{made.__module__}:{made.__name__}", summary="faulty"
    )
    for made in (Evaluates, NeverReturns, Exits, SlowToMake, WithoutGold, BreaksWhenMade, Sums)
)
