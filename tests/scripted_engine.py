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

from espl_envs.lab.language import Champion, Solver, Vote, as_stated, judge_attempts, judge_parents, settle, write_edits
from espl_envs.lab.tokenizer import build_tokenizer
from espl_envs.rulebook.chains import Chain, Solution

from espl_bench.engines.chat import HfChat
from espl_bench.types import Completion, StopReason

SLIP = 0.3
PRINCIPLE = re.compile(r"\[G(\d+)\] (\S) (\w+) digit \.(?: (\d)(?= |$))?")
CHAIN = re.compile(r"\d(?: \S \d)+(?= = \?)")
STEP = re.compile(r"(\S) (\w+) (\d) (\d) = (\d)")
BELIEF = re.compile(r"(\S) ([a-z]+) (\d)")


def make_chat() -> HfChat:
    tokenizer = build_tokenizer()
    return HfChat(tokenizer, frozenset({tokenizer.eos_token_id}), "scripted")


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
    practice: float = 0.0
    calls: list = field(default_factory=list)
    trained: list = field(default_factory=list)
    chat: HfChat = field(default_factory=make_chat)

    async def current(self):
        await asyncio.sleep(0)  # as a real engine would, this lets whoever else is waiting go first
        return ScriptedClient(self, "current", self.practice)

    async def reference(self):
        return ScriptedClient(self, "reference", 0.0)

    async def train_step(self, data, loss, adam):
        self.trained.append(tuple(data))
        self.practice += adam.lr * sum(abs(datum.advantage) for datum in data)
        return {"loss": -self.practice}

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
            return " ".join(f"{symbol} {meaning} {result}" for symbol, meaning, _, _, result in STEP.findall(prompt))
        case "critique":
            return write_edits(_critique(prompt, rng))
        case "aggregate":
            return write_edits(_aggregate(prompt, rng))
        case "crossover":
            return write_edits(_cross(prompt))
        case _:
            solver = Solver(as_stated(read_principles(prompt)), {}, slip, stray=0.0)
            return solver.attempt(rng, read_chain(CHAIN.search(prompt)[0])).text


def read_principles(text):
    return [(symbol, meaning) for _, symbol, meaning, _ in PRINCIPLE.findall(text)]


def read_chain(question):
    words = question.split()
    return Chain(tuple(map(int, words[::2])), tuple(words[1::2]))


def _critique(prompt, rng):
    stated, _, rest = prompt.partition(" problem : ")
    chain = read_chain(CHAIN.search(rest)[0])
    truth = int(re.search(r"truth : (\d)", rest)[1])
    attempts = []
    for _, summary in re.findall(r"(right|wrong) : ([^:]*?)(?= right :| wrong :|$)", rest):
        beliefs = BELIEF.findall(summary)
        attempts.append(Solution(chain, tuple(b[1] for b in beliefs), tuple(int(b[2]) for b in beliefs)))
    return judge_attempts(rng, read_principles(stated), truth, attempts).edits


def _aggregate(prompt, rng):
    _, principles, added, changes = re.fullmatch(r"(aggregate principles :)(.*?)(?: added :(.*?))?(?: changes :(.*))?", prompt).groups()
    standing, proposed = {}, {}
    for part, found in ((principles, standing), (added, standing), (changes, proposed)):
        for index, symbol, meaning, votes in PRINCIPLE.findall(part or ""):
            found.setdefault(symbol, []).append(Vote(int(index), meaning, int(votes or 0)))
    return [edit for symbol, votes in standing.items() for edit in settle(rng, symbol, votes, proposed.get(symbol, ())).edits]


def _cross(prompt):
    sets = re.findall(r"set (\w) :(.*?) best on :(.*?)(?= set |$)", prompt)
    first, *rivals = (
        Champion(label, tuple(read_principles(stated)), tuple(map(read_chain, CHAIN.findall(won)))) for label, stated, won in sets
    )
    return judge_parents(first, rivals).edits
