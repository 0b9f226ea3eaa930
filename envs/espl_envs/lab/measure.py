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
            SampleRequest(self.engine.chat.encode(messages), seed_for(0, "measure", kind, row), 192, self.temperature)
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
    for symbol, part in zip(chain.symbols, text.split(" ; "), strict=False):
        match part.split():
            case [found, meaning, left, right, "=", result] if found == symbol and meaning in MEANINGS:
                digits = (left, right, result)
                executed = all(map(str.isdigit, digits)) and MEANINGS[meaning](int(left), int(right)) == int(result)
                follows = meaning in stated.get(symbol, ())
                steps.append(Step(meaning, follows, symbol in stated, meaning == world[symbol], executed))
    return steps


def measure_solving(writer: Writer, items: int) -> list[Rate]:
    """Following, guessing, executing, and whole chains with everything told."""
    rng = random.Random(seed_for(0, "measure", "solve"))
    cases = []
    for _ in range(items):
        world = draw_world(rng)
        cases.append((world, draw_chain(rng, rng.randint(1, 4)), draw_beliefs(rng, world, known=0.5, wrong=0.3)))
    prompts = [DIALECT.prompt_messages(as_principles(pairs), chain.question, Placement.SYSTEM) for _, chain, pairs in cases]
    texts = writer.write(prompts, "solve")
    read = [read_steps(text, chain, as_stated(pairs), world) for text, (world, chain, pairs) in zip(texts, cases, strict=True)]
    steps = [step for found in read for step in found]
    expected = sum(len(chain.symbols) for _, chain, _ in cases)
    stated = [step for step in steps if step.stated]
    free = [step for step in steps if not step.stated]
    return [
        Rate("steps written in the expected form", len(steps), expected),
        Rate("stated principle followed (steps)", sum(step.followed for step in stated), len(stated)),
        Rate("true meaning without a principle (chance 10 %)", sum(step.true_meaning for step in free), len(free)),
        Rate("result as the believed meaning gives (steps)", sum(step.executed for step in steps), len(steps)),
        *(measure_chains(writer, length, items // 2) for length in (1, 2, 3, 4)),
    ]


def measure_chains(writer: Writer, length: int, items: int) -> Rate:
    """Whole chains of one length, all operators stated truly."""
    rng = random.Random(seed_for(0, "measure", "chains", length))
    cases = []
    for _ in range(items):
        world = draw_world(rng)
        cases.append((draw_chain(rng, length), list(world.items()), world))
    prompts = [DIALECT.prompt_messages(as_principles(pairs), chain.question, Placement.SYSTEM) for chain, pairs, _ in cases]
    texts = writer.write(prompts, f"chains{length}")
    right = sum(text.endswith(f"answer {chain.solve(world).answer}") for text, (chain, _, world) in zip(texts, cases, strict=True))
    return Rate(f"{length}-step chains right, everything told", right, items)


def measure_writing(writer: Writer, name: str, skill: Callable[[random.Random], Example], items: int) -> Rate:
    """Exactly the right text, among the examples whose evidence leaves one right text."""
    rng = random.Random(seed_for(0, "measure", name))
    examples = [example for example in (skill(rng) for _ in range(items)) if example.decided]
    texts = writer.write([example.messages for example in examples], name)
    return Rate(
        f"{name}: exactly right where the evidence decides", sum(t == e.target for t, e in zip(texts, examples, strict=True)), len(examples)
    )


def measure_critiques(writer: Writer, items: int) -> list[Rate]:
    """Critiques by kind of right answer: nothing to change, an addition, a modification."""
    rng = random.Random(seed_for(0, "measure", "critique kinds"))
    examples = [example for example in (critique(rng) for _ in range(items)) if example.decided]
    texts = writer.write([example.messages for example in examples], "critique kinds")
    kinds: dict[str, list[bool]] = {"no edit": [], "add": [], "modify": []}
    for text, example in zip(texts, examples, strict=True):
        kind = "modify" if "modify" in example.target else "add" if "add" in example.target else "no edit"
        kinds[kind].append(text == example.target)
    return [Rate(f"critique, right answer is: {kind}", sum(hits), len(hits)) for kind, hits in kinds.items()]


def measure(model: Path, items: int, temperature: float) -> list[Rate]:
    """All skills."""
    writer = Writer(model, temperature)
    return [
        *measure_solving(writer, items),
        measure_writing(writer, "summarise", summarise, items // 2),
        measure_writing(writer, "critique", critique, items),
        *measure_critiques(writer, items),
        measure_writing(writer, "aggregate", aggregate, items // 2),
        measure_writing(writer, "crossover", crossover, items // 2),
    ]


def main() -> None:
    """Parse the command line and print the rates."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--items", type=int, default=2000, help="examples per skill")
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
