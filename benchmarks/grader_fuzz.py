"""Mutate real gold answers and grade the mutants: `python benchmarks/grader_fuzz.py FILE.jsonl… [--golds 600] [--seed 0]`.

Every file has one JSON object a line with the gold answer in ``answer``. Each gold answer is
rewritten in ways that keep its value, and in ways that change it a little. Prints, for each way, how many
mutants are graded as they should be; a near miss graded correct is a false positive.
"""

import argparse
import json
import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from espl_bench.grading import Candidate, GradingRules, judge_many
from espl_bench.grading.extract import whole
from espl_bench.types import Outcome

Mutation = Callable[[str, random.Random], str | None]
"""A gold answer to a mutant; None where it does not apply."""

_SIMPLE = re.compile(r"-?(?:[0-9.]+|\\frac\{[0-9]+\}\{[0-9]+\}|[0-9]*\\sqrt\{[0-9]+\}|[0-9]*\\pi)")
_FRACTION = re.compile(r"\\d?frac\{([0-9]+)\}\{([0-9]+)\}")
_LIST = re.compile(r"[^()\[\]{}\\]+(?:,[^()\[\]{}\\]+)+")
_LETTER = re.compile(r"(?<![A-Za-z\\])[abcnrxyz](?![A-Za-z])")


def _simple(change: Callable[[str], str]) -> Mutation:
    """Apply to single numbers only."""
    return lambda gold, _: change(gold) if _SIMPLE.fullmatch(gold) else None


def _replaced(pattern: str, replacement: str) -> Mutation:
    def change(gold: str, _: random.Random) -> str | None:
        changed = re.sub(pattern, replacement, gold)
        return changed if changed != gold else None

    return change


def _expanded(gold: str, _: random.Random) -> str | None:
    changed = _FRACTION.sub(lambda part: f"\\frac{{{3 * int(part[1])}}}{{{3 * int(part[2])}}}", gold)
    return changed if changed != gold else None


def _permuted(gold: str, random_: random.Random) -> str | None:
    if not _LIST.fullmatch(gold) or re.fullmatch(r"[0-9]{1,3}(?:,[0-9]{3})+", gold):
        return None
    items = [item.strip() for item in gold.split(",")]
    other = random_.sample(items, len(items))
    return ", ".join(other)


SAME: dict[str, Mutation] = {
    "dollars": lambda gold, _: f"${gold}$",
    "thin spaces": lambda gold, _: f"\\,{gold}\\,",
    "a full stop": lambda gold, _: f"{gold}.",
    "bold": lambda gold, _: f"\\boldsymbol{{{gold}}}",
    "a colour": lambda gold, _: f"\\textcolor{{red}}{{{gold}}}",
    "display style": lambda gold, _: f"\\displaystyle {gold}",
    "a box": lambda gold, _: f"\\boxed{{{gold}}}",
    "lead-in": _simple(lambda gold: f"\\text{{The answer is }}{gold}"),
    "a name": _simple(lambda gold: f"x = {gold}"),
    "brackets": _simple(lambda gold: f"({gold})"),
    "plus nothing": _simple(lambda gold: f"{gold} + 0"),
    "times one": _simple(lambda gold: f"1 \\cdot {gold}" if not gold.startswith("-") else f"{gold} \\cdot 1"),
    "doubled and halved": _simple(lambda gold: f"\\frac{{2 \\cdot ({gold})}}{{2}}"),
    "dfrac": _replaced(r"\\frac", r"\\dfrac"),
    "slash": _replaced(r"(?<![0-9 ])\\d?frac\{([0-9]+)\}\{([0-9]+)\}", r"{\1/\2}"),
    "expanded": _expanded,
    "left and right": _replaced(r"^\((.*)\)$", r"\\left(\1\\right)"),
    "power of a half": _replaced(r"\\sqrt\{([0-9]+)\}", r"{\1}^{1/2}"),
    "permuted": _permuted,
}


def _digit(gold: str, random_: random.Random) -> str | None:
    places = [place for place, char in enumerate(gold) if char in "0123456789"]
    if not places:
        return None
    place = random_.choice(places)
    return f"{gold[:place]}{(int(gold[place]) + random_.randint(1, 8)) % 10}{gold[place + 1 :]}"


def _more_digits(gold: str, random_: random.Random) -> str | None:
    places = [match.end() for match in re.finditer(r"(?<![0-9.])[1-9][0-9]*(?![0-9.])", gold)]
    place = random_.choice(places) if places else 0
    return f"{gold[:place]}{random_.randint(0, 9)}{gold[place:]}" if places else None


def _one_sign(gold: str, random_: random.Random) -> str | None:
    places = [place for place, char in enumerate(gold) if char in "+-"]
    if not places:
        return None
    place = random_.choice(places)
    return f"{gold[:place]}{'-' if gold[place] == '+' else '+'}{gold[place + 1 :]}"


def _other_letter(gold: str, random_: random.Random) -> str | None:
    found = list(_LETTER.finditer(gold))
    if len({match.group() for match in found}) != 1 or "=" in gold or "text" in gold:
        return None
    return _LETTER.sub("w", gold)


DIFFERENT: dict[str, Mutation] = {
    "another digit": _digit,
    "one digit more": _more_digits,
    "another sign": _one_sign,
    "another variable": _other_letter,
    "negative": _simple(lambda gold: f"-({gold})" if gold not in ("0", "0.0") else f"{gold}+1"),
    "off by a little": _simple(lambda gold: f"{gold} + 10^{{-20}}"),
    "off by one": _simple(lambda gold: f"{gold} + 1"),
    "a variable behind": _simple(lambda gold: f"{gold} t"),
    "a second answer": _simple(lambda gold: f"{gold}, 1000003"),
    "an inequality": _simple(lambda gold: f"x > {gold}"),
    "denied": _simple(lambda gold: f"\\text{{not }} {gold}"),
    "unequal": _simple(lambda gold: f"\\ne {gold}"),
    "percent of a percent": _simple(lambda gold: f"{gold} \\cdot 10^{{-4}}" if gold.strip("0.") else f"{gold} + 2"),
    "an item less": lambda gold, _: gold.rpartition(",")[0] or None if _LIST.fullmatch(gold) else None,
    "other brackets": _replaced(r"^\(([^()]*,[^()]*)\)$", r"\\{\1\\}"),
    "closed": _replaced(r"^\(([^()]*,[^()]*)\)$", r"[\1]"),
}


def golds(files: Sequence[Path], number: int, random_: random.Random) -> list[str]:
    """Draw different gold answers, half of them no integers if there are enough."""
    found = [
        str(json.loads(line)["answer"]).strip() for file in files for line in file.read_text(encoding="utf-8").splitlines() if line.strip()
    ]
    different = sorted(set(found))
    hard = [gold for gold in different if not gold.lstrip("-").isdecimal()]
    easy = [gold for gold in different if gold.lstrip("-").isdecimal()]
    kept = random_.sample(hard, min(len(hard), max(number // 2, number - len(easy))))
    return kept + random_.sample(easy, min(len(easy), number - len(kept)))


def mutants(chosen: Sequence[str], random_: random.Random) -> Iterator[tuple[str, bool, str, str]]:
    """Yield way, whether the value is the same, gold answer and mutant."""
    for gold in chosen:
        for same, ways in ((True, SAME), (False, DIFFERENT)):
            for way, mutation in ways.items():
                mutant = mutation(gold, random_)
                if mutant and (same or mutant != gold):
                    yield way, same, gold, mutant


def main() -> None:
    """Parse the command line, mutate, grade and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--golds", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--disagreements", action="store_true", help="also print the mutants that are graded otherwise")
    options = parser.parse_args()
    random_ = random.Random(options.seed)
    chosen = golds(options.files, options.golds, random_)
    made = list(mutants(chosen, random_))
    grades = judge_many(Candidate(gold, whole(mutant), GradingRules()) for _, _, gold, mutant in made)
    count: dict[tuple[bool, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for (way, same, gold, mutant), grade in zip(made, grades, strict=True):
        right = grade.outcome is (Outcome.CORRECT if same else Outcome.WRONG)
        for tally in (count[same, way], count[same, "all"]):
            tally[0] += 1
            tally[1] += right
            tally[2] += not grade.outcome.graded
        if options.disagreements and not right:
            print(f"{way}: {grade.outcome}: {gold!r} | {mutant!r}")
    print(f"{len(chosen)} gold answers, {len(made):,} mutants")
    for same, name in ((True, "same value, graded correct"), (False, "near miss, graded wrong")):
        print(name)
        for (kind, way), (total, right, ungraded) in sorted(count.items(), key=lambda row: (row[0][1] == "all", row[0][1])):
            if kind == same:
                print(f"  {way:<24} {right:>5}/{total:<5} {right / total:7.2%}{f'  ungraded {ungraded}' if ungraded else ''}")


if __name__ == "__main__":
    main()
