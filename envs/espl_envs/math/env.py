"""The environment, made from published sets in the data home; `own_files` makes it from one's own files."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar

from espl_bench.data.find_data import load_data
from espl_bench.data.store import StoredData
from espl_bench.environment.text_env import SingleTurnEnv, Verdict
from espl_bench.errors import UsageError
from espl_bench.grading import COMPETITION_MATHS, Extraction, GradingRules, grade
from espl_bench.grading.process_pool import MAX_SIZE
from espl_bench.grading.rules import RULES_VERSION, rules_of
from espl_bench.types import Problem, Split
from espl_envs.math.rows import ROWS
from espl_envs.math.splits import MathRow, Splits, hold_out

HOLDOUT = 5
"""One in this many training problems is held out for validation."""


class MathEnv(SingleTurnEnv):
    r"""Competition mathematics: one problem, one response, an answer in a box.

    Description:
        A problem in words and LaTeX whose answer is a number, a formula, a tuple or a list. The environment's row of choices
        names the sets to train on and to test on; they are fetched or imported once with ``espl-bench data`` and are not part
        of this package.

    Action space:
        Text. The answer is the content of the last ``\boxed{…}`` after any thinking (``<think>…</think>``), unless the argument
        `extraction` says otherwise.

    Observation space:
        Text: the problem, without any instruction. The dialect says how to give the answer.

    Rewards:
        1 if the project's grader finds the answer equal to the truth, else 0.

    Episode end:
        Terminated after one response; truncated if that is longer than 200,000 characters.

    Splits:
        Item i is a function of the imported data and the options alone. Validation is a slice of the training set that a
        hash of the text holds out, the same for every run; an evaluation-only environment has the test split alone.

    Arguments:
        extraction: Where the answer is: ``boxed`` (default), ``boxed_or_answer_line``, ``answer_line`` or ``anywhere``,
            see `espl_bench.grading.Extraction`.
        holdout: One in this many training problems is held out for validation (default 5); 0: none, and runs are not validated.
        sources: Names of the training sets to use, with commas between (default: all; published sets only).
        train, validation, test: Your own files, instead of published sets: a file, a pattern or a folder of shards each.
        problem_column, answer_column: Their columns, if their layout is not recognised.
        skip_bad_rows: Drop and count rows without a usable problem or answer, instead of refusing the file (default false).
        allow_conflicts: Let the last answer of a problem with several answers count (default false).

    Version history:
        v1: first version.
    """

    max_response_chars: ClassVar[int] = 200_000
    steps_at_once: ClassVar[int] = MAX_SIZE
    """The size of the largest pool of grading processes."""

    def __init__(self, served: Splits, facts: Mapping[str, Any], rules: GradingRules = COMPETITION_MATHS) -> None:
        """Serve these problems and grade by these rules; `facts` go into provenance."""
        super().__init__()
        self.served = served
        self.facts = facts
        self.rules = rules

    @property
    def splits(self) -> tuple[Split, ...]:
        """Splits with data."""
        return tuple(self.served.problems)

    def size(self, split: Split) -> int:
        """Return the number of items; 0 for a split that the environment does not have."""
        return len(self.served.problems.get(split, ()))

    def problem(self, split: Split, index: int) -> Problem:
        """Return item `index` of the split."""
        return self.served.problems[split][index]

    def grade(self, problem: Problem, response: str) -> Verdict:
        """Grade with the project's grader, which removes the thinking itself."""
        result = grade(problem.answer, response, self.rules)
        return Verdict.of(result.outcome, None if result.outcome.graded else result.detail)

    def data_identity(self) -> Mapping[str, str]:
        """Return the hash of each split's problems and answers in order."""
        return self.served.identity

    def data_facts(self) -> Mapping[str, Any]:
        """Return the origins of the problems, and the version of the grading rules."""
        return {**self.facts, "grading_rules": RULES_VERSION}


def published(dataset: str, holdout: int = HOLDOUT, sources: str | None = None, extraction: str = Extraction.BOXED) -> MathEnv:
    """Make an environment of published sets.

    Args:
        dataset: key of `rows.ROWS`.
        holdout: see `MathEnv`.
        sources: see `MathEnv`.
        extraction: see `MathEnv`.

    Raises:
        UsageError: an option is invalid.
        DataError: a set is not in the data home, or damaged; names the command that restores it.
    """
    row, rules = ROWS[dataset], rules_of(extraction)
    chosen = None if sources is None else tuple(name.strip() for name in str(sources).split(",") if name.strip())
    if chosen is not None and not (chosen and row.data.train):
        known = ", ".join(source.name for source in row.data.train) or "none, it is for evaluation only"
        raise UsageError(f"{dataset}: sources takes names of training sets with commas between; there are: {known}")
    stored = load_data(dataset, row.data, chosen)
    return MathEnv(*_published(dataset, holdout, stored[Split.TRAIN], stored[Split.VALIDATION], stored[Split.TEST]), rules)


@lru_cache(maxsize=32)
def _published(
    dataset: str, holdout: int, train: tuple[StoredData, ...], validation: tuple[StoredData, ...], test: tuple[StoredData, ...]
) -> tuple[Splits, Mapping[str, Any]]:
    """Build the splits once: a run makes an environment for every episode."""
    learned, held = _rows(train), _rows(validation)
    if (selection := ROWS[dataset].selection) is not None:
        learned = selection.of(learned)
    if learned and not held:
        learned, held = hold_out(learned, holdout, dataset)
    splits = Splits.of({Split.TRAIN: learned, Split.VALIDATION: held, Split.TEST: _rows(test)})
    return splits, {"sets": [stored.facts() for stored in (*train, *validation, *test)]}


def _rows(sets: tuple[StoredData, ...]) -> list[MathRow]:
    return [MathRow(stored.manifest.source, item) for stored in sets for item in stored.items]
