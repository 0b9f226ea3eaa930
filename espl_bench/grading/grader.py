"""Grade responses: extract the answer, decide the simple cases here, and leave the rest to the grading processes.

Decided here, exactly and at once: no answer, integers, and an answer that equals the gold answer as text. Nothing that a
model wrote is ever evaluated in this process.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from espl_bench.grading.boxes import Extracted, has_box, last_box
from espl_bench.grading.extract import extract, whole
from espl_bench.grading.integers import canonical, canonical_answer, is_decimal_fraction, value_in_base
from espl_bench.grading.process_pool import VerifierPool, shared_pool
from espl_bench.grading.rules import (
    LENGTH_RATIO,
    MAX_ANSWER_CHARS,
    MAX_GOLD_CHARS,
    MAX_SEARCHED_CHARS,
    Extraction,
    Grade,
    GradingRules,
    How,
)
from espl_bench.grading.wire import GraderFinding, GraderQuestion, GraderReply
from espl_bench.types import Outcome

COMPETITION_MATHS: Final = GradingRules()
_AHEAD: Final = 1024
"""Candidates of a batch that are in progress or waiting for an earlier one."""

_OUTCOMES: Final = {
    GraderFinding.EQUAL: Outcome.CORRECT,
    GraderFinding.DIFFERENT: Outcome.WRONG,
    GraderFinding.NO_ANSWER: Outcome.NO_ANSWER,
    GraderFinding.NO_GOLD: Outcome.ERROR,
    GraderFinding.RAISED: Outcome.ERROR,
    GraderFinding.CPU: Outcome.TIMEOUT,
    GraderFinding.CLOCK: Outcome.TIMEOUT,
    GraderFinding.MEMORY: Outcome.ERROR,
    GraderFinding.FORBIDDEN: Outcome.ERROR,
    GraderFinding.DIED: Outcome.ERROR,
}
_DETAILS: Final = {
    GraderFinding.EQUAL: "math-verify finds them equal",
    GraderFinding.DIFFERENT: "math-verify finds them different",
    GraderFinding.NO_ANSWER: "math-verify finds no answer in it",
    GraderFinding.NO_GOLD: "math-verify finds nothing in the gold answer; correct the data",
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A gold answer and an extracted answer to compare, with the rules."""

    gold: str
    extracted: Extracted
    rules: GradingRules


@dataclass(frozen=True, slots=True)
class Explanation:
    """A grade, and how the gold answer and the answer were read."""

    grade: Grade
    gold_form: str
    answer_form: str


def grade(gold: str, response: str, rules: GradingRules = COMPETITION_MATHS, pool: VerifierPool | None = None) -> Grade:
    """Grade a whole response. Never raises, whatever the response holds.

    Args:
        gold: the true answer, as data sets write it: an integer, LaTeX with or without ``$``, or words.
        response: the model's full text.
        rules: where the answer is, and how it is compared.
        pool: grading processes; None: the shared pool of this process.
    """
    return judge(Candidate(gold, extract(response, rules.extraction), rules), pool)


def grade_answer(gold: str, answer: str, rules: GradingRules = COMPETITION_MATHS, pool: VerifierPool | None = None) -> Grade:
    """Grade an answer that is extracted already; otherwise the same as `grade`."""
    return judge(Candidate(gold, whole(answer), rules), pool)


def grade_many(pairs: Iterable[tuple[str, str]], rules: GradingRules = COMPETITION_MATHS, pool: VerifierPool | None = None) -> list[Grade]:
    """Grade pairs of gold answer and response, as many at a time as the pool has processes; keep the order of the pairs."""
    return list(judge_many((Candidate(gold, extract(response, rules.extraction), rules) for gold, response in pairs), pool))


def judge(candidate: Candidate, pool: VerifierPool | None = None) -> Grade:
    """Grade one candidate."""
    decided = _decide(candidate)
    if isinstance(decided, Grade):
        return decided
    return _graded(candidate, _ask(candidate, decided, pool))


def judge_many(candidates: Iterable[Candidate], pool: VerifierPool | None = None) -> Iterator[Grade]:
    """Grade candidates, as many at a time as the pool has processes and equal ones once; yield each grade in order when known."""
    pool = pool or shared_pool()
    waiting: deque[Grade | Future[Grade]] = deque()
    known: dict[Candidate, Future[Grade]] = {}
    with ThreadPoolExecutor(pool.size, thread_name_prefix="grading") as threads:
        try:
            for candidate in candidates:
                decided = _decide(candidate)
                if isinstance(decided, GraderQuestion):
                    if candidate not in known:
                        known[candidate] = threads.submit(judge, candidate, pool)
                    decided = known[candidate]
                waiting.append(decided)
                while len(waiting) > _AHEAD or (waiting and _is_known(waiting[0])):
                    yield _known(waiting.popleft())
            while waiting:
                yield _known(waiting.popleft())
        finally:
            threads.shutdown(wait=False, cancel_futures=True)


def explain(candidate: Candidate, pool: VerifierPool | None = None) -> Explanation:
    """Grade one candidate and describe what was compared."""
    decided = _decide(candidate)
    answer = candidate.extracted.answer
    if isinstance(decided, Grade):
        read = canonical if decided.how is How.INTEGER else str.strip
        return Explanation(decided, read(candidate.gold) or "", (read(answer) or "") if answer else "")
    reply = _ask(candidate, replace(decided, describe=True), pool)
    if reply.finding.interrupted:  # perhaps only by printing: that must not decide an outcome
        reply = _ask(candidate, decided, pool)
    return Explanation(_graded(candidate, reply), reply.gold_form, reply.answer_form)


def explain_many(candidates: Iterable[Candidate], pool: VerifierPool | None = None) -> Iterator[Explanation]:
    """Explain candidates, as many at a time as the pool has processes; yield each explanation in order."""
    pool = pool or shared_pool()
    with ThreadPoolExecutor(pool.size, thread_name_prefix="grading") as threads:
        yield from threads.map(partial(explain, pool=pool), candidates)


def _decide(candidate: Candidate) -> Grade | GraderQuestion:
    """Return the grade if math-verify is not needed; else the question for it."""
    gold, rules = candidate.gold.strip(), candidate.rules
    answer = candidate.extracted.answer
    if _is_empty(gold):
        return Grade(Outcome.ERROR, answer, How.EXTRACTION, "the gold answer is empty; correct the data")
    if answer is None:
        return Grade(Outcome.NO_ANSWER, None, How.EXTRACTION, candidate.extracted.source)
    if rules.extraction is Extraction.ANYWHERE:
        return _question(gold, answer[-MAX_SEARCHED_CHARS:], tuple(rules.match_types), rules)
    if "\\" in gold and has_box(gold):
        gold = last_box(gold).answer or gold
    exact = _decide_exactly(gold, answer)
    return exact or _question(gold, answer, (), rules)


def _decide_exactly(gold: str, answer: str) -> Grade | None:
    """Decide integers, equal texts, and answers too long to be anything but wrong."""
    gold_integer = canonical(gold)
    if gold_integer is not None:
        integer = canonical_answer(answer)
        if integer == gold_integer:
            return Grade(Outcome.CORRECT, answer, How.INTEGER, "the integers are equal")
        if integer is not None:
            return Grade(Outcome.WRONG, answer, How.INTEGER, "the integers differ")
        if is_decimal_fraction(answer):  # math-verify would round it
            return Grade(Outcome.WRONG, answer, How.INTEGER, "the gold answer is an integer, the answer is not")
    if _is_empty(answer):
        return Grade(Outcome.NO_ANSWER, answer, How.EXTRACTION, "the answer is empty")
    if _plain(gold) == _plain(answer):
        return Grade(Outcome.CORRECT, answer, How.TEXT, "the texts are equal")
    value, gold_value = value_in_base(answer), value_in_base(gold)
    if value is not None and gold_value is not None:
        equal = value == gold_value
        said = "the integers with their bases are equal" if equal else "the integers with their bases differ"
        return Grade(Outcome.CORRECT if equal else Outcome.WRONG, answer, How.INTEGER, said)
    if len(gold) > MAX_GOLD_CHARS:
        return Grade(Outcome.ERROR, answer, How.EXTRACTION, f"the gold answer is longer than {MAX_GOLD_CHARS:,} characters")
    longest = max(MAX_ANSWER_CHARS, LENGTH_RATIO * len(gold))
    if len(answer) > longest:
        return Grade(Outcome.WRONG, answer, How.EXTRACTION, f"the answer is longer than {longest:,} characters")
    return None


def _is_empty(text: str) -> bool:
    """Return True if the text holds only the delimiters of a formula."""
    return not text.strip("${} \t\r\n")


def _plain(text: str) -> str:
    """Strip white space and dollar signs at the ends, and collapse white space inside."""
    return " ".join(text.strip("$ \t\r\n").split())


def _question(gold: str, answer: str, search: tuple[str, ...], rules: GradingRules) -> GraderQuestion:
    return GraderQuestion(
        gold=gold,
        answer=answer,
        search=search,
        strict=rules.strict,
        allow_set_relation_comp=rules.allow_set_relation_comp,
        float_rounding=rules.float_rounding,
        numeric_precision=rules.numeric_precision,
        cpu_s=rules.cpu_s,
        memory_mib=rules.memory_mib,
    )


def _ask(candidate: Candidate, question: GraderQuestion, pool: VerifierPool | None) -> GraderReply:
    return (pool or shared_pool()).ask(question, candidate.rules.timeout_s)


def _graded(candidate: Candidate, reply: GraderReply) -> Grade:
    detail = reply.detail if reply.read else _DETAILS.get(reply.finding, reply.detail)
    return Grade(_OUTCOMES[reply.finding], candidate.extracted.answer, How.READING if reply.read else How.MATH_VERIFY, detail)


def _is_known(grade: Grade | Future[Grade]) -> bool:
    return isinstance(grade, Grade) or grade.done()


def _known(grade: Grade | Future[Grade]) -> Grade:
    return grade if isinstance(grade, Grade) else grade.result()
