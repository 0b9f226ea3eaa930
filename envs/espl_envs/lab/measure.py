"""Measure the lab model's skills on fresh examples: `python -m espl_envs.lab.measure [--model FOLDER] [--json]`.

Nothing here is trained on: the examples' seeds are of another kind than pre-training's. The numbers in the model card are
this command's output.
"""

import argparse
import asyncio
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from espl_bench.dialect import Placement
from espl_bench.engines.hf import HfEngine
from espl_bench.operators.lenient_json import JsonObject, recover_objects
from espl_bench.operators.wire import proposals
from espl_bench.seeding import seed_for
from espl_bench.types import Message, SampleRequest
from espl_envs.lab import MODEL
from espl_envs.lab.language import as_principles, as_stated, draw_beliefs, draw_chain, draw_world
from espl_envs.lab.skills import DIALECT, Example, aggregate, critique, crossover, summarise
from espl_envs.rulebook.chains import Chain
from espl_envs.rulebook.meanings import MEANINGS


@dataclass(frozen=True, slots=True)
class Rate:
    """A share with what it is a share of."""

    name: str
    hits: int
    total: int

    @property
    def value(self) -> float:
        """In 0..1."""
        return self.hits / self.total if self.total else 0.0


class Writer:
    """The model under measurement."""

    def __init__(self, model: Path, temperature: float) -> None:
        """Loads the model."""
        self.engine = HfEngine.from_pretrained(model, lora_rank=1, lora_alpha=1.0, seed=0)
        self.temperature = temperature

    def write(self, prompts: Sequence[Sequence[Message]], kind: str) -> list[str]:
        """One text per prompt."""
        requests = [
            SampleRequest(self.engine.chat.encode(messages), seed_for(0, "measure", kind, row), 384, self.temperature)
            for row, messages in enumerate(prompts)
        ]

        async def sample() -> list[str]:
            client = await self.engine.reference()
            return [completion.text for completion in await client.sample(requests)]

        return asyncio.run(sample())


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a written solution, as far as it can be read."""

    meaning: str
    followed: bool
    stated: bool
    true_meaning: bool
    executed: bool


def read_steps(text: str, chain: Chain, stated: Mapping[str, tuple[str, ...]], world: Mapping[str, str]) -> list[Step]:
    """The steps of a solution that have the expected form; others are left out (and counted by the caller)."""
    steps = []
    for operator, part in zip(chain.operators, text.split(" ; "), strict=False):
        match part.split():
            case [found, meaning, *digits] if found == operator and meaning in MEANINGS:
                follows = meaning in stated.get(operator, ())
                steps.append(Step(meaning, follows, operator in stated, meaning == world[operator], _executed(meaning, digits)))
    return steps


def _executed(meaning: str, digits: Sequence[str]) -> bool:
    """Whether ``3 5 = 5 8 2 = 8`` is what the meaning gives, place by place."""
    match digits:
        case [tens, other_tens, "=", first, ones, other_ones, "=", second]:
            sums = ((tens, other_tens, first), (ones, other_ones, second))
            return all(all(map(str.isdigit, row)) and MEANINGS[meaning](int(row[0]), int(row[1])) == int(row[2]) for row in sums)
    return False


def measure_solving(writer: Writer, items: int) -> list[Rate]:
    """Following, guessing, executing, and whole chains with everything told."""
    rng = random.Random(seed_for(0, "measure", "solve"))
    cases = []
    for _ in range(items):
        world = draw_world(rng)
        cases.append((world, draw_chain(rng, world, rng.randint(1, 4)), draw_beliefs(rng, world, known=0.5, wrong=0.3)))
    prompts = [DIALECT.prompt_messages(as_principles(beliefs), chain.question, Placement.SYSTEM) for _, chain, beliefs in cases]
    texts = writer.write(prompts, "solve")
    read = [read_steps(text, chain, as_stated(beliefs), world) for text, (world, chain, beliefs) in zip(texts, cases, strict=True)]
    steps = [step for found in read for step in found]
    expected = sum(len(chain.operators) for _, chain, _ in cases)
    stated = [step for step in steps if step.stated]
    free = [step for step in steps if not step.stated]
    return [
        Rate("steps written in the expected form", len(steps), expected),
        Rate("stated principle followed (steps)", sum(step.followed for step in stated), len(stated)),
        Rate("true meaning without a principle (chance 10 %)", sum(step.true_meaning for step in free), len(free)),
        Rate("result as the believed meaning gives (steps of two digits)", sum(step.executed for step in steps), len(steps)),
        *(measure_chains(writer, length, items // 2) for length in (1, 2, 3, 4)),
    ]


def measure_chains(writer: Writer, length: int, items: int) -> Rate:
    """Whole chains of one length, all operators stated truly."""
    rng = random.Random(seed_for(0, "measure", "chains", length))
    cases = []
    for _ in range(items):
        world = draw_world(rng)
        cases.append((draw_chain(rng, world, length), list(world.items()), world))
    prompts = [DIALECT.prompt_messages(as_principles(beliefs), chain.question, Placement.SYSTEM) for chain, beliefs, _ in cases]
    texts = writer.write(prompts, f"chains{length}")
    right = sum(text.endswith(f"answer {chain.solve(world).answer}") for text, (chain, _, world) in zip(texts, cases, strict=True))
    return Rate(f"{length}-step chains right, everything told", right, items)


def measure_summaries(writer: Writer, items: int) -> Rate:
    """The right operators, meanings and verdict."""
    rng = random.Random(seed_for(0, "measure", "summarise"))
    examples = [summarise(rng) for _ in range(items)]
    texts = writer.write([example.messages for example in examples], "summarise")
    return Rate("summarise", sum(text == example.target for text, example in zip(texts, examples, strict=True)), items)


def measure_editing(writer: Writer, name: str, skill: Callable[[random.Random], Example], items: int) -> list[Rate]:
    """Exactly the right edits, in all and by what they are, among the examples whose evidence decides."""
    rng = random.Random(seed_for(0, "measure", name))
    examples = [example for example in (skill(rng) for _ in range(items)) if example.decided]
    texts = writer.write([example.messages for example in examples], name)
    kinds: dict[str, list[bool]] = {}
    for text, example in zip(texts, examples, strict=True):
        wanted = read_edits(example.target)
        kind = " and ".join(sorted({str(edit["op"]) for edit in wanted or ()})) or "no edit"
        kinds.setdefault(kind, []).append(read_edits(text) == wanted)
    whole = Rate(name, sum(map(sum, kinds.values())), len(examples))
    return [whole, *(Rate(f"{name}: {kind}", sum(hits), len(hits)) for kind, hits in sorted(kinds.items()))]


def read_edits(text: str) -> list[JsonObject] | None:
    """The edits of a text, as the operators find them; None where they find nothing they can read."""
    found = recover_objects(text)
    return proposals(found.objects) if found.objects or found.empty_list else None


def measure(model: Path, items: int, temperature: float) -> list[Rate]:
    """All skills."""
    writer = Writer(model, temperature)
    return [
        *measure_solving(writer, items),
        measure_summaries(writer, items),
        *measure_editing(writer, "critique", critique, items),
        *measure_editing(writer, "aggregate", aggregate, items),
        *measure_editing(writer, "crossover", crossover, items),
    ]


def main() -> None:
    """Parse the command line and print the rates."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--items", type=int, default=1000, help="examples per skill")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rates = measure(options.model, options.items, options.temperature)
    console = Console()
    if options.json:
        console.print_json(json.dumps({rate.name: {"rate": rate.value, "of": rate.total} for rate in rates}))
        return
    table = Table("skill", "rate", "of", title=f"{options.model.name} at temperature {options.temperature}")
    for rate in rates:
        table.add_row(rate.name, f"{rate.value:.1%}", str(rate.total))
    console.print(table)


if __name__ == "__main__":
    main()
