"""Length and diversity of a population's prompts, to measure bloat and loss of diversity."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from espl_bench.runs.log_rows import MetricsRow
from espl_bench.runs.view import PromptView

COMPARED: Final = 50
"""Living prompts that are compared in pairs for the diversity; of more, the newest."""


@dataclass(frozen=True, slots=True)
class WordsAt:
    """Living prompts after one iteration."""

    step: int
    shown_words: int
    """Words of the prompt that the method is evaluated with."""
    mean_words: float
    """Mean over the living prompts."""
    mean_principles: float
    diversity: float | None
    """Mean Jaccard distance of the word sets over pairs of the newest `COMPARED` living prompts; None for a single prompt."""


def words_over_time(prompts: Sequence[PromptView], metrics: Sequence[MetricsRow], population_size: int) -> Iterator[WordsAt]:
    """Measure every iteration. Prompts must be in order of birth, iterations in order; the newest `population_size` prompts are alive."""
    ordered = sorted(prompts, key=lambda prompt: prompt.born_step)
    lengths = [sum(len(principle.split()) for principle in prompt.principles) for prompt in ordered]
    words_until = list(accumulate(lengths, initial=0))
    principles_until = list(accumulate((len(prompt.principles) for prompt in ordered), initial=0))
    length_of = {prompt.id: length for prompt, length in zip(ordered, lengths, strict=True)}
    diversity = _Diversity(ordered)
    end = 0
    for row in metrics:
        while end < len(ordered) and ordered[end].born_step <= row.step:
            end += 1
        start = max(0, end - population_size)
        yield WordsAt(
            step=row.step,
            shown_words=length_of[row.shown],
            mean_words=(words_until[end] - words_until[start]) / (end - start),
            mean_principles=(principles_until[end] - principles_until[start]) / (end - start),
            diversity=diversity.at(max(start, end - COMPARED), end),
        )


class _Diversity:
    """Mean distance between prompts that stand side by side in a sequence; each distance is computed once."""

    def __init__(self, prompts: Sequence[PromptView]) -> None:
        self._prompts = prompts
        self._sets: dict[int, frozenset[str]] = {}
        self._distances: dict[int, list[float]] = {}
        """Place in the sequence → the distances to the `COMPARED` - 1 places before it, the nearest first."""
        self._last: tuple[range, float | None] = range(0), None

    def at(self, start: int, end: int) -> float | None:
        """Return the mean over the pairs of a stretch, which begins no earlier than the one before; None for a single prompt."""
        stretch = range(start, end)
        if stretch != self._last[0]:
            self._last = stretch, self._mean(stretch)
        return self._last[1]

    def _mean(self, stretch: range) -> float | None:
        self._sets = {place: self._sets.get(place) or self._words(place) for place in stretch}
        self._distances = {place: self._distances.get(place) or self._before(place, stretch) for place in stretch}
        pairs = [self._distances[later][later - place - 1] for place in stretch for later in range(place + 1, stretch.stop)]
        return sum(pairs) / len(pairs) if pairs else None

    def _before(self, place: int, stretch: range) -> list[float]:
        own = self._sets[place]
        return [_distance(self._sets[other], own) for other in range(place - 1, stretch.start - 1, -1)]

    def _words(self, place: int) -> frozenset[str]:
        return frozenset(word for principle in self._prompts[place].principles for word in principle.split())


def _distance(a: frozenset[str], b: frozenset[str]) -> float:
    shared = len(a & b)
    together = len(a) + len(b) - shared
    return 1.0 - shared / together if together else 0.0
