"""Plan a run without its data: an environment with as many items as the data's description says, and no content.

Only for counting. The items' texts are unknown, so each is assumed to be `ASSUMED_CHARACTERS` long.
"""

from collections.abc import Mapping

from espl_bench.environment.text_env import EnvironmentSpec, SingleTurnEnv, Verdict
from espl_bench.errors import DataError, EnvError
from espl_bench.types import Problem, Split

ASSUMED_CHARACTERS = 600
"""Characters of a problem. Competition problems mostly have 200 to 800."""


class DescribedEnv(SingleTurnEnv):
    """Placeholder items in the described numbers."""

    def __init__(self, sizes: Mapping[Split, int], turns: int) -> None:
        super().__init__()
        self._sizes = sizes
        self._turns = turns

    @property
    def turns(self) -> int:
        """Number of turns, as described."""
        return self._turns

    @property
    def assumes(self) -> str:
        """Return the assumptions in words."""
        counts = ", ".join(f"{size:,} {split}" for split, size in self._sizes.items())
        held_out = "" if Split.VALIDATION in self._sizes else " before anything is held out"
        return f"{counts} items{held_out}, problems of {ASSUMED_CHARACTERS} characters"

    @property
    def splits(self) -> tuple[Split, ...]:
        """Splits that are described."""
        return tuple(self._sizes)

    def size(self, split: Split) -> int:
        """Return the described number of items; 0 for a split that is drawn from another."""
        return self._sizes.get(split, 0)

    def problem(self, split: Split, index: int) -> Problem:
        """Return a problem of the assumed length."""
        return Problem(f"{split}/{index}", split, index, "x" * ASSUMED_CHARACTERS, answer="", gold="")

    def grade(self, problem: Problem, response: str) -> Verdict:
        """Raise EnvError: there is nothing to grade."""
        raise EnvError("the data are not here, so nothing can be graded")


def described_environment(spec: EnvironmentSpec, lacking: DataError) -> DescribedEnv:
    """Make the placeholder environment with default options. Raises `lacking` if the number of items is not described."""
    if spec.items:
        return DescribedEnv(spec.items, spec.turns)
    rows = {split: spec.data.rows(split) for split in Split if spec.data.of(split)}
    sizes = {split: count for split, count in rows.items() if count is not None}
    if not sizes or len(sizes) < len(rows):
        raise lacking
    return DescribedEnv(sizes, spec.turns)
