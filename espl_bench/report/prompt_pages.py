"""Prompts of a run for the page, in pieces: a run of many iterations has a hundred thousand, and nobody looks at all of them.

What the page needs to find its way is small and of all prompts: which piece holds which prompt, and the range of ratings. The texts, the
evidence and the histories come with a piece, which is loaded when it is looked at.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Any, Final

from espl_bench.analysis.lineage_layout import lanes
from espl_bench.analysis.rating_history import RatedAt, histories
from espl_bench.analysis.study import RunRecord
from espl_bench.runs.view import PromptView

PIECE: Final = 400
"""Prompts that are loaded together, and drawn in one tree."""


class PromptPages:
    """Prompts of one run. What concerns all of them is computed once, when the first piece is asked for."""

    def __init__(self, record: RunRecord) -> None:
        """Take the run as it was read."""
        self.record = record

    @property
    def _prompts(self) -> Sequence[PromptView]:
        return self.record.view.prompts

    def index(self) -> dict[str, Any]:
        """Make what the page knows of all prompts: their number, the first id of each piece, and the range of their ratings."""
        ratings = [prompt.rating.mu for prompt in self._prompts]
        return {
            "total": len(self._prompts),
            "piece": PIECE,
            "firsts": [prompt.id for prompt in self._prompts[::PIECE]],
            "last": self._prompts[-1].id if self._prompts else None,
            "ratings": [min(ratings, default=0.0), max(ratings, default=0.0)],
        }

    def piece(self, number: int) -> list[dict[str, Any]] | None:
        """Make the prompts of a piece, counted from 0, in order of birth; None if there is no such piece."""
        found = self._prompts[number * PIECE : (number + 1) * PIECE] if number >= 0 else ()
        return [self._prompt(prompt) for prompt in found] or None

    def pieces(self) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        """Yield the number and the prompts of every piece."""
        for number in range(-(-len(self._prompts) // PIECE)):
            yield number, self.piece(number) or []

    def _prompt(self, prompt: PromptView) -> dict[str, Any]:
        history = [[entry.step, entry.rating.mu, entry.rating.sigma, entry.mean] for entry in self._histories[prompt.id]]
        return {**asdict(prompt), "credit": self.record.view.credit_of(prompt), "lane": self._lanes[prompt.id], "history": history}

    @cached_property
    def _lanes(self) -> Mapping[int, int]:
        return lanes(self._prompts)

    @cached_property
    def _histories(self) -> Mapping[int, Sequence[RatedAt]]:
        return histories(self.record.events)
