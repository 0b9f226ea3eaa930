"""Groups of rollouts, and operators whose editor answers what a test tells it to."""

import asyncio
from dataclasses import dataclass, field, replace

from scripted_engine import make_chat, spell

from espl_bench.evolution.operators.crossover import cross
from espl_bench.evolution.operators.editor import Editor
from espl_bench.evolution.operators.mutation import mutate
from espl_bench.evolution.operators.operator import StepView
from espl_bench.evolution.operators.proposal import Birth, Child, EditLimits, ReflectionRules
from espl_bench.evolution.population import Population
from espl_bench.prompts.dialect import Dialect
from espl_bench.types import (
    ROOT_ORIGIN,
    Completion,
    Lineage,
    Outcome,
    Problem,
    Rating,
    Rejected,
    Split,
    StopReason,
    SystemPrompt,
    Trajectory,
    TrajectoryGroup,
    Turn,
)

CHAT = make_chat()
LIMITS = EditLimits(max_edits=2, max_words=32, attempts=4, sigma_growth=1.0)
RIGHT, WRONG, FAILED = Outcome.CORRECT, Outcome.WRONG, Outcome.ERROR
LARGER, SUM, GAP, NEXT = "dax larger", "fep sum", "dax minus", "zup next"


def problem(number: int) -> Problem:
    return Problem(f"train/{number}", Split.TRAIN, number, f"3 {number} dax 5 2 = ?", "5 8", gold="answer 5 8")


def trajectory(outcome: Outcome, number: int, prompt_id: int = 0, sample: int = 0, text: str = "") -> Trajectory:
    said = text or f"dax {'larger' if outcome is RIGHT else 'smaller'} 3 5 = 5 {number} 2 = {sample}"
    tokens = spell(CHAT, said)
    turn = Turn((1,), Completion(tokens, (0.0,) * len(tokens), said, StopReason.STOP))
    return Trajectory(problem(number), prompt_id, sample, (turn,), float(outcome is RIGHT), outcome)


def group(number: int, *outcomes: Outcome, prompt_id: int = 0) -> TrajectoryGroup:
    rollouts = tuple(trajectory(outcome, number, prompt_id, sample) for sample, outcome in enumerate(outcomes))
    return TrajectoryGroup(problem(number), prompt_id, rollouts)


def prompt(prompt_id: int, *principles: str, mu: float = 25.0, sigma: float = 4.0) -> SystemPrompt:
    return SystemPrompt(prompt_id, principles, Rating(mu, sigma), Lineage(ROOT_ORIGIN))


EMPTY = prompt(0)
A, B, C = prompt(4, LARGER, mu=30.0, sigma=3.0), prompt(7, SUM, mu=20.0, sigma=4.0), prompt(9, GAP, mu=25.0, sigma=5.0)


@dataclass
class Answers:
    """A sampling client that says the given texts in order, the last of each kind again and again."""

    texts: dict[str, list[str]]
    prompts: dict[str, list[str]] = field(default_factory=dict)
    seeds: list[int] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)

    async def sample(self, requests):
        self.calls.append(len(requests))
        self.seeds.extend(request.seed for request in requests)
        return [self._answer(CHAT.decode(request.prompt_T)) for request in requests]

    def _answer(self, shown: str) -> Completion:
        kind = shown.split()[0]
        self.prompts.setdefault(kind, []).append(shown)
        texts = self.texts.get(kind, [f"summary {len(self.prompts[kind])}"])
        text = texts[min(len(self.prompts[kind]), len(texts)) - 1]
        return Completion((0,), (0.0,), text, StopReason.STOP)


def editor(client, step: int = 4) -> Editor:
    return Editor(client, CHAT, Dialect.load("compact"), run_seed=0, step=step, temperature=1.0, max_tokens=64)


def add(text: str, evidence: str = "") -> str:
    return f'{{"op":"add","principle":"{text}","evidence":"{evidence}"}}'


def mutated(groups, parent: SystemPrompt = EMPTY, **texts: list[str]) -> tuple[Child | Rejected, Answers]:
    client = Answers({"aggregate": ["[ ]"]} | texts)
    return asyncio.run(mutate(Birth("mutation", (parent,), 5), groups, editor(client), LIMITS)), client


def view(prompts, groups) -> StepView:
    """Step 5 as an operator sees it."""
    members = tuple(sorted(prompts, key=lambda prompt: prompt.id))
    return StepView(5, tuple(prompts), tuple(groups), Population(members, members[-1].id + 1, len(members)))


def crossed(prompts, groups, text: str, limits: EditLimits = LIMITS) -> tuple[Child | Rejected, Answers]:
    client = Answers({"crossover": [text]})
    return asyncio.run(cross("crossover", view(prompts, groups), editor(client), limits)), client


def ruled(groups, rules: ReflectionRules, parent: SystemPrompt = EMPTY, **texts: list[str]) -> tuple[Child | Rejected, Answers]:
    """A mutation under other rules than the default ones."""
    client = Answers({"aggregate": ["[ ]"]} | texts)
    return asyncio.run(mutate(Birth("mutation", (parent,), 5), groups, editor(client), replace(LIMITS, rules=rules))), client


def refused(result: Child | Rejected) -> tuple[str, str]:
    assert isinstance(result, Rejected)
    assert (result.step, "\n" in result.detail) == (5, False)
    return result.reason, result.detail


def born(result: Child | Rejected) -> Child:
    assert isinstance(result, Child)
    return result


def wins(**by_problem: str) -> list[TrajectoryGroup]:
    """Groups of A, B and C on problems p1, p2 …; the letters named solve it always, the others never."""
    return [
        group(int(name[1:]), *([RIGHT, RIGHT] if letter in letters else [WRONG, WRONG]), prompt_id=each.id)
        for letter, each in (("A", A), ("B", B), ("C", C))
        for name, letters in by_problem.items()
    ]
