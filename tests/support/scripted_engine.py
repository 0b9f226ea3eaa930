"""An engine without a network: it reads what it is shown and answers by the rules of the laboratory's language.

It tokenises for real, works chains out under the stated principles, and writes the edits that the evidence supports. Its
weights are one number, `practice`, that every training step raises and that makes slips rarer. All is a pure function of
weights, prompt and seed. The reference has no practice.
"""

import asyncio
import json
import random
import re
from dataclasses import dataclass, field

from checked import integer, present
from espl_envs.lab.courses.rulebook import RulebookCourse, Solver
from espl_envs.lab.language import (
    Champion,
    LineReading,
    as_principles,
    as_stated,
    judge_attempts,
    judge_parents,
    settle,
)
from espl_envs.lab.tokenizer import build_tokenizer
from espl_envs.rulebook.chains import Chain, Solution
from espl_envs.rulebook.env import hidden_meanings
from espl_envs.rulebook.meanings import MEANINGS, OPERATORS

from espl_bench.engines.chat import HfChat
from espl_bench.types import Completion, StopReason

SLIP = 0.15
HABIT = hidden_meanings(0)
"""It knows the world, so that right answers are common,"""
STRAY = 0.7
"""but as a rule it does something else, so that wrong ones are, too."""
OPERATOR, MEANING = (f"({'|'.join(words)})" for words in (OPERATORS, MEANINGS))
PRINCIPLE = re.compile(rf"\[G\d+\] {OPERATOR} {MEANING}")
CHAIN = re.compile(rf"\d \d(?: (?:{'|'.join(OPERATORS)}) \d \d)+(?= = \?)")
STEP = re.compile(rf"{OPERATOR} {MEANING} \d \d = (\d) \d \d = (\d)")
BELIEF = re.compile(rf"{OPERATOR} {MEANING}")


def make_chat() -> HfChat:
    tokenizer = build_tokenizer(RulebookCourse())
    return HfChat(tokenizer, frozenset({integer(tokenizer.eos_token_id)}), "scripted")


@dataclass
class Call:
    """One call of a sampling client."""

    weights: str
    """``current`` or ``reference``."""
    practice: float
    requests: tuple
    completions: tuple


@dataclass
class ScriptedEngine:
    """An `Engine` that also keeps what passed through it."""

    isolates_snapshots: bool = True
    batches_continuously: bool = False
    practice: float = 0.0
    calls: list = field(default_factory=list)
    trained: list = field(default_factory=list)
    scored: list = field(default_factory=list)
    chat: HfChat = field(default_factory=make_chat)

    async def current(self):
        await asyncio.sleep(0)  # as a real engine would, this lets whoever else is waiting go first
        return ScriptedClient(self, "current", self.practice)

    async def reference(self):
        return ScriptedClient(self, "reference", 0.0)

    async def train_step(self, data, loss, adam):
        self.trained.append(tuple(data))
        self.practice += adam.lr * sum(abs(datum.advantage) + sum(map(abs, datum.advantages_T)) for datum in data)
        return {"loss": -self.practice}

    async def score(self, data, *, reference):
        """A teacher that likes every token more than the student did, the current weights the more for their practice."""
        liking = 0.1 if reference else 0.1 + self.practice / 1000
        self.scored.append((tuple(data), reference))
        return [tuple(own + liking for own, sampled in zip(d.logprobs_T, d.mask_T, strict=True) if sampled) for d in data]

    async def save(self, folder):
        (folder / "weights.json").write_text(json.dumps(self.practice))

    async def load(self, folder):
        self.practice = json.loads((folder / "weights.json").read_text())

    async def close(self):
        pass


@dataclass
class ScriptedClient:
    engine: ScriptedEngine
    weights: str
    practice: float

    async def sample(self, requests):
        completions = [self._complete(request) for request in requests]
        self.engine.calls.append(Call(self.weights, self.practice, tuple(requests), tuple(completions)))
        return completions

    def _complete(self, request):
        text = respond(self.engine.chat.decode(request.prompt_T), random.Random(request.seed), SLIP / (1 + self.practice))
        (*tokens,) = spell(self.engine.chat, text)
        cut = len(tokens) > request.max_tokens
        tokens = tuple(tokens[: request.max_tokens])
        reason = StopReason.LENGTH if cut else StopReason.STOP
        return Completion(tokens, (-0.5,) * len(tokens), self.engine.chat.decode(tokens), reason)


def spell(chat, text):
    """The ids of an assistant's text, its end included."""
    return tuple(chat._tokenizer(f"{text} <|end|>", add_special_tokens=False)["input_ids"])


def respond(prompt, rng, slip):
    """What the script says to a prompt, by the word it begins with."""
    match prompt.split()[0]:
        case "summarise":
            return _summary(prompt)
        case "critique":
            return _critique(prompt, rng)
        case "aggregate":
            return _aggregate(prompt)
        case "crossover":
            return _cross(prompt)
        case _:
            solver = Solver(as_stated(read_principles(prompt)), HABIT, slip, STRAY)
            return solver.attempt(rng, read_chain(present(CHAIN.search(prompt))[0])).text


def read_principles(text):
    return PRINCIPLE.findall(text)


def read_chain(question):
    words = question.split()
    numbers = [(int(words[place]), int(words[place + 1])) for place in range(0, len(words), 3)]
    return Chain(tuple(numbers), tuple(words[2::3]))


def _summary(prompt):
    chain, steps = read_chain(present(CHAIN.search(prompt))[0]), STEP.findall(prompt)
    known = Chain(chain.numbers[: len(steps) + 1], chain.operators[: len(steps)])
    return Solution(known, tuple(s[1] for s in steps), tuple((int(s[2]), int(s[3])) for s in steps)).summary


def _critique(prompt, rng):
    stated, _, rest = prompt.partition(" problem : ")
    attempts = []
    for label, summary in re.findall(r"(right|wrong) : ([^:]*?)(?= right :| wrong :|$)", rest):
        operators, used = zip(*BELIEF.findall(summary), strict=True)
        attempts.append(LineReading(operators, used, label == "right"))
    beliefs = read_principles(stated)
    return judge_attempts(rng, beliefs, attempts).text(as_principles(beliefs))


def _aggregate(prompt):
    parts = present(re.fullmatch(r"aggregate principles :(.*?)(?: added :(.*?))?(?: changes :(.*))?", prompt)).groups("")
    beliefs, added, changes = map(read_principles, parts)
    return settle(beliefs, added, changes).text(as_principles([*beliefs, *added]))


def _cross(prompt):
    first, *rivals = (_champion(label, prompt) for label in dict.fromkeys(re.findall(r"(?<= )[A-F](?= )", prompt)))
    return judge_parents(first, rivals).text(as_principles(first.beliefs))


def _champion(label, prompt):
    won = re.findall(rf"(?<= ){label} won ({CHAIN.pattern})", prompt)
    return Champion(label, tuple(re.findall(rf"(?<= ){label} {BELIEF.pattern}", prompt)), tuple(map(read_chain, won)))
