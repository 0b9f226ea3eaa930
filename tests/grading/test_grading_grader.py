import pytest
from grading_fixtures import SHORT, needs_data, rows

from espl_bench.errors import UsageError
from espl_bench.grading import Extraction, Grade, GradingRules, How, MatchType, VerifierPool, explain, grade, grade_answer, judge_many
from espl_bench.grading.boxes import Extracted
from espl_bench.grading.extract import whole
from espl_bench.grading.grader import Candidate
from espl_bench.grading.rules import MAX_ANSWER_CHARS, MAX_GOLD_CHARS
from espl_bench.grading.wire import GraderQuestion
from espl_bench.types import Outcome

C, W, N, E = Outcome.CORRECT, Outcome.WRONG, Outcome.NO_ANSWER, Outcome.ERROR

VERDICTS = [
    ("33", "033", C, How.INTEGER),
    ("033", "33", C, How.INTEGER),
    ("33", "34", W, How.INTEGER),
    ("142.0", "142", C, How.INTEGER),
    ("42", "41.9999999", W, How.INTEGER),
    ("42", "42.5", W, How.INTEGER),
    ("1234", "1{,}234", C, How.INTEGER),
    ("-4", "−4", C, How.INTEGER),
    ("\\frac{1}{2}", "\\frac{1}{2}", C, How.TEXT),
    ("\\frac{1}{2}", " $\\frac{1}{2}$ ", C, How.TEXT),
    ("no solution", "no  solution", C, How.TEXT),
    ("42", "x" * 501, W, How.EXTRACTION),
    ("1024", "2^{10}", C, How.READING),
    ("12", "12 \\text{ cm}", C, How.READING),
    ("\\frac{1}{2}", "0.5", C, How.READING),
    ("\\frac{1}{2}", "\\dfrac{2}{4}", C, How.READING),
    ("$\\frac{1}{2}$", "1/2", C, How.READING),
    ("Thus $\\boxed{\\frac{1}{2}}$.", "1/2", C, How.READING),
    ("\\frac{1}{2}", "\\frac{1}{3}", W, How.READING),
    ("1 - \\frac{1}{\\mathrm{e}}", "1 - e^{-1}", C, How.READING),
    ("1 - \\frac{1}{\\mathrm{e}}", "1 + \\frac{1}{\\mathrm{e}}", W, How.READING),
    ("(3, \\frac{\\pi}{2})", "\\left( 3, \\frac{\\pi}{2} \\right)", C, How.READING),
    ("(3, 4)", "(4, 3)", W, How.READING),
    ("1, 2", "2, 1", C, How.READING),
    ("\\frac{1}{2^{99}}", "\\frac{1}{2^{98}}", W, How.READING),
    ("\\frac{1}{2^{99}}", "2^{-99}", C, How.READING),
    ("\\frac{1}{2004!}", "\\frac{1}{2006!}", W, How.READING),
    ("\\frac{1}{2004!}", "\\frac{2005}{2005!}", C, How.READING),
    ("0", "\\sqrt{8} - 2\\sqrt{2}", C, How.READING),
    ("\\sqrt{2} - \\sqrt{2}", "0", C, How.READING),
    ("10\\%", "10", C, How.READING),
    ("3 + 4i", "4i + 3", C, How.READING),
    ("\\text{Evelyn}", "Evelyn", C, How.READING),
    ("\\text{Evelyn}", "\\text{Evely}", W, How.READING),
    ("15", "15\\mbox{ cm}^2", C, How.READING),
    ("15", "15\\$", C, How.READING),
    ("\\frac{1}{2}", "\\$0.50", C, How.READING),
    ("\\{x\\}", "\\! ", N, How.READING),
    ("0.\\overline{27}", "\\frac{3}{11}", C, How.READING),
    ("\\frac{1}{6}", "0.1\\overline{6}", C, How.READING),
    ("\\frac{1}{3}", "0.\\overline{4}", W, How.READING),
    ("0.\\overline{3}", "0.3", W, How.READING),
    ("\\frac{1}{2}", "\\frac{1}{2}.", C, How.READING),
    ("(1, 2)", "(1,2).", C, How.READING),
    ("1500", "1.5e3", C, How.READING),
    ("0.00032", "3.2E-4", C, How.READING),
    ("1500", "1.5e4", W, How.READING),
    ("\\emptyset", "\\varnothing", C, How.READING),
    ("\\emptyset", "0", W, How.READING),
    ("33\\frac{1}{3}\\%", "\\frac{100}{3}\\%", C, How.READING),
    ("33\\frac{1}{3}\\%", "\\frac{1}{3}", C, How.READING),
    ("33\\frac{1}{3}\\%", "33", W, How.READING),
    ("x \\neq 2", "2 \\ne x", C, How.READING),
    ("x \\neq 2", "x \\ne 20", W, How.READING),
    ("x \\neq 2", "x = 2", W, How.READING),
    ("x \\neq 2", "x > 2", W, How.READING),
    ("6:00 \\text{ PM}", "6:00", C, How.READING),
    ("6:00 \\text{ PM}", "7", W, How.READING),
    ("7", "6:00", W, How.READING),
    ("2516_8", "2516_{8}", C, How.INTEGER),
    ("2516_8", "1358_{10}", C, How.INTEGER),
    ("2516_8", "2516_9", W, How.INTEGER),
    ("2516_8", "2516", C, How.READING),
    ("2516_8", "2517", W, How.READING),
    ("$", "$", E, How.EXTRACTION),
    ("{}", "{}", E, How.EXTRACTION),
    ("42", "{}", N, How.EXTRACTION),
    ("", "42", E, How.EXTRACTION),
    (" ", "", E, How.EXTRACTION),
    ("\\frac{1}{0}", "7", E, How.READING),
    ("x" * (MAX_GOLD_CHARS + 1), "y", E, How.EXTRACTION),
    ("x" * (MAX_GOLD_CHARS + 1), "x" * (MAX_GOLD_CHARS + 1), C, How.TEXT),
]


@pytest.mark.parametrize(("gold", "answer", "outcome", "how"), VERDICTS)
def test_verdicts(gold: str, answer: str, outcome: Outcome, how: How, pool: VerifierPool):
    found = grade_answer(gold, answer, SHORT, pool)
    assert (found.outcome, found.how) == (outcome, how), found
    assert found.detail and "\n" not in found.detail
    boxed = grade(gold, f"Hence $\\boxed{{{answer}}}$.", SHORT, pool)
    assert boxed.outcome is outcome


def test_a_backslash_at_the_end_of_an_answer_takes_nothing_with_it(pool: VerifierPool):
    assert grade_answer("185", "185\\", SHORT, pool).outcome is C
    assert grade("185", "\\boxed{185\\}", SHORT, pool).outcome is N, "in TeX this brace is printed, and the box is open"


def test_a_long_answer_may_answer_a_long_question(pool: VerifierPool):
    gold = "+".join(f"{n}x_{{{n}}}" for n in range(1, 25))
    answer = " + ".join(f"{{{n}}}\\cdot x_{{{n}}}" for n in range(1, 25))
    assert len(gold) < MAX_ANSWER_CHARS
    padded = answer.replace(" + ", " + " + "\\," * 7)
    assert MAX_ANSWER_CHARS < len(padded) < 4 * len(gold)
    assert grade_answer(gold, padded, GradingRules(timeout_s=120), pool).outcome is C  # length is what is tried, and not speed


def test_unboxed_answers_count_only_where_they_are_asked_for(pool: VerifierPool):
    for response in ("The answer is 204.", "so it is $204$ and \\boxed{"):
        assert grade("204", response, SHORT, pool).outcome is N
        assert grade("204", response, GradingRules(Extraction.ANYWHERE), pool).outcome is C
    assert grade("204", "none at all", GradingRules(Extraction.ANYWHERE), pool).outcome is N
    assert grade("\\sqrt{2}+1", "it is $1+\\sqrt{2}$", GradingRules(Extraction.ANYWHERE), pool).outcome is C


def test_the_options_of_math_verify(pool: VerifierPool):
    def outcome(gold: str, answer: str, **options: object) -> Outcome:
        return grade_answer(gold, answer, GradingRules(**options), pool).outcome  # pyright: ignore[reportArgumentType]

    assert outcome("f(x)", "f(y)") is W
    assert outcome("f(x)", "f(y)", strict=False) is C
    assert outcome("x \\in [-2,7]", "-2 \\le x \\le 7", allow_set_relation_comp=False) is W
    assert outcome("x \\in [-2,7]", "-2 \\le x \\le 7") is C
    assert outcome("-2 \\le x \\le 7", "x \\in [-2,7]") is C
    assert outcome("\\frac{1}{3}", "0.33") is W
    assert outcome("\\frac{1}{3}", "0.33", float_rounding=2) is C
    assert outcome("B", "The answer is B.", extraction=Extraction.ANYWHERE, match_types=(MatchType.STRING,)) is C
    assert outcome("$9$", "9", extraction=Extraction.ANYWHERE, match_types=(MatchType.LATEX,)) is N
    assert outcome("$\\sqrt{x}$", "9", extraction=Extraction.ANYWHERE, match_types=(MatchType.EXPR,)) is E, (
        "no plain number in the gold answer"
    )


@pytest.mark.parametrize("limits", [{"timeout_s": 0}, {"timeout_s": float("inf")}, {"memory_mib": 0}, {"match_types": ()}])
def test_limits_within_which_nothing_can_be_graded(limits: dict[str, float]):
    with pytest.raises(UsageError, match="grading: "):
        GradingRules(**limits)  # pyright: ignore[reportArgumentType]


def test_an_explanation_names_both_readings(pool: VerifierPool):
    explained = explain(Candidate("\\frac{2}{4}", whole("0.5"), SHORT), pool)
    assert explained.gold_form == "1/2 (scalar)"
    assert explained.answer_form == "1/2 as a decimal (scalar)"
    integer = explain(Candidate("033", whole("1,234"), SHORT), pool)
    assert (integer.gold_form, integer.answer_form) == ("33", "1234")
    unparsed = explain(Candidate("\\frac{1}{2}", whole("\\frac"), SHORT), pool)
    assert "text, not parsed" in unparsed.answer_form
    assert explain(Candidate("1", Extracted(None, "no box"), SHORT), pool).grade == Grade(N, None, How.EXTRACTION, "no box")


INTEGER_SETS = ["aime_2022_2024", "aime_2025", "beyondaime", "amc12_2022_2023", "dapo_math_17k_sample", "dapo_100_recipe_on_copy"]
LATEX_SETS = ["math500", "hmmt_feb_2024", "hmmt_feb_2025", "hmmt_nov_2025"]


@needs_data
@pytest.mark.parametrize("name", INTEGER_SETS)
def test_gold_integers_answer_themselves(name: str, pool: VerifierPool):
    for row in rows(f"{name}.jsonl"):
        found = grade(row["answer"], f"So $\\boxed{{{row['answer']}}}$.", SHORT, pool)
        assert (found.outcome, found.how) == (C, How.INTEGER), row["id"]
        assert grade(row["answer"], f"So $\\boxed{{{row['answer']}1}}$.", SHORT, pool).outcome is W, row["id"]


@needs_data
@pytest.mark.parametrize("name", LATEX_SETS)
def test_gold_formulas_answer_themselves(name: str, pool: VerifierPool):
    """As text, and also for math-verify, which does not see that the texts are equal."""
    golds = [row["answer"] for row in rows(f"{name}.jsonl")]
    assert all(found.outcome is C for found in judge_many((Candidate(gold, whole(gold), SHORT) for gold in golds), pool))
    for gold in golds:
        reply = pool.ask(GraderQuestion(gold, gold, (), True, False, 6, 15, cpu_s=2.0, memory_mib=256), 15.0)
        assert reply.finding == "equal", gold


@needs_data
def test_agreement_with_math_verify(pool: VerifierPool):
    cases = [row for row in rows("grader_cases.jsonl") if row["grader"] == "math-verify"]
    disagree: list[str] = []
    for row in cases:
        options = row.get("options") or {}
        types = tuple(MatchType(name) for name in options.get("match_types", ()))
        rules = GradingRules(
            extraction=Extraction.ANYWHERE if types else Extraction.BOXED,
            match_types=types or tuple(MatchType),
            strict=options.get("strict", True),
            allow_set_relation_comp=options.get("allow_set_relation_comp", False),
            float_rounding=options.get("precision", 6),
        )
        found = grade_answer(row["gold"], row["prediction"], rules, pool)
        if (found.outcome is C) != row["equal"]:
            disagree.append(row["id"])
    assert len(disagree) <= 0.03 * len(cases), disagree
