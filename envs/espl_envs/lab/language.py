"""The synthetic language: worlds nobody has seen, imperfect solvers in them, and what their attempts prove.

Every example draws its meanings afresh, so the model cannot know any world; it can only learn to read one. Everything
here is a pure function of the `random.Random` passed in.
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from espl_bench.operators.edits import Add, Edit, Merge, Modify, Remove
from espl_envs.rulebook.chains import Chain, Solution
from espl_envs.rulebook.meanings import MEANINGS, SYMBOLS, principle

NAMES = tuple(MEANINGS)


@dataclass(frozen=True, slots=True)
class Solver:
    """How a simulated policy behaves."""

    stated: Mapping[str, tuple[str, ...]]
    """What its system message says: symbol → stated meanings (several if principles contradict each other)."""
    habit: Mapping[str, str]
    """What it would use where nothing is stated (a policy that practised has habits)."""
    slip: float
    """Probability that a result is replaced by a random digit and carried on."""
    stray: float
    """Probability that a stated meaning or a habit is not followed."""

    def attempt(self, rng: random.Random, chain: Chain) -> Solution:
        """One attempt, slips and strays included."""
        value, used, results = chain.digits[0], [], []
        for symbol, digit in zip(chain.symbols, chain.digits[1:], strict=True):
            meaning = self._believe(rng, symbol)
            value = rng.randrange(10) if rng.random() < self.slip else MEANINGS[meaning](value, digit)
            used.append(meaning)
            results.append(value)
        return Solution(chain, tuple(used), tuple(results))

    def _believe(self, rng: random.Random, symbol: str) -> str:
        if rng.random() >= self.stray:
            if symbol in self.stated:
                return rng.choice(self.stated[symbol])
            if symbol in self.habit:
                return self.habit[symbol]
        return rng.choice(NAMES)


def draw_world(rng: random.Random) -> dict[str, str]:
    """Fresh meanings for all operators, no two alike."""
    return dict(zip(SYMBOLS, rng.sample(NAMES, len(SYMBOLS)), strict=True))


def draw_chain(rng: random.Random, steps: int) -> Chain:
    """A random chain of the given number of steps."""
    return Chain(tuple(rng.randrange(10) for _ in range(steps + 1)), tuple(rng.sample(SYMBOLS, steps)))


def draw_beliefs(rng: random.Random, world: Mapping[str, str], known: float, wrong: float) -> list[tuple[str, str]]:
    """A principle list as (symbol, meaning), in random order.

    Each operator is stated with probability `known`, wrongly with probability `wrong` of those; one in seven lists states
    some operator twice.
    """
    pairs = [(symbol, rng.choice(NAMES) if rng.random() < wrong else meaning) for symbol, meaning in world.items() if rng.random() < known]
    if pairs and rng.random() < 0.15:
        pairs.append((rng.choice(pairs)[0], rng.choice(NAMES)))
    rng.shuffle(pairs)
    return list(dict.fromkeys(pairs))


def as_stated(pairs: Sequence[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Symbol → the meanings a principle list states for it, in order."""
    stated: dict[str, tuple[str, ...]] = {}
    for symbol, meaning in pairs:
        stated[symbol] = (*stated.get(symbol, ()), meaning)
    return stated


def as_principles(pairs: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """The principles of a list of (symbol, meaning)."""
    return tuple(principle(symbol, meaning) for symbol, meaning in pairs)


@dataclass(frozen=True, slots=True)
class Finding:
    """What evidence says should be edited, and how firmly."""

    edits: tuple[Edit, ...]
    decided: bool
    """False where the evidence left a choice open and chance made it."""


def judge_attempts(rng: random.Random, pairs: Sequence[tuple[str, str]], truth: int, attempts: Sequence[Solution]) -> Finding:
    """The edits that labelled attempts at one problem support: the meaning that right and clean attempts share.

    An operator that no principle states is added. A stated meaning that no right and clean attempt used, and that put
    in its place would give a wrong answer, is modified. In a one-step problem the stated meaning may be refuted by the truth
    alone; then any meaning that gives the truth is a fair guess.
    """
    chain = attempts[0].chain
    proofs = [attempt for attempt in attempts if attempt.answer == truth and attempt.clean]
    edits: list[Edit] = []
    decided = True
    for place, symbol in enumerate(chain.symbols):
        stated = [(index, meaning) for index, (other, meaning) in enumerate(pairs) if other == symbol]
        votes = Counter(proof.used[place] for proof in proofs)
        if any(meaning in votes for _, meaning in stated):
            continue
        if votes:
            best = sorted(name for name in votes if votes[name] == max(votes.values()))
        elif stated and len(chain.symbols) == 1 and all(_gives(chain, (meaning,)) != truth for _, meaning in stated):
            best = [name for name in NAMES if _gives(chain, (name,)) == truth]
        else:
            continue
        choice = rng.choice(best)
        if not stated:
            edits.append(Add(principle(symbol, choice)))
        elif len(chain.symbols) == 1 or _refuted(chain, truth, proofs[0].used, place, stated[0][1]):
            edits.append(Modify(stated[0][0], principle(symbol, choice)))
        else:
            continue
        decided &= len(best) == 1 and bool(votes)
    return Finding(tuple(edits[:2]), decided)


def _gives(chain: Chain, used: Sequence[str]) -> int:
    return chain.solve(dict(zip(chain.symbols, used, strict=True))).answer


def _refuted(chain: Chain, truth: int, proven: Sequence[str], place: int, stated: str) -> bool:
    """Whether the stated meaning, put into a proven solution, would miss the truth."""
    return _gives(chain, [*proven[:place], stated, *proven[place + 1 :]]) != truth


@dataclass(frozen=True, slots=True)
class Vote:
    """One candidate meaning of an operator with its support: `index` of the principle that states it or would be changed."""

    index: int
    meaning: str
    votes: int


def settle(rng: random.Random, symbol: str, standing: Sequence[Vote], changes: Sequence[Vote]) -> Finding:
    """Aggregation for one operator: the meaning with most votes stays, in one principle.

    `standing` are the principles about it (old ones with no votes, added ones with theirs), `changes` the proposals to
    reword one of them.
    """
    tally: Counter[str] = Counter()
    for vote in (*standing, *changes):
        tally[vote.meaning] += vote.votes
    best = sorted(name for name in tally if tally[name] == max(tally.values()))
    old = [vote.meaning for vote in standing if vote.votes == 0 and vote.meaning in best]
    choice = old[0] if old else rng.choice(best)
    text = principle(symbol, choice)
    decided = bool(old) or len(best) == 1
    if len(standing) > 1:
        return Finding((Merge(tuple(vote.index for vote in standing), text),), decided)
    if choice != standing[0].meaning:
        return Finding((Modify(standing[0].index, text),), decided)
    return Finding((), decided)


@dataclass(frozen=True, slots=True)
class Champion:
    """A parent in a crossover: its principles as (symbol, meaning) and the chains on which it alone did best."""

    label: str
    pairs: tuple[tuple[str, str], ...]
    won: tuple[Chain, ...]


def judge_parents(first: Champion, rivals: Sequence[Champion]) -> Finding:
    """Crossover: what set A should take from its rivals.

    Where a rival differs from A about an operator and won more problems with it than A did, A takes the rival's view: its
    meaning if A had none (add) or another (modify), nothing if the rival does without (remove).
    """
    edits: list[Edit] = []
    own = as_stated(first.pairs)
    for symbol in SYMBOLS:
        mine = sum(symbol in chain.symbols for chain in first.won)
        views = [(sum(symbol in chain.symbols for chain in rival.won), rival) for rival in rivals]
        differing = [(wins, rival) for wins, rival in views if as_stated(rival.pairs).get(symbol) != own.get(symbol)]
        wins, rival = max(differing, key=lambda view: view[0], default=(0, first))
        if wins <= mine:
            continue
        theirs = as_stated(rival.pairs).get(symbol)
        index = next((index for index, (other, _) in enumerate(first.pairs) if other == symbol), None)
        evidence = f"set {rival.label}"
        if theirs is None and index is not None:
            edits.append(Remove(index, evidence=evidence))
        elif theirs is not None and index is None:
            edits.append(Add(principle(symbol, theirs[0]), evidence=evidence))
        elif theirs is not None and index is not None and first.pairs[index][1] != theirs[0]:
            edits.append(Modify(index, principle(symbol, theirs[0]), evidence=evidence))
    return Finding(tuple(edits), True)


def write_edits(edits: Sequence[Edit]) -> str:
    """The JSON of a list of edits, spaced so that a word-level vocabulary of fixed pieces can spell it."""
    return f"[ {' , '.join(_write_edit(edit) for edit in edits)} ]" if edits else "[ ]"


def _write_edit(edit: Edit) -> str:
    tail = f' ","evidence":" {edit.evidence} "}}' if edit.evidence else ' "}'
    match edit:
        case Add(principle=text):
            return f'{{"op":"add","principle":" {text}{tail}'
        case Modify(id=index, principle=text):
            return f'{{"op":"modify","id":" G{index} ","principle":" {text}{tail}'
        case Remove(id=index):
            return f'{{"op":"remove","id":" G{index}{tail}'
        case Merge(ids=indices, principle=text):
            listed = ' "," '.join(f"G{index}" for index in indices)
            return f'{{"op":"merge","ids":[" {listed} "],"principle":" {text}{tail}'
