"""How many principles of rulebook's shown prompts are false: `python benchmarks/false_principles.py [RUN_OR_FOLDER…]`.

Reads finished runs or published results of rulebook (default: the study `results/rulebook-worlds`). A principle states one meaning of one
operator; it is false if that is not the operator's hidden meaning in the run's world. An operator that no principle names is missing. The
counts follow from the final prompt alone; no run and no table uses them. Rollouts and tokens are what learning cost, relative to a row's
pairs with `espl` on the same worlds and seeds.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
from espl_envs.rulebook.env import hidden_meanings

from espl_bench.leaderboard.collect import collect
from espl_bench.runs.summary import Summary
from espl_bench.stats import difference_interval

PUBLISHED = Path(__file__).parents[1] / "results" / "rulebook-worlds"
REFERENCE = "espl"


@dataclass(frozen=True)
class Count:
    """One run's final prompt."""

    world: int
    seed: int
    false: int
    missing: int
    score: float
    validation: float
    rollouts: int
    tokens: int
    """Sampled in learning, by policy and editor."""


def count(summary: Summary) -> Count:
    """Compare the shown prompt with the hidden meanings of its world."""
    world = int(dict(summary.env_options).get("world", 0))
    truth = hidden_meanings(world)
    stated = [principle.split() for principle in summary.shown_prompt]
    false = sum(len(words) != 2 or truth.get(words[0]) != words[1] for words in stated)
    missing = len(truth.keys() - {words[0] for words in stated if words})
    spent = summary.ledger
    tokens = spent.generated_tokens + spent.reflection_tokens
    return Count(world, summary.seed, false, missing, summary.score, summary.validation_score, spent.rollouts, tokens)


def row(label: str, runs: Sequence[Count], pairs: Sequence[tuple[Count, Count]]) -> str:
    """Format one row of the table; `pairs` are its runs with those of the reference."""
    cells = [
        label,
        str(len(runs)),
        *(f"{fmean(values):.1f}" for values in ([100 * each.score for each in runs], [100 * each.validation for each in runs])),
    ]
    cells += [f"{fmean(each.false for each in runs):.2f}", f"{fmean(each.missing for each in runs):.2f}"]
    if label == REFERENCE or not pairs:
        return "| " + " | ".join([*cells, "–", "–", "–"]) + " |"
    own, reference = (np.array([[float(each.false)] for each in side]) for side in zip(*pairs, strict=True))
    low, high = difference_interval(own, reference)
    rollouts = fmean(a.rollouts / b.rollouts for a, b in pairs)
    tokens = fmean(a.tokens / b.tokens for a, b in pairs)
    return (
        "| "
        + " | ".join([*cells, f"{(own - reference).mean():+.2f} ({low:+.2f} … {high:+.2f})", f"{rollouts:.2f}", f"{tokens:.2f}"])
        + " |"
    )


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", type=Path, default=[PUBLISHED])
    rows: dict[str, dict[tuple[int, int], Count]] = {}
    for entry in collect(parser.parse_args().paths).entries:
        if entry.summary.env == "rulebook":
            found = count(entry.summary)
            rows.setdefault(entry.label, {})[found.world, found.seed] = found
    print("| row | runs | score | valid. | false of 24 | missing of 24 | Δ false, 95 % CI | rollouts | tokens |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    reference = rows.get(REFERENCE, {})
    for label, runs in sorted(rows.items(), key=lambda item: -fmean(each.score for each in item[1].values())):
        print(row(label, list(runs.values()), [(each, reference[key]) for key, each in runs.items() if key in reference]))


if __name__ == "__main__":
    main()
