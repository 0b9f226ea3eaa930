"""Agreement of the grader with cases whose verdict is known: `python benchmarks/grader_cases.py CASES.jsonl`.

Each row has ``gold``, ``answer``, ``want`` (correct, wrong or no_answer), and if it likes ``id``, ``kind`` and ``grader``. An answer
of grader ``exact_match`` stands on an answer line and is compared as the question-answering environments do; any other is graded in
its last box, or on its answer line if its kind is about these. A false positive is a case graded correct that is not; a false
negative is one that should be and is not. `--half` takes a fixed half of the rows: by the first byte of the SHA-256 of the id.
"""

import argparse
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from espl_envs.search.answers import exact_match

from espl_bench.grading import Candidate, Extraction, GradingRules, judge_many
from espl_bench.grading.extract import extract

ANSWER_LINES = "Answer line"
HALVES = ("both", "first", "second")
Row = dict[str, Any]


def half_of(row: Row) -> str:
    """Which half a row belongs to."""
    return HALVES[1 + hashlib.sha256(str(row["id"]).encode()).digest()[0] % 2]


def outcomes(rows: Sequence[Row]) -> list[str]:
    """Grade every row; mathematical ones as many at a time as there are cores."""
    maths = [row for row in rows if row.get("grader") != "exact_match"]
    graded = judge_many(candidate(row) for row in maths)
    found = {id(row): grade.outcome.value for row, grade in zip(maths, graded, strict=True)}
    return [found[id(row)] if id(row) in found else matched(row) for row in rows]


def candidate(row: Row) -> Candidate:
    """Take the answer from the last box, as the mathematics environments do, or from an answer line where the kind is about these."""
    by = Extraction.ANSWER_LINE if row.get("kind", "").startswith(ANSWER_LINES) else Extraction.BOXED
    return Candidate(row["gold"], extract(row["answer"], by), GradingRules(by))


def matched(row: Row) -> str:
    """Compare by exact match, as a question-answering environment does."""
    answer = extract(row["answer"], Extraction.ANSWER_LINE).answer
    golds = [row["gold"]] if isinstance(row["gold"], str) else row["gold"]
    return "no_answer" if answer is None else "correct" if exact_match(answer, golds) else "wrong"


def summary(cases: Iterable[tuple[Row, str]]) -> tuple[int, int, int, int, int]:
    """Count cases, agreements, false positives, false negatives, and cases whose verdict is wrong."""
    count: Counter[str] = Counter()
    for row, outcome in cases:
        count["cases"] += 1
        count["agree"] += outcome == row["want"]
        count["false +"] += outcome == "correct" != row["want"]
        count["false -"] += outcome != "correct" == row["want"]
        count["wrong"] += row["want"] == "wrong"
    return count["cases"], count["agree"], count["false +"], count["false -"], count["wrong"]


def told(name: str, cases: Sequence[tuple[Row, str]]) -> str:
    """Tell the counts of some cases in a line."""
    total, agree, positive, negative, wrong = summary(cases)
    share = f"{agree / total:6.1%}"
    return f"{name:<64} {agree:>4}/{total:<4} {share}  false + {positive} (of {wrong} wrong), false - {negative}"


def main() -> None:
    """Parse the command line, grade and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("cases", type=Path, help="JSON Lines file")
    parser.add_argument("--half", choices=HALVES, default="both")
    parser.add_argument("--kinds", action="store_true", help="also print every kind")
    parser.add_argument("--disagreements", action="store_true", help="also print every case that disagrees")
    options = parser.parse_args()
    rows: list[Row] = [json.loads(line) for line in options.cases.read_text(encoding="utf-8").splitlines() if line.strip()]
    cases = [(row, outcome) for row, outcome in zip(rows, outcomes(rows), strict=True) if options.half in ("both", half_of(row))]
    if options.disagreements:
        for row, outcome in cases:
            if outcome != row["want"]:
                print(f"{row['id']} {row['kind']}: want {row['want']}, got {outcome}: {row['gold']!r} | {row['answer']!r}")
    if options.kinds:
        kinds: dict[str, list[tuple[Row, str]]] = defaultdict(list)
        for row, outcome in cases:
            kinds[row.get("kind", "")].append((row, outcome))
        for kind, members in kinds.items():
            print(told(kind, members))
    for half in HALVES:
        chosen = [case for case in cases if half in ("both", half_of(case[0]))]
        if chosen:
            print(told(f"all, {half} half" if half != "both" else "all", chosen))


if __name__ == "__main__":
    main()
