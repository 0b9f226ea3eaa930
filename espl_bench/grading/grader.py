"""Grade responses: find the answer, decide what can be decided here, and ask math-verify about the rest.

Decided here, exactly and at once: no answer, integers, and an answer that is the gold answer's own text. Nothing that a
model wrote is evaluated in this process, whatever it is.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

from espl_bench.grading.extract import Extracted, extract, has_box, last_box, whole
from espl_bench.grading.integers import canonical, is_decimal_fraction, value_in_base
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
"""Candidates of a batch that are under way or waiting for an earlier one."""

_OUTCOMES: Final = {
    GraderFinding.EQUAL: Outcome.CORRECT,
    GraderFinding.DIFFERENT: Outcome.WRONG,
    GraderFinding.NO_ANSWER: Outcome.NO_ANSWER,
    GraderFinding.NO_GOLD: Outcome.ERROR,
    GraderFinding.RAISED: Outcome.ERROR,
    GraderFinding.CPU: Outcome.TIMEOUT,
    GraderFinding.CLOCK: Outcome.TIMEOUT,
    GraderFinding.MEMORY: Outcome.ERROR,
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
    """What is to be compared."""

    gold: str
    extracted: Extracted
    rules: GradingRules


@dataclass(frozen=True, slots=True)
class Explanation:
    """A grade, and what gold answer and answer were read as."""

    grade: Grade
    gold_form: str
    answer_form: str


def grade(gold: str, response: str, rules: GradingRules = COMPETITION_MATHS, pool: VerifierPool | None = None) -> Grade:
    """Grade a whole response. Never raises for what stands in it.

    Args:
        gold: the true answer, as data sets write it: an integer, LaTeX with or without ``$``, or words.
        response: everything that the model wrote.
        rules: where the answer stands, and how it is compared.
        pool: grading processes; None: those that this process shares.
    """
    return judge(Candidate(gold, extract(response, rules.extraction), rules), pool)


def grade_answer(gold: str, answer: str, rules: GradingRules = COMPETITION_MATHS, pool: VerifierPool | None = None) -> Grade:
    """Grade an answer that was already extracted; otherwise as `grade`."""
    return judge(Candidate(gold, whole(answer), rules), pool)


def grade_many(pairs: Iterable[tuple[str, str]], rules: GradingRules = COMPETITION_MATHS, pool: VerifierPool | None = None) -> list[Grade]:
    """Grade pairs of gold answer and response, as many at a time as the pool has processes. In the order of the pairs."""
    return list(judge_many((Candidate(gold, extract(response, rules.extraction), rules) for gold, response in pairs), pool))


def judge(candidate: Candidate, pool: VerifierPool | None = None) -> Grade:
    """Grade one candidate."""
    decided = _decide(candidate)
    if isinstance(decided, Grade):
        return decided
    return _graded(candidate, _ask(candidate, decided, pool))


def judge_many(candidates: Iterable[Candidate], pool: VerifierPool | None = None) -> Iterator[Grade]:
    """Grade candidates, as many at a time as the pool has processes; equal ones once. In order, each as soon as it is known."""
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
    """Grade one candidate and say what was compared."""
    decided = _decide(candidate)
    answer = candidate.extracted.answer
    if isinstance(decided, Grade):
        read = canonical if decided.how is How.INTEGER else str.strip
        return Explanation(decided, read(candidate.gold) or "", (read(answer) or "") if answer else "")
    reply = _ask(candidate, decided, pool)
    described = reply if reply.finding.interrupted else _ask(candidate, replace(decided, describe=True), pool)
    return Explanation(_graded(candidate, reply), described.gold_form, described.answer_form)


def _decide(candidate: Candidate) -> Grade | GraderQuestion:
    """The grade, where math-verify is not needed; else what to ask it."""
    gold, rules = candidate.gold.strip(), candidate.rules
    answer = candidate.extracted.answer
    if _is_empty(gold):
        return Grade(Outcome.ERROR, answer, How.EXTRACTION, "the gold answer is empty; correct the data")
    if answer is None:
        return Grade(Outcome.NO_ANSWER, None, How.EXTRACTION, candidate.extracted.source)
    if rules.extraction is Extraction.ANYWHERE:
        return _question(gold, answer[-MAX_SEARCHED_CHARS:], tuple(rules.match_types), rules)
    if has_box(gold):
        gold = last_box(gold).answer or gold
    exact = _decide_exactly(gold, answer)
    return exact or _question(gold, answer, (), rules)


def _decide_exactly(gold: str, answer: str) -> Grade | None:
    """Integers, equal texts, and what is too long to be anything else."""
    gold_integer = canonical(gold)
    if gold_integer is not None:
        integer = canonical(answer)
        if integer == gold_integer:
            return Grade(Outcome.CORRECT, answer, How.INTEGER, "the integers are equal")
        if integer is not None:
            return Grade(Outcome.WRONG, answer, How.INTEGER, "the integers differ")
        if is_decimal_fraction(answer):  # math-verify would round it
            return Grade(Outcome.WRONG, answer, How.INTEGER, "the gold answer is an integer, the answer is not")
    if _is_empty(answer):
        return Grade(Outcome.NO_ANSWER, answer, How.EXTRACTION, "nothing stands in it")
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
    """Whether it holds nothing but what stands around a formula."""
    return not text.strip("${} \t\r\n")


def _plain(text: str) -> str:
    """A text without white space or dollar signs at its ends, and with single spaces inside."""
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
    detail = _DETAILS.get(reply.finding, reply.detail)
    return Grade(_OUTCOMES[reply.finding], candidate.extracted.answer, How.MATH_VERIFY, detail)


def _is_known(grade: Grade | Future[Grade]) -> bool:
    return isinstance(grade, Grade) or grade.done()


def _known(grade: Grade | Future[Grade]) -> Grade:
    return grade if isinstance(grade, Grade) else grade.result()
