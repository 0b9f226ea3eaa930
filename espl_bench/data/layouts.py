"""Recognised layouts: a table of columns in which published sets hold problem, choices and answer. Adding one is a row of the table.

A file has the first layout whose columns its record has (`recognise`). A column that a model must see in order to answer is part of the
problem; a set that this harness cannot grade is refused with the reason. Columns that the user names bypass the table.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from espl_bench.data.cells import is_chat, list_in
from espl_bench.data.columns import folded_name, located, value_at
from espl_bench.data.gold_texts import (
    Choices,
    GoldReader,
    best_scored,
    columns_of,
    computed,
    first_choice,
    last_reply,
    lettered,
    list_of,
    placed,
    placed_from_one,
    scored,
    single,
    spellings,
    worked_out,
    yes_or_no,
)
from espl_bench.errors import UsageError


class AnswerKind(StrEnum):
    """How the answers of a layout must be compared."""

    ANY = "any"
    MATHEMATICS = "mathematics"
    TEXTS = "short texts"
    """One text or several, any of which is right."""
    LETTERS = "letters of choices"


OF_SOURCE: Final = "columns of the source"
"""Name of the layout that a data set's description gives."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of one kind of file. A row fits a file whose records have all of them."""

    name: str
    problem: tuple[str, ...]
    """Columns that are shown, in this order, with an empty line between."""
    answer: tuple[str, ...] = ()
    gold: GoldReader = single
    """Reads the accepted answers."""
    kind: AnswerKind = AnswerKind.ANY
    optional: tuple[str, ...] = ()
    """Those of `problem` that may be empty."""
    choices: tuple[str, ...] = ()
    offer: Callable[[Sequence[Any]], Choices] = list_of
    """Reads the choices."""
    shuffled: bool = False
    """True if the file names the right choice first, so that the choices need another order."""
    marks: tuple[str, ...] = ()
    """Further columns by which it is recognised."""
    when: Callable[[Mapping[str, Any]], bool] | None = None
    """A further condition on the record."""
    refused: str = ""
    """Why its sets cannot be used, and what to do."""

    @property
    def of_source(self) -> bool:
        """True if the columns are those of a data set's description."""
        return self.name == OF_SOURCE

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that are read."""
        return (*self.problem, *self.choices, *self.answer)


def _holds(column: str, test: Callable[[Any], bool]) -> Callable[[Mapping[str, Any]], bool]:
    """Return a condition on the value of one column."""

    def condition(record: Mapping[str, Any]) -> bool:
        return (path := located(record, column)) is not None and test(value_at(record, path))

    return condition


def _ends_with_hashes(value: Any) -> bool:
    return isinstance(value, str) and re.search(r"^####[ \t]*\S", value, re.MULTILINE) is not None


def _is_encrypted(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9+/]+={0,2}", value.strip()) is not None


def _has_placeholders(value: Any) -> bool:
    return isinstance(value, str) and re.search(r"\bN_\d\d\b", value) is not None


def _is_list(value: Any) -> bool:
    return (isinstance(value, list) and not is_chat(value)) or list_in(value) is not None  # pyright: ignore[reportUnknownArgumentType]


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool) or (isinstance(value, str) and value.strip().lower() in ("true", "false"))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_exchange(value: Any) -> bool:
    """Return True for a chat with a reply."""
    return isinstance(value, list) and is_chat(value) and any(m.get("role", m.get("from")) in ("assistant", "gpt") for m in value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType, reportUnknownVariableType]


PROGRAMS: Final = (
    "its answers are programs, which only running tells from wrong ones: it needs an environment of its own (docs/add-an-environment.md)"
)
OPEN_PUZZLE: Final = "many answers are right, so each has to be checked: it needs an environment of its own (docs/add-an-environment.md)"

NOT_GRADED: Final[tuple[Layout, ...]] = (
    Layout(
        "BrowseComp",
        ("problem",),
        ("answer",),
        marks=("canary",),
        when=_holds("problem", _is_encrypted),
        refused="its texts are encrypted (column canary): decrypt them with the authors' script, and name the result",
    ),
    Layout("Countdown", ("nums", "target"), refused=OPEN_PUZZLE),
    Layout("Countdown", ("numbers", "target"), refused=OPEN_PUZZLE),
    Layout("Countdown", ("reward_model.ground_truth.numbers",), refused=OPEN_PUZZLE),
    Layout("HumanEval", ("prompt", "entry_point", "test"), refused=PROGRAMS),
    Layout("MBPP", ("test_list",), refused=PROGRAMS),
    Layout("APPS", ("question", "input_output"), refused=PROGRAMS),
    Layout("LiveCodeBench", ("question_content", "public_test_cases"), refused=PROGRAMS),
    Layout(
        "IFEval",
        ("prompt", "instruction_id_list"),
        refused=PROGRAMS.replace("programs, which only running tells", "texts, which only programs tell"),
    ),
    Layout(
        "MAWPS",
        ("question", "numbers"),
        when=_holds("question", _has_placeholders),
        refused="its questions have N_00, N_01, … for the numbers of the column numbers: put these in, and name the result",
    ),
    Layout("preferences", ("chosen", "rejected"), refused="it holds preferred texts and no right answers; use a set with answers"),
)
"""Sets that cannot be graded by comparing answers."""

CHOOSING: Final[tuple[Layout, ...]] = tuple(
    replace(layout, kind=AnswerKind.LETTERS, gold=layout.gold if layout.gold is not single else lettered)
    for layout in (
        Layout("ARC, CommonsenseQA", ("question",), ("answerKey",), choices=("choices",)),
        Layout("ARC (AI2's files)", ("question.stem",), ("answerKey",), choices=("question.choices",)),
        Layout("OpenBookQA", ("question_stem",), ("answerKey",), choices=("choices",)),
        Layout("MMLU", ("question",), ("answer",), choices=("choices",)),
        Layout("RACE", ("article", "question"), ("answer",), choices=("options",)),
        Layout("LogiQA", ("context", "query"), ("correct_option",), gold=placed, choices=("options",)),
        Layout("ReClor", ("context", "question"), ("label",), gold=placed, choices=("answers",)),
        Layout("AGIEval", ("passage", "question"), ("label",), optional=("passage",), choices=("options",)),
        Layout("MedQA", ("question",), ("answer_idx",), choices=("options",)),
        Layout("MMLU-Pro", ("question",), ("answer",), choices=("options",)),
        Layout("AQuA", ("question",), ("correct",), choices=("options",)),
        Layout("choices", ("problem",), ("answer",), choices=("choices",)),
        Layout("choices", ("problem",), ("answer",), choices=("options",)),
        Layout("Inspect", ("input",), ("target",), choices=("choices",)),
        Layout("BIG-bench", ("input",), ("target_scores",), gold=best_scored, choices=("target_scores",), offer=scored),
        Layout("HellaSwag", ("ctx",), ("label",), gold=placed, choices=("endings",)),
        Layout("C-Eval, CMMLU", ("question",), ("answer",), choices=("A", "B", "C", "D"), offer=columns_of),
        Layout("MedMCQA", ("question",), ("cop",), gold=placed, choices=("opa", "opb", "opc", "opd"), offer=columns_of),
        Layout(
            "SIQA", ("context", "question"), ("label",), gold=placed_from_one, choices=("answerA", "answerB", "answerC"), offer=columns_of
        ),
        Layout("WinoGrande", ("sentence",), ("answer",), gold=placed_from_one, choices=("option1", "option2"), offer=columns_of),
        Layout("PIQA", ("goal",), ("label",), gold=placed, choices=("sol1", "sol2"), offer=columns_of),
        Layout("COPA", ("premise", "question"), ("label",), gold=placed, choices=("choice1", "choice2"), offer=columns_of),
        Layout(
            "GPQA",
            ("question",),
            ("correct_answer",),
            gold=first_choice,
            choices=("correct_answer", "incorrect_answer_1", "incorrect_answer_2", "incorrect_answer_3"),
            offer=columns_of,
            shuffled=True,
        ),
        Layout(
            "SciQ",
            ("question",),
            ("correct_answer",),
            gold=first_choice,
            choices=("correct_answer", "distractor1", "distractor2", "distractor3"),
            offer=columns_of,
            shuffled=True,
        ),
    )
)
"""Sets whose choices are shown with letters, of which one is the answer."""

SHORT_TEXTS: Final[tuple[Layout, ...]] = tuple(
    replace(layout, kind=AnswerKind.TEXTS)
    for layout in (
        Layout("TriviaQA", ("question",), ("answer.value", "answer.aliases"), gold=spellings),
        Layout("PopQA", ("question",), ("possible_answers",)),
        Layout("TruthfulQA", ("question",), ("best_answer", "correct_answers"), gold=spellings),
        Layout("Search-R1", ("question",), ("golden_answers",)),
        Layout("SQuAD", ("context", "question"), ("answers.text",)),
        Layout("MuSiQue", ("question",), ("answer", "answer_aliases"), gold=spellings),
        Layout("HotpotQA, 2WikiMultihopQA", ("question",), ("answer",), marks=("supporting_facts",)),
        Layout("SimpleQA", ("problem",), ("answer",), marks=("metadata",)),
        Layout("SimpleQA Verified", ("problem",), ("answer",), marks=("answer_type", "topic")),
        Layout("BoolQ", ("passage", "question"), ("answer",), gold=yes_or_no, when=_holds("answer", _is_flag)),
        Layout("StrategyQA", ("question",), ("answer",), gold=yes_or_no, when=_holds("answer", _is_flag)),
        Layout("DROP", ("passage", "question"), ("answers_spans.spans",)),
        Layout("NQ-open", ("question",), ("answer",), when=_holds("answer", _is_list)),
        Layout("WebQuestions", ("question",), ("answers",), when=_holds("answers", _is_list)),
    )
)
"""Sets with short answers in free text, often in several spellings."""

MATHEMATICS: Final[tuple[Layout, ...]] = tuple(
    replace(layout, kind=AnswerKind.MATHEMATICS)
    for layout in (
        Layout("GSM8K", ("question",), ("answer",), when=_holds("answer", _ends_with_hashes)),
        Layout("NuminaMath 1.5, OpenR1-Math", ("problem",), ("answer",), gold=computed, marks=("question_type",)),
        Layout("OlympiadBench", ("context", "question"), ("final_answer",), optional=("context",)),
        Layout("SVAMP", ("body", "question"), ("answer",)),
        Layout("MGSM", ("question",), ("answer_number",)),
        Layout("SciBench", ("problem_text",), ("answer_number",)),
        Layout("UGPhysics", ("problem",), ("answers",), when=_holds("answers", _is_text)),
        Layout("OpenThoughts", ("problem",), ("ground_truth_solution",), gold=worked_out),
        Layout("LiveBench", ("turns.0",), ("ground_truth",)),
    )
)

TASKS: Final = ("problem", "question", "query", "prompt", "input", "instruction", "task", "messages")
ANSWERS: Final = ("answer", "final_answer", "ground_truth", "expected_answer", "target", "ideal", "output", "gold", "reference_answer")

GENERAL: Final[tuple[Layout, ...]] = (
    Layout("problem and answer", ("problem",), ("answer",)),
    Layout("passage, question and answer", ("passage", "question"), ("answer",), when=_holds("passage", _is_text)),
    Layout("passage, question and answer", ("context", "question"), ("answer",), when=_holds("context", _is_text)),
    Layout("question and answer", ("question",), ("answer",)),
    Layout("verl, several answers", ("prompt",), ("reward_model.ground_truth.target",), kind=AnswerKind.TEXTS),
    Layout("verl", ("prompt",), ("reward_model.ground_truth",)),
    Layout("Alpaca", ("instruction", "input"), ("output",), optional=("input",)),
    Layout("lm-eval", ("arguments.gen_args_0.arg_0",), ("target",)),
    Layout("lm-eval", ("arguments.0.0",), ("target",)),
    Layout("SYNTHETIC-1", ("prompt",), ("verification_info.ground_truth",)),
    *(Layout(f"{task} and {answer}", (task,), (answer,)) for task in TASKS for answer in ANSWERS),
    Layout("MATH, NuminaMath", ("problem",), ("solution",), gold=worked_out, kind=AnswerKind.MATHEMATICS),
    Layout("TRL", ("prompt",), ("solution",), gold=worked_out),
    Layout("question and solution", ("question",), ("solution",), gold=worked_out),
    Layout("ORZ, ShareGPT", ("conversations",), ("conversations",), gold=last_reply),
    Layout("messages", ("messages",), ("messages",), gold=last_reply, when=_holds("messages", _is_exchange)),
)
"""Sets that say nothing about how their answers are to be compared."""

LAYOUTS: Final[tuple[Layout, ...]] = (*NOT_GRADED, *CHOOSING, *SHORT_TEXTS, *MATHEMATICS, *GENERAL)
"""Tried in this order; the first whose columns a record has is taken."""

CHOICE_COLUMNS: Final = frozenset(
    map(folded_name, ("choices", "options", "endings", "choice1", "option1", "option_a", "opa", "answer_a", "distractors", "mc1_targets"))
)
"""Columns that hold choices: a file that has one, but no layout of `CHOOSING`, would lose them."""
PASSAGE_COLUMNS: Final = frozenset(map(folded_name, ("passage", "context", "article", "story", "paragraph", "document", "body", "premise")))
"""Columns of texts that one must read in order to answer. Open-domain sets of short texts have them as evidence, which is not shown."""


def recognise(record: Mapping[str, Any], where: str, first: Sequence[Layout] = ()) -> Layout | None:
    """Return the layout of a file by a record, its columns spelled as in the record; None if it has no known one.

    Args:
        record: a row of the file.
        where: names the file in messages.
        first: layouts to try before those of the table that can be graded.

    Raises:
        UsageError: such sets cannot be graded, or their choices would be lost.
    """
    tried = (*NOT_GRADED, *first, *LAYOUTS)
    layout = next((spelled for each in tried if (spelled := _spelled(each, record)) is not None), None)
    if layout is None:
        return None
    if layout.refused:
        raise UsageError(f"{where} has the columns of {layout.name}: {layout.refused}")
    _require_shown(layout, record, where)
    return layout


def _require_shown(layout: Layout, record: Mapping[str, Any], where: str) -> None:
    """Raise UsageError if choices, or a passage to read, would not be shown."""
    filled = [name for name in unread(layout, record) if record[name] not in (None, "", [])]
    choices = [name for name in filled if folded_name(name) in CHOICE_COLUMNS and layout.kind is not AnswerKind.LETTERS]
    passages = [
        name
        for name in filled
        if folded_name(name) in PASSAGE_COLUMNS and isinstance(record[name], str) and layout.kind is not AnswerKind.TEXTS
    ]
    if lost := (choices or passages):
        raise UsageError(
            f"{where} has a column {lost[0]!r} beside {' and '.join(_tops(layout.columns))}, in no layout that is known here: it would "
            "not be shown; write it into the problems, or name the columns to use without it"
        )


def _spelled(layout: Layout, record: Mapping[str, Any]) -> Layout | None:
    """Return a layout with its columns as a record spells them; None if the record lacks one."""
    places = {column: located(record, column) for column in (*layout.columns, *layout.marks)}
    if None in places.values() or (layout.when is not None and not layout.when(record)):
        return None
    if not all(value_at(record, places[column] or column) not in (None, "", []) for column in layout.choices[:2]):
        return None  # questions without choices may have an empty column for them

    def spell(columns: Sequence[str]) -> tuple[str, ...]:
        return tuple(places[column] or column for column in columns)

    return replace(
        layout,
        problem=spell(layout.problem),
        answer=spell(layout.answer),
        choices=spell(layout.choices),
        optional=spell(layout.optional),
    )


def _tops(columns: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(column.split(".")[0] for column in columns))


def unread(layout: Layout, record: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the columns of a record that a layout does not read."""
    read = {*layout.columns, *_tops(layout.columns)}
    return tuple(str(name) for name in record if name not in read)
