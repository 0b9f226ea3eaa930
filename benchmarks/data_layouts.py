"""What becomes of data files in other people's column layouts: ``python benchmarks/data_layouts.py FOLDER``.

Every file and folder in FOLDER is given to `jsonl` as a test file, and to `qa` if the refusal names that. Printed are what was refused
and why, or the layout that was recognised, and the score of a policy that is always right. It computes its answers from the questions
as they are shown to it (plums in jars; the answer to p1 is 1), so a choice, a passage or an instruction that got lost costs it its score.
"""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from espl_bench.cli.console import out_console, plain_table
from espl_bench.environment.catalogue import find_environment, make_environment
from espl_bench.environment.probing import play
from espl_bench.environment.text_env import TextEnv
from espl_bench.errors import EsplError
from espl_bench.types import Outcome, Split
from espl_bench.utils.formatting import plain

JARS = re.compile(r"Mira has (\d+) jars with (\d+) plums each and eats (\d+)\.")
PLACE = re.compile(r"Where is place (\d+)\?")
NUMBERED = re.compile(r"^p(\d+)$", re.MULTILINE)
CHOICE = re.compile(r"^\(?([A-Z])[.)] (.*)$", re.MULTILINE)
TRUTHS = {"1+1=2", "2+2=4"}
"""True statements among choices that belong to no jar."""


def right_answer(question: str, towns: bool) -> str:
    """Answer as somebody who knows; `towns`: the file's answers are towns, of which the first belongs to three jars."""
    choices = [(letter, text.strip()) for letter, text in CHOICE.findall(question)]
    jars = JARS.search(question)
    if jars is not None:
        had, each, eaten = map(int, jars.groups())
        said = f"Town {had - 3}" if towns else str(had * each - eaten)
    elif place := PLACE.search(question):
        said = f"Town {place[1]}"
    elif numbered := NUMBERED.search(question):
        said = numbered[1]
    else:
        said = next((text for _, text in choices if text in TRUTHS), "2")
    return next((letter for letter, text in choices if text == said), said)


def outcomes(env: TextEnv, dialect: str, towns: bool) -> Iterator[object]:
    """Yield the verdict on the right answer to each problem, put where the problem asks for it, or else where the dialect does."""
    for problem in (env.problem(Split.TEST, index) for index in range(env.size(Split.TEST))):
        said = right_answer(problem.question, towns)
        line = dialect != "full" or "Answer:" in problem.question
        yield play(env, problem, f"So.\nAnswer: {said}" if line else f"So it is $\\boxed{{{said}}}$.").outcome


def tried(file: Path, env: str, options: dict[str, Any]) -> tuple[str, str]:
    """Return the score and what was recognised, or a dash and the refusal."""
    spec = find_environment(env)
    try:
        made = make_environment(spec, {"test": str(file), **options})
    except EsplError as error:
        return "–", str(error).replace(f"{file.parent}/", "")
    towns = any("Town" in made.problem(Split.TEST, index).answer for index in range(made.size(Split.TEST)))
    found = list(outcomes(made, spec.dialect, towns))
    facts = made.data_facts()["files"][0]
    first = made.problem(Split.TEST, 0)
    note = f"{facts.get('layout', 'columns')}: {first.question[-40:]!r} = {first.answer[:40]!r}; {len(found)} items"
    return f"{100 * found.count(Outcome.CORRECT) / len(found):.0f} %", note


def rows(folder: Path) -> Iterator[tuple[str, str, str, str]]:
    """Yield file, environment, score and remark; a refused file again in the way that its refusal names."""
    for file in sorted(folder.iterdir()):
        score, note = tried(file, "jsonl", {})
        yield file.name, "jsonl", score, note
        if shards := re.search(r"name all: '(.*)'", note):
            yield shards[1], "qa", *tried(folder / shards[1], "qa", {})
        for remedy, env, options in (("skip_bad_rows", "jsonl", {"skip_bad_rows": True}), ("--env qa", "qa", {})):
            if score == "–" and remedy in note:
                yield file.name, f"{env} {' '.join(options)}".strip(), *tried(file, env, options)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    table = plain_table("file", "environment", "always right", "what happened")
    for row in rows(arguments.folder):
        table.add_row(*map(plain, row))
    out_console().print(table)


if __name__ == "__main__":
    main()
