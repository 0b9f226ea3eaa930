"""Credit by principle: what rollouts earned under prompts that state a principle, and under prompts of the same step that do not.

The prompts of a step meet the same problems with the same weights and differ in their principles, so the comparison needs no rollouts
of its own. Prompts that differ in one principle often differ in others too, so only problems count that a principle bears on: those that
share a word with it which most problems of the step do not have. Counts add up over steps.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from espl_bench.types import SystemPrompt, TrajectoryGroup

_WORD: Final = re.compile(r"[^\W\d_]{2,}")


@dataclass(frozen=True, slots=True)
class Credit:
    """The evidence about one principle, from problems that it bears on."""

    rollouts_with: int = 0
    """Graded rollouts under prompts that state it, on problems that prompts without it met in the same step."""
    earned_with: float = 0.0
    """Total reward of these."""
    rollouts_without: int = 0
    """Graded rollouts on the same problems in the same steps, under prompts that do not state it."""
    earned_without: float = 0.0
    better: int = 0
    """Problems that earned something with it and nothing without it."""
    worse: int = 0
    """Problems that earned something without it and nothing with it."""

    def plus(self, with_it: Sequence[float], without_it: Sequence[float]) -> "Credit":
        """Add the rewards of one problem in one step; neither is empty."""
        earned, forgone = sum(with_it), sum(without_it)
        return Credit(
            self.rollouts_with + len(with_it),
            self.earned_with + earned,
            self.rollouts_without + len(without_it),
            self.earned_without + forgone,
            self.better + (earned > 0 >= forgone),
            self.worse + (forgone > 0 >= earned),
        )

    @property
    def support(self) -> int:
        """Return on how many more problems it was alone right than alone wrong."""
        return self.better - self.worse

    def told(self) -> str:
        """Say the counts in one line."""
        with_it = f"earned {self.earned_with:g} in {self.rollouts_with} rollouts with it"
        without_it = f"{self.earned_without:g} in {self.rollouts_without} without it"
        return f"{with_it}, {without_it}; alone right on {self.better} problems, alone wrong on {self.worse}"


Credits = Mapping[str, Credit]
"""Principle → its evidence. A principle that every prompt of every step stated has none."""


def add_credit(credits: Credits, prompts: Collection[SystemPrompt], groups_KP: Iterable[TrajectoryGroup]) -> Credits:
    """Add the rollouts of one step, of these prompts, to the evidence about their principles."""
    earned: dict[str, dict[int, list[float]]] = {}
    questions: dict[str, str] = {}
    for group in groups_KP:
        questions[group.problem.id] = group.problem.question
        earned.setdefault(group.problem.id, {}).setdefault(group.prompt_id, []).extend(group.graded_rewards)
    telling = _telling_words(questions)
    added = dict(credits)
    for principle in dict.fromkeys(text for prompt in prompts for text in prompt.principles):
        words = _words(principle)
        holders = {prompt.id for prompt in prompts if principle in prompt.principles}
        for problem in [problem for problem in earned if words & telling[problem]]:
            by_prompt = earned[problem].items()
            with_it = [reward for prompt, rewards in by_prompt if prompt in holders for reward in rewards]
            without_it = [reward for prompt, rewards in by_prompt if prompt not in holders for reward in rewards]
            if with_it and without_it:
                added[principle] = added.get(principle, Credit()).plus(with_it, without_it)
    return added


def forget(credits: Credits, gone: Iterable[SystemPrompt], living: Iterable[SystemPrompt]) -> Credits:
    """Forget the principles of prompts that left, except those that a living one states."""
    left = {text for prompt in gone for text in prompt.principles if text in credits}
    if left:
        left.difference_update(*(prompt.principles for prompt in living))
    return {principle: credit for principle, credit in credits.items() if principle not in left}


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.casefold()))


def _telling_words(questions: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """Return the words of each problem that at most half of the problems have, or one alone."""
    words = {problem: _words(question) for problem, question in questions.items()}
    shared = Counter(word for each in words.values() for word in each)
    most = max(1, len(questions) // 2)
    return {problem: frozenset(word for word in each if shared[word] <= most) for problem, each in words.items()}
