"""The environment: one set of reasoning-gym, or several in turn."""

import atexit
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, ClassVar, Final

from espl_bench.environment.text_env import SingleTurnEnv, Verdict
from espl_bench.errors import UsageError
from espl_bench.grading.confined import ConfinedFunction, ConfinedResult
from espl_bench.grading.wire import GraderFinding
from espl_bench.types import Outcome, Problem, Split
from espl_bench.utils.numbers import is_whole
from espl_bench.utils.reasoning import strip_reasoning
from espl_envs.reasoning_gym.items import MOST_ITEMS, MOST_SEED, Item, Wanted, draw
from espl_envs.reasoning_gym.sets import FAMILY, joined, parse_sets

SCORE: Final = "score"
"""Measure: the score of the set's own grader."""
REFUSED: Final = "refused"
"""Measure: share of the answers that its grader does not read: it raises an exception, or the answer would have it open a file."""
TIMEOUT_S: Final = 30.0
MEMORY_MIB: Final = 512


class ReasoningGymEnv(SingleTurnEnv):
    """Puzzles that reasoning-gym generates and grades.

    Description:
        An item of a set, such as ``countdown`` or ``chain_sum``, or of several sets in turn. Only sets that keep the contract of an
        environment are served (`espl_envs.reasoning_gym.sets`).

    Action space:
        Text. The answer stands between the last ``<answer>`` and ``</answer>``, after any thinking.

    Observation space:
        Text: the question as the set asks it.

    Rewards:
        1 if the set's own grader gives the answer its full score, else 0. The score, which for some sets may be anything between, is
        reported as the measure ``score``. Graders that do more than compare two texts work in a confined process. An answer on which one
        raises an exception, or which would have it open a file, is wrong, and counted in the measure ``refused``.

    Episode end:
        Terminated after one response; truncated if that is longer than 20,000 characters.

    Splits:
        256 items to train on, 64 to validate, 100 to test. They are drawn by seeds a million apart, and no question is in two of them.

    Arguments:
        sets: A set, or several with ``+`` between.
        train_items, validation_items, test_items: Items of each split.
        seed: Every number draws other items (default 0).
        parameters: Of the sets, such as difficulty: ``max_terms=3``, or with several sets ``chain_sum.max_terms=3``.

    Version history:
        v1: first version.
    """

    steps_at_once: ClassVar[int] = 16

    def __init__(self, wanted: Wanted, items: Mapping[Split, Sequence[Item]]) -> None:
        """Serve these items."""
        super().__init__()
        self.wanted = wanted
        self.items = items

    def size(self, split: Split) -> int:
        """Return the number of items."""
        return len(self.items[split])

    def problem(self, split: Split, index: int) -> Problem:
        """Return item `index` of the split."""
        return self.items[split][index].problem(split, index)

    def grade(self, problem: Problem, response: str) -> Verdict:
        """Let the set's grader score what stands between the last tags."""
        answer = last_answer(response)
        if not answer:
            return Verdict.of(Outcome.NO_ANSWER, None, **{SCORE: 0.0})
        result = _score(self.items[problem.split][problem.index], self.wanted, answer)
        if result.finding in (GraderFinding.RAISED, GraderFinding.FORBIDDEN):
            return Verdict.of(Outcome.WRONG, None, **{SCORE: 0.0, REFUSED: 1.0})
        return Verdict.of(result.outcome, result.fault or None, **{SCORE: float(result.value or 0.0)})

    def data_identity(self) -> Mapping[str, str]:
        """Return the hash of the items, and the version of the package, whose graders are a part of the data."""
        return {**self.items_identity(), "package": f"{FAMILY} {package_version()}"}

    def data_facts(self) -> Mapping[str, Any]:
        """Return the version of the package, the sets and their parameters."""
        parameters: dict[str, Any] = json.loads(self.wanted.parameters)
        return {"package": FAMILY, "version": package_version(), "sets": list(self.wanted.sets), "parameters": parameters}


def last_answer(response: str) -> str:
    """Return what stands between the last pair of tags; empty if there is none."""
    before, closed, _ = strip_reasoning(response).rpartition("</answer>")
    _, opened, inside = before.rpartition("<answer>")
    return inside.strip() if closed and opened else ""


def package_version() -> str:
    """Return the installed version. Raises UsageError without the package."""
    try:
        return version(FAMILY)
    except PackageNotFoundError as error:
        remedy = f"install it with: pip install 'espl-bench[{FAMILY}]'"
        raise UsageError(f"environments {FAMILY}:… need the package {FAMILY}; {remedy}") from error


def _score(item: Item, wanted: Wanted, answer: str) -> ConfinedResult:
    from espl_envs.reasoning_gym import graders

    own = json.dumps(wanted.of(item.set), sort_keys=True)
    payload = {"set": item.set, "parameters": own, "entry": item.entry, "answer": answer}
    if graders.compares_texts(item.set):
        return ConfinedResult(graders.score(payload), "", GraderFinding.ANSWERED)
    return _confined()(payload)


@cache
def _confined() -> ConfinedFunction:
    """Return the confined grader of this process, shared by all instances."""
    confined = ConfinedFunction("espl_envs.reasoning_gym.graders:score", TIMEOUT_S, MEMORY_MIB)
    atexit.register(confined.close)
    return confined


def make(
    sets: str, train_items: int = 256, validation_items: int = 64, test_items: int = 100, seed: int = 0, **parameters: Any
) -> ReasoningGymEnv:
    """Make an environment of sets that are served; for the arguments see `ReasoningGymEnv`. Raises UsageError in one line."""
    return serve(parse_sets(sets), {Split.TRAIN: train_items, Split.VALIDATION: validation_items, Split.TEST: test_items}, seed, parameters)


def serve(sets: tuple[str, ...], sizes: Mapping[Split, int], seed: int, parameters: Mapping[str, Any]) -> ReasoningGymEnv:
    """Make an environment of any sets. Raises UsageError in one line."""
    package_version()
    for split, size in sizes.items():
        if not (is_whole(size, least=len(sets)) and size <= MOST_ITEMS):
            raise UsageError(f"{FAMILY}: {split}_items must be a whole number from {len(sets)} to {MOST_ITEMS:,}, not {size!r}")
    if not (is_whole(seed, least=0) and seed <= MOST_SEED):
        raise UsageError(f"{FAMILY}: seed must be a whole number from 0 to {MOST_SEED:,}, not {seed!r}")
    wanted = Wanted(sets, json.dumps(_by_set(sets, parameters), sort_keys=True), tuple(sizes.items()), seed)
    return ReasoningGymEnv(wanted, draw(wanted))


def _by_set(sets: Sequence[str], parameters: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Sort parameters by set: ``chain_sum.max_terms`` names it, and need not if there is only one. Raises UsageError."""
    sorted_out: dict[str, dict[str, Any]] = {name: {} for name in sets}
    for key, value in parameters.items():
        name, between, parameter = key.partition(".")
        if not between and len(sets) == 1:
            name, parameter = sets[0], key
        if name not in sets or not parameter:
            of_what = f"{FAMILY}:{joined(sets)} has several sets" if len(sets) > 1 else f"{FAMILY}:{sets[0]} is one set"
            raise UsageError(f"option {key} is of no set: {of_what}; write it as {sets[0]}.{parameter or key}={value}")
        sorted_out[name][parameter] = value
    return {name: own for name, own in sorted_out.items() if own}
