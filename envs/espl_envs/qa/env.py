"""The environment, made from one's own files."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, ClassVar, Final

from espl_bench.data.instructions import AnswerPlace
from espl_bench.data.item_text import Item, identity_of
from espl_bench.data.layouts import AnswerKind
from espl_bench.data.own_files import OwnFiles, OwnRules, read_own_files, require_places
from espl_bench.environment.text_env import SingleTurnEnv, Verdict
from espl_bench.errors import unknown
from espl_bench.grading import Extraction
from espl_bench.grading.extract import extract
from espl_bench.types import Outcome, Problem, Split
from espl_envs.math.env import HOLDOUT
from espl_envs.math.splits import hold_out
from espl_envs.search.answers import exact_match, f1

READ: Final = {
    Extraction.ANSWER_LINE: (AnswerPlace.LINE,),
    Extraction.BOXED: (AnswerPlace.BOX,),
    Extraction.BOXED_OR_ANSWER_LINE: (AnswerPlace.BOX, AnswerPlace.LINE),
}
"""Places in which an answer is found, by extraction."""
GOLD: Final = {Extraction.BOXED: "The answer is $\\boxed{%s}$.", Extraction.BOXED_OR_ANSWER_LINE: "The answer is $\\boxed{%s}$."}


@dataclass(frozen=True, slots=True)
class QaRow:
    """A question of a split."""

    split: Split
    item: Item

    @property
    def answers(self) -> tuple[str, ...]:
        """Accepted answers, any of which is right."""
        return tuple(json.loads(self.item.answer))

    def problem(self, split: Split, index: int, extraction: Extraction) -> Problem:
        """Convert to the harness's problem; several answers are shown as the stored JSON list."""
        answers = self.answers
        shown = answers[0] if len(answers) == 1 else self.item.answer
        gold = GOLD.get(extraction, "Answer: %s") % " ".join(answers[0].split())
        return Problem(f"{self.split}/{self.item.row}", split, index, self.item.problem, shown, gold)


@dataclass(frozen=True)
class Served:
    """Questions that an environment serves."""

    rows: Mapping[Split, tuple[QaRow, ...]]
    extraction: Extraction

    @cached_property
    def problems(self) -> dict[Split, tuple[Problem, ...]]:
        """Problems of each split that has any, numbered."""
        return {
            split: tuple(row.problem(split, index, self.extraction) for index, row in enumerate(rows))
            for split, rows in self.rows.items()
            if rows
        }

    @cached_property
    def identity(self) -> dict[str, str]:
        """Hash of each split's questions and answers in order."""
        return {split.value: identity_of(row.item for row in rows) for split, rows in self.rows.items() if rows}


class QaEnv(SingleTurnEnv):
    """Questions with short answers in free text, which come in one spelling or in several.

    Description:
        A question of a file of one's own: of any layout with short answers that `espl_bench.data.layouts` knows, or of named columns.

    Action space:
        Text. The answer stands after the last ``Answer:`` that begins a line after any thinking, unless `extraction` says otherwise.

    Observation space:
        Text: the question, without any instruction. The dialect says how to give the answer.

    Rewards:
        1 if the answer is exactly one of the true ones, both normalised as in SQuAD's evaluation and
        `espl_bench.grading.words`, else 0. F1 is reported too.

    Episode end:
        Terminated after one response; truncated if that is longer than 20,000 characters.

    Splits:
        Item i is a function of the files and the options alone. Validation is a slice of the training file that a hash of the text
        holds out, unless it has a file of its own.

    Arguments:
        train, validation, test: A file, a pattern or a folder of shards each; without `train` it is for evaluation only.
        problem_column, answer_column: Their columns, if their layout is not recognised.
        extraction: ``answer_line`` (default), ``boxed`` or ``boxed_or_answer_line``, see `espl_bench.grading.Extraction`.
        holdout: One in this many training questions is held out for validation (default 5); 0: none.
        skip_bad_rows: Drop and count rows without a usable question or answer, instead of refusing the file (default false).
        allow_conflicts: Let the last answers of a question with several of them count (default false).

    Version history:
        v1: first version.
    """

    steps_at_once: ClassVar[int] = 16

    def __init__(self, served: Served, facts: Mapping[str, Any]) -> None:
        """Serve these questions; `facts` go into provenance."""
        super().__init__()
        self.served = served
        self.facts = facts

    @property
    def splits(self) -> tuple[Split, ...]:
        """Splits with questions."""
        return tuple(self.served.problems)

    def size(self, split: Split) -> int:
        """Return the number of questions; 0 for a split that the environment does not have."""
        return len(self.served.problems.get(split, ()))

    def problem(self, split: Split, index: int) -> Problem:
        """Return question `index` of the split."""
        return self.served.problems[split][index]

    def grade(self, problem: Problem, response: str) -> Verdict:
        """Grade by exact match, and measure F1."""
        answer = extract(response, self.served.extraction).answer
        if answer is None:
            return Verdict.of(Outcome.NO_ANSWER, None, f1=0.0)
        truths = self.served.rows[problem.split][problem.index].answers
        outcome = Outcome.CORRECT if exact_match(answer, truths) else Outcome.WRONG
        return Verdict.of(outcome, None, f1=f1(answer, truths))

    def data_identity(self) -> Mapping[str, str]:
        """Return the hash of each split's questions and answers in order."""
        return self.served.identity

    def data_facts(self) -> Mapping[str, Any]:
        """Return the origins of the questions."""
        return self.facts


def own_files(
    train: str | None = None,
    validation: str | None = None,
    test: str | None = None,
    problem_column: str | None = None,
    answer_column: str | None = None,
    holdout: int = HOLDOUT,
    extraction: str = Extraction.ANSWER_LINE,
    skip_bad_rows: bool = False,
    allow_conflicts: bool = False,
) -> QaEnv:
    """Make an environment of one's own files; for the arguments see `QaEnv`.

    Raises:
        UsageError: there is no test file, a file or a column does not exist, or its answers are formulas.
        DataError: a file cannot be read, or has rows that cannot be used.
    """
    if extraction not in [each.value for each in READ]:
        raise unknown("extraction", str(extraction), READ)
    files = {Split.TRAIN: train, Split.VALIDATION: validation, Split.TEST: test}
    rules = OwnRules(
        several=True,
        refused=((AnswerKind.MATHEMATICS, "use --env jsonl, which compares numbers and formulas"),),
        problem_column=problem_column,
        answer_column=answer_column,
        skip_bad_rows=skip_bad_rows,
        allow_conflicts=allow_conflicts,
    )
    own = read_own_files("qa", files, rules)
    return QaEnv(*_served(own, holdout, Extraction(extraction)))


@lru_cache(maxsize=8)
def _served(own: OwnFiles, holdout: int, extraction: Extraction) -> tuple[Served, Mapping[str, Any]]:
    """Build the splits once: a run makes an environment for every episode."""
    require_places("qa", own, READ[extraction], "--env-option extraction=boxed_or_answer_line finds it in a box, too")
    rows = {split: [QaRow(split, item) for item in intake.items] for split, intake in own.intakes.items()}
    if Split.TRAIN in rows and Split.VALIDATION not in rows:
        rows[Split.TRAIN], rows[Split.VALIDATION] = hold_out(rows[Split.TRAIN], holdout, "qa")
    return Served({split: tuple(rows[split]) for split in Split if rows.get(split)}, extraction), {"files": own.facts}
