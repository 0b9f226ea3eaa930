"""Measure a lab model's skills on fresh examples: `python -m espl_envs.lab.measure [--course NAME] [--model FOLDER] [--json]`.

The examples are never trained on: their seeds differ from those of pre-training. The numbers in the model cards are this
command's output.
"""

import argparse
import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from espl_bench.evolution.operators.edit_fields import proposals
from espl_bench.evolution.operators.lenient_json import JsonObject, recover_objects
from espl_bench.seeding import seed_for
from espl_envs.lab import MODEL, SEARCH_MODEL
from espl_envs.lab.courses import COURSES
from espl_envs.lab.measure_chains import measure_solving
from espl_envs.lab.measure_search import measure_searching
from espl_envs.lab.skills import Course, Skill
from espl_envs.lab.writer import Rate, Writer

MODELS: Mapping[str, Path] = {"rulebook": MODEL, "almanac": SEARCH_MODEL}
EDITING = (Skill.CRITIQUE, Skill.AGGREGATE, Skill.CROSSOVER)


def measure_summaries(writer: Writer, course: Course, items: int) -> Rate:
    """Measure summaries that are right word for word."""
    rng = random.Random(seed_for(0, "measure", Skill.SUMMARISE))
    examples = [course.summarise(rng, course.full) for _ in range(items)]
    texts = writer.write([example.messages for example in examples], Skill.SUMMARISE)
    return Rate(Skill.SUMMARISE, sum(text == example.target for text, example in zip(texts, examples, strict=True)), items)


def measure_editing(writer: Writer, course: Course, skill: Skill, items: int) -> list[Rate]:
    """Measure exactly right edits, in all and by kind, among the examples whose evidence decides."""
    rng = random.Random(seed_for(0, "measure", skill))
    examples = [example for example in (course.example(skill, rng, course.full) for _ in range(items)) if example.decided]
    texts = writer.write([example.messages for example in examples], skill)
    kinds: dict[str, list[bool]] = {}
    for text, example in zip(texts, examples, strict=True):
        wanted = read_edits(example.target)
        kind = " and ".join(sorted({str(edit["op"]) for edit in wanted or ()})) or "no edit"
        kinds.setdefault(kind, []).append(read_edits(text) == wanted)
    whole = Rate(skill, sum(map(sum, kinds.values())), len(examples))
    return [whole, *(Rate(f"{skill}: {kind}", sum(hits), len(hits)) for kind, hits in sorted(kinds.items()))]


def read_edits(text: str) -> list[JsonObject] | None:
    """Return the edits of a text, as the operators find them; None if the text holds none."""
    recovered = recover_objects(text)
    return proposals(recovered.objects) if recovered.objects or recovered.empty_list else None


SOLVING: Mapping[str, Callable[[Writer, int], list[Rate]]] = {"rulebook": measure_solving, "almanac": measure_searching}
"""Measurements of a model's actions in its own world."""


def measure(course: Course, model: Path, items: int, temperature: float) -> list[Rate]:
    """Measure all skills."""
    writer = Writer(model, temperature)
    return [
        *SOLVING[course.name](writer, items),
        measure_summaries(writer, course, items),
        *(rate for skill in EDITING for rate in measure_editing(writer, course, skill, items)),
    ]


def main() -> None:
    """Parse the command line and print the rates."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--course", choices=list(COURSES), default="rulebook")
    parser.add_argument("--model", type=Path, help="folder; default: the model that is shipped for the course")
    parser.add_argument("--items", type=int, default=1000, help="examples per skill")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    model = options.model or MODELS[options.course]
    rates = measure(COURSES[options.course], model, options.items, options.temperature)
    console = Console()
    if options.json:
        console.print_json(json.dumps({rate.name: {"rate": rate.value, "of": rate.total} for rate in rates}))
        return
    table = Table("skill", "rate", "of", title=f"{model.name} at temperature {options.temperature}")
    for rate in rates:
        table.add_row(rate.name, f"{rate.value:.1%}", str(rate.total))
    console.print(table)


if __name__ == "__main__":
    main()
