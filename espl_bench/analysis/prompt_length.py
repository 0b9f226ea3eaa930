"""Length and diversity of a population's prompts, to measure bloat and loss of diversity."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from espl_bench.runs.log_rows import MetricsRow
from espl_bench.runs.view import PromptView


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
    """Mean Jaccard distance of the word sets over pairs; None for a single prompt."""


def words_over_time(prompts: Sequence[PromptView], metrics: Sequence[MetricsRow], population_size: int) -> Iterator[WordsAt]:
    """Measure every iteration. Prompts must be in order of birth; the newest `population_size` are alive."""
    words = {prompt.id: [word for principle in prompt.principles for word in principle.split()] for prompt in prompts}
    distances: dict[tuple[int, int], float] = {}
    for row in metrics:
        living = [prompt for prompt in prompts if prompt.born_step <= row.step][-population_size:]
        pairs = list(combinations((prompt.id for prompt in living), 2))
        for a, b in pairs:
            if (a, b) not in distances:
                distances[a, b] = _distance(set(words[a]), set(words[b]))
        yield WordsAt(
            step=row.step,
            shown_words=len(words[row.shown]),
            mean_words=sum(len(words[prompt.id]) for prompt in living) / len(living),
            mean_principles=sum(len(prompt.principles) for prompt in living) / len(living),
            diversity=sum(distances[pair] for pair in pairs) / len(pairs) if pairs else None,
        )


def _distance(a: set[str], b: set[str]) -> float:
    together = a | b
    return 1.0 - len(a & b) / len(together) if together else 0.0
