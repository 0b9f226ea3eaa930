"""The environment `jsonl`: one's own files of mathematics, or of questions with choices."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from espl_bench.data.answer_form import count_words, is_words
from espl_bench.data.instructions import AnswerPlace
from espl_bench.data.intake import Intake
from espl_bench.data.layouts import AnswerKind
from espl_bench.data.own_files import OwnFiles, OwnRules, read_own_files, require_places
from espl_bench.errors import UsageError
from espl_bench.grading import Extraction
from espl_bench.grading.rules import rules_of
from espl_bench.types import Split
from espl_envs.math.env import HOLDOUT, MathEnv
from espl_envs.math.splits import MathRow, Splits, hold_out

USE_QA: Final = "use --env qa, which compares short texts and knows several spellings"
READ: Final = {
    Extraction.BOXED: (AnswerPlace.BOX,),
    Extraction.BOXED_OR_ANSWER_LINE: (AnswerPlace.BOX, AnswerPlace.LINE),
    Extraction.ANSWER_LINE: (AnswerPlace.LINE,),
    Extraction.ANYWHERE: tuple(AnswerPlace),
}
"""Places in which an answer is found, by extraction."""


def own_files(
    train: str | None = None,
    validation: str | None = None,
    test: str | None = None,
    problem_column: str | None = None,
    answer_column: str | None = None,
    holdout: int = HOLDOUT,
    extraction: str = Extraction.BOXED,
    skip_bad_rows: bool = False,
    allow_conflicts: bool = False,
) -> MathEnv:
    """Make an environment of one's own files; for the arguments see `MathEnv`.

    Without a validation file, a slice of the training file is held out; without a training file, the environment is for evaluation
    only.

    Raises:
        UsageError: there is no test file, a file or a column does not exist, or the answers are mostly words.
        DataError: a file cannot be read, or has rows that cannot be used.
    """
    rules = rules_of(extraction)
    files = {Split.TRAIN: train, Split.VALIDATION: validation, Split.TEST: test}
    reading = OwnRules(
        several=False,
        refused=((AnswerKind.TEXTS, USE_QA),),
        several_remedy="if any of them is right, use --env qa",
        problem_column=problem_column,
        answer_column=answer_column,
        skip_bad_rows=skip_bad_rows,
        allow_conflicts=allow_conflicts,
    )
    own = read_own_files("jsonl", files, reading)
    return MathEnv(*_served(own, holdout, rules.extraction), rules)


@lru_cache(maxsize=8)
def _served(own: OwnFiles, holdout: int, extraction: Extraction) -> tuple[Splits, Mapping[str, Any]]:
    """Build the splits once: a run makes an environment for every episode."""
    require_places("jsonl", own, READ[extraction], "--env-option extraction=boxed_or_answer_line finds it after 'Answer:', too")
    facts = [record | {"text_only": _require_mathematics(own.intakes[Split(record["split"])], record["file"])} for record in own.facts]
    rows = {split: [MathRow(split.value, item) for item in intake.items] for split, intake in own.intakes.items()}
    if Split.TRAIN in rows and Split.VALIDATION not in rows:
        rows[Split.TRAIN], rows[Split.VALIDATION] = hold_out(rows[Split.TRAIN], holdout, "jsonl")
    return Splits.of(rows), {"files": facts}


def _require_mathematics(intake: Intake, file: str) -> int:
    """Return how many answers can only be compared as texts. Raises UsageError if most of them are words."""
    if intake.kind is AnswerKind.LETTERS:
        return 0
    words = count_words(item.answer for item in intake.items)
    if 2 * words > len(intake.items):
        example = next(item.answer for item in intake.items if is_words(item.answer))
        raise UsageError(f"{file}: {words} of {len(intake.items)} answers are words ({example[:40]!r}): {USE_QA}")
    return words
