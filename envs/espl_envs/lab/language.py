"""The synthetic language: worlds nobody has seen, imperfect solvers in them, and what their attempts prove.

Every example draws its meanings afresh, so the model cannot know any world; it can only learn to read one. Everything
here is a pure function of the `random.Random` passed in.
"""

import random
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from espl_bench.operators.edits import Add, Edit, Merge, Modify, Remove, Rewrite
from espl_envs.rulebook.chains import Chain, Solution, work_out
from espl_envs.rulebook.meanings import MEANINGS, OPERATORS, principle

NAMES = tuple(MEANINGS)

Belief = tuple[str, str]
"""An operator and what a principle says it means."""


@dataclass(frozen=True, slots=True)
class Solver:
    """How a simulated policy behaves."""

    stated: Mapping[str, tuple[str, ...]]
    """What its system message says: operator → stated meanings (several if principles contradict each other)."""
    habit: Mapping[str, str]
    """What it would use where nothing is stated (a policy that practised has habits)."""
    slip: float
    """Probability that a digit of a result is replaced by a random one and carried on."""
    stray: float
    """Probability that a stated meaning or a habit is not followed."""

    def attempt(self, rng: random.Random, chain: Chain) -> Solution:
        """One attempt, slips and strays included."""
        value, used, results = chain.numbers[0], [], []
        for operator, number in zip(chain.operators, chain.numbers[1:], strict=True):
            meaning = self._believe(rng, operator)
            tens, ones = work_out(meaning, value, number)
            value = self._write(rng, tens), self._write(rng, ones)
            used.append(meaning)
            results.append(value)
        return Solution(chain, tuple(used), tuple(results))

    def _believe(self, rng: random.Random, operator: str) -> str:
        if rng.random() >= self.stray:
            if operator in self.stated:
                return rng.choice(self.stated[operator])
            if operator in self.habit:
                return self.habit[operator]
        return rng.choice(NAMES)

    def _write(self, rng: random.Random, digit: int) -> int:
        return rng.randrange(10) if rng.random() < self.slip else digit


def draw_world(rng: random.Random, size: int = len(OPERATORS)) -> dict[str, str]:
    """Fresh meanings for some of the operators, in random order."""
    return {operator: rng.choice(NAMES) for operator in rng.sample(OPERATORS, size)}


def draw_chain(rng: random.Random, operators: Collection[str], steps: int) -> Chain:
    """A random chain of so many steps, or of as many as there are operators."""
    steps = min(steps, len(operators))
    numbers = tuple((rng.randrange(10), rng.randrange(10)) for _ in range(steps + 1))
    return Chain(numbers, tuple(rng.sample(list(operators), steps)))


def draw_beliefs(rng: random.Random, world: Mapping[str, str], known: float, wrong: float) -> list[Belief]:
    """A principle list, in random order.

    Each operator is stated with probability `known`, wrongly with probability `wrong` of those; one in seven lists states
    some operator twice.
    """
    beliefs = [
        (operator, rng.choice(NAMES) if rng.random() < wrong else meaning) for operator, meaning in world.items() if rng.random() < known
    ]
    if beliefs and rng.random() < 0.15:
        beliefs.append((rng.choice(beliefs)[0], rng.choice(NAMES)))
    rng.shuffle(beliefs)
    return list(dict.fromkeys(beliefs))


def as_stated(beliefs: Sequence[Belief]) -> dict[str, tuple[str, ...]]:
    """Operator → the meanings a principle list states for it, in order."""
    stated: dict[str, tuple[str, ...]] = {}
    for operator, meaning in beliefs:
        stated[operator] = (*stated.get(operator, ()), meaning)
    return stated


def as_principles(beliefs: Sequence[Belief]) -> tuple[str, ...]:
    """The principles of a list of beliefs."""
    return tuple(principle(operator, meaning) for operator, meaning in beliefs)


@dataclass(frozen=True, slots=True)
class Line:
    """One thing an editor looked at: what it found, and the edit that follows from it."""

    note: str
    """The evidence, looked up and written down before it is judged: a small model thinks best on paper."""
    edit: Edit | None = None
    decided: bool = True
    """False where the evidence left a choice open and chance made it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What an editor writes."""

    lines: tuple[Line, ...]

    @property
    def edits(self) -> tuple[Edit, ...]:
        """The edits, in the order written."""
        return tuple(line.edit for line in self.lines if line.edit is not None)

    @property
    def decided(self) -> bool:
        """Whether it is the only right one."""
        return all(line.decided for line in self.lines)

    def text(self, shown: Sequence[str]) -> str:
        """Every note with the JSON of its edit behind it; an empty list if there was nothing to edit.

        Args:
            shown: the principles as the editor is shown them; an edit names one by quoting it.
        """
        written = [f"{line.note} {write_edit(line.edit, shown)} ;" if line.edit else f"{line.note} ;" for line in self.lines]
        return " ".join(written if self.edits else [*written, "[ ]"])


@dataclass(frozen=True, slots=True)
class Reading:
    """What a critique is shown of an attempt: its label and its summary."""

    operators: tuple[str, ...]
    used: tuple[str, ...]
    right: bool


def judge_attempts(rng: random.Random, beliefs: Sequence[Belief], attempts: Sequence[Reading], max_edits: int = 2) -> Finding:
    """Critique: the edits that labelled attempts at one problem support.

    A right attempt speaks for every meaning it used. An operator that no principle states is added with the meaning that most
    right attempts used. A stated meaning stays if one of them used it, and is modified if they used only others. Notes:
    ``dax larger larger stated minus``.
    """
    right = [attempt for attempt in attempts if attempt.right]
    lines: list[Line] = []
    for place, operator in enumerate(attempts[0].operators):
        line = _judge_operator(rng, beliefs, operator, [attempt.used[place] for attempt in right])
        full = sum(line.edit is not None for line in lines) == max_edits
        lines.append(replace(line, edit=None) if full else line)
    return Finding(tuple(lines))


def _judge_operator(rng: random.Random, beliefs: Sequence[Belief], operator: str, proven: Sequence[str]) -> Line:
    """What right attempts say of one operator; `proven` are the meanings they used."""
    stated = as_stated(beliefs).get(operator, ())
    note = " ".join([operator, *proven, "stated", *(stated or ("none",))])
    votes = Counter(proven)
    if not proven or any(meaning in votes for meaning in stated):
        return Line(note)
    best = sorted(name for name in votes if votes[name] == max(votes.values()))
    text = principle(operator, rng.choice(best))
    return Line(note, Modify(beliefs.index((operator, stated[0])), text) if stated else Add(text), len(best) == 1)


def settle(beliefs: Sequence[Belief], added: Sequence[Belief], changes: Sequence[Belief]) -> Finding:
    """Aggregation: of several proposals about one operator the first counts, which is the one with most votes.

    A principle of which changes are proposed is modified to the first; an addition about an operator that was added before
    is merged into that. Notes name the first proposal about the operator, then what a change replaces: ``dax sum first larger``,
    ``dax larger first larger over minus``.
    """
    old, new = as_stated(beliefs), as_stated(added)
    lines: list[Line] = []
    for index, (operator, meaning) in enumerate(added, start=len(beliefs)):
        first = new[operator][0]
        ids = (len(beliefs) + added.index((operator, first)), index)
        lines.append(Line(f"{operator} {meaning} first {first}", Merge(ids, principle(operator, first)) if meaning != first else None))
    wanted = as_stated(changes)
    for operator, meaning in changes:
        first, stated = wanted[operator][0], old[operator][0]
        note = f"{operator} {meaning} first {first}"
        if meaning == first:
            edit = Modify(beliefs.index((operator, stated)), principle(operator, meaning))
            lines.append(Line(f"{note} over {stated}", edit))
        else:
            lines.append(Line(note))
    return Finding(tuple(lines))


@dataclass(frozen=True, slots=True)
class Champion:
    """A parent in a crossover: its principle list and the chains on which it alone did best."""

    label: str
    beliefs: tuple[Belief, ...]
    won: tuple[Chain, ...]


def judge_parents(first: Champion, rivals: Sequence[Champion]) -> Finding:
    """Crossover: what set A should take from its rivals.

    About an operator of a problem that a rival won, and that occurs in none that A won, A takes the rival's view: its meaning if A
    has none (add) or another (modify), nothing if the rival does without (remove). The first win decides. Notes repeat each
    problem before its operators: ``B won 3 8 dax 5 2 = ?``, then ``dax won``, or ``A dax minus B dax larger``.
    """
    settled = {operator for chain in first.won for operator in chain.operators}
    lines: list[Line] = []
    for rival in rivals:
        for chain in rival.won:
            lines.append(Line(f"{rival.label} won {chain.question}"))
            for operator in chain.operators:
                lines.append(Line(f"{operator} won") if operator in settled else _take_over(first, rival, operator))
                settled.add(operator)
    return Finding(tuple(lines))


def _take_over(first: Champion, rival: Champion, operator: str) -> Line:
    """Give set A a rival's view of one operator. Of several meanings the first counts."""
    mine, theirs = (as_stated(champion.beliefs).get(operator, (None,))[0] for champion in (first, rival))
    note = f"A {operator} {mine or 'none'} {rival.label} {operator} {theirs or 'none'}"
    evidence = f"set {rival.label}"
    if mine == theirs:
        return Line(note)
    if mine is None:
        return Line(note, Add(principle(operator, theirs or ""), evidence))
    index = first.beliefs.index((operator, mine))
    return Line(note, Modify(index, principle(operator, theirs), evidence) if theirs else Remove(index, evidence))


def write_edit(edit: Edit, shown: Sequence[str]) -> str:
    """The JSON of an edit, spaced so that a word-level vocabulary of fixed pieces can spell it.

    A principle is named by quoting it: to copy a text is easier for a small model than to look its label up.
    """
    tail = f' ","evidence":" {edit.evidence} "}}' if edit.evidence else ' "}'
    match edit:
        case Add(principle=text):
            return f'{{"op":"add","principle":" {text}{tail}'
        case Modify(id=index, principle=text):
            return f'{{"op":"modify","id":" {shown[index]} ","principle":" {text}{tail}'
        case Remove(id=index):
            return f'{{"op":"remove","id":" {shown[index]}{tail}'
        case Merge(ids=indices, principle=text):
            listed = ' "," '.join(shown[index] for index in indices)
            return f'{{"op":"merge","ids":[" {listed} "],"principle":" {text}{tail}'
        case Rewrite():
            raise ValueError("the laboratory's prompts are lists, which are not rewritten as a whole")
