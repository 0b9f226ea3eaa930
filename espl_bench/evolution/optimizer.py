"""The seam for an optimizer that owns its loop, such as a library of prompt optimisation: what it is given, and what it returns.

The harness keeps what makes runs comparable: rollouts are metered and stored, the editor's tokens are counted, the budget is that of
every other method, the test split is out of reach, and the run ends in the same summary, table row, `verify` and resume.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from espl_bench.registry import OPTIMIZERS, find
from espl_bench.types import Problem, TrajectoryGroup


class Harness(Protocol):
    """What an optimizer works with."""

    @property
    def root(self) -> tuple[str, ...]:
        """The principles that the run starts from."""
        ...

    @property
    def seed(self) -> int:
        """The run's seed: all randomness of an optimizer is derived from it."""
        ...

    @property
    def training(self) -> Sequence[Problem]:
        """The training problems."""
        ...

    @property
    def validation(self) -> Sequence[Problem]:
        """The validation problems; empty for an environment without them. Rollouts on them steer, and are paid as any others."""
        ...

    @property
    def rollouts_left(self) -> int:
        """Episodes that the budget still allows: steps x num_prompts x batch_size x group_size in all."""
        ...

    @property
    def restored(self) -> Mapping[str, Any] | None:
        """What was given to the last `checkpoint` before the run was interrupted; None at the start."""
        ...

    async def roll_out(
        self, principles: Sequence[str], problems: Sequence[Problem], samples: int = 1, parents: Sequence[int] = ()
    ) -> tuple[TrajectoryGroup, ...]:
        """Roll a prompt out: one group of `samples` rollouts for each problem, in order. Counts as one iteration.

        Args:
            principles: the prompt. New ones join the population; the groups name their id.
            problems: of the training or the validation split.
            samples: rollouts of each problem.
            parents: ids of the prompts that it was written from, for its lineage.

        Raises:
            UsageError: a test problem is asked for, or more rollouts than are left.
        """
        ...

    async def write(self, request: str) -> str:
        """Return what the editor answers to a user's message, without its reasoning. Metered as reflection."""
        ...

    async def checkpoint(self, state: Mapping[str, Any]) -> None:
        """Make everything so far permanent, with a state (JSON) to go on from. A run that was asked to stop, stops here."""
        ...


class Optimizer(Protocol):
    """Writes one prompt, by a loop of its own. Deterministic given the harness's answers and `restored`."""

    async def optimise(self, harness: Harness) -> Sequence[str]:
        """Return the principles that the run is evaluated with, within the budget."""
        ...


def find_optimizer(name: str) -> Optimizer:
    """Return an optimizer by name. Raises UsageError with the nearest known name."""
    return find(OPTIMIZERS, name)
