"""The interface of an optimizer that owns its loop, such as a prompt optimisation library: its inputs and its result.

The harness keeps what makes runs comparable: rollouts are metered and stored, the editor's tokens are counted, the budget is the same as
for every other method, the test split is out of reach, and the run has the same summary, table row, `verify` and resume.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from espl_bench.evolution.operators.editor import Editor
from espl_bench.evolution.operators.proposal import EditLimits
from espl_bench.registry import OPTIMIZERS, find
from espl_bench.types import Problem, TrajectoryGroup


class Harness(Protocol):
    """The interface that an optimizer works with."""

    @property
    def root(self) -> tuple[str, ...]:
        """Return the principles that the run starts from."""
        ...

    @property
    def seed(self) -> int:
        """Return the run's seed, from which an optimizer derives all its randomness."""
        ...

    @property
    def group_size(self) -> int:
        """Return the number of rollouts of a problem that the methods of the loop compare."""
        ...

    @property
    def limits(self) -> EditLimits:
        """Return the bounds of a prompt and of its edits."""
        ...

    @property
    def training(self) -> Sequence[Problem]:
        """Return the training problems."""
        ...

    @property
    def validation(self) -> Sequence[Problem]:
        """Return the validation problems; empty if there are none. Rollouts on them may steer, and count against the budget."""
        ...

    @property
    def rollouts_left(self) -> int:
        """Return the number of episodes left of a total of steps x num_prompts x batch_size x group_size."""
        ...

    @property
    def restored(self) -> Mapping[str, Any] | None:
        """Return the state given to the last `checkpoint` before the run was interrupted; None at the start."""
        ...

    async def roll_out(
        self, principles: Sequence[str], problems: Sequence[Problem], samples: int = 1, parents: Sequence[int] = ()
    ) -> tuple[TrajectoryGroup, ...]:
        """Roll out a prompt: one group of `samples` rollouts for each problem, in order. Counts as one iteration.

        Args:
            principles: the prompt. New ones join the population; the groups name their id.
            problems: of the training or the validation split.
            samples: rollouts of each problem.
            parents: ids of the prompts it was derived from, for its lineage.

        Raises:
            UsageError: the request includes a test problem, or more rollouts than are left.
        """
        ...

    async def editor(self) -> Editor:
        """Return the editor of operators, which words its requests as the dialect does. Metered as reflection.

        Its draws depend on the number of `roll_out` so far: ask for it again after each.
        """
        ...

    async def write(self, request: str) -> str:
        """Send a user message to the editor and return its answer without reasoning. Metered as reflection."""
        ...

    async def checkpoint(self, state: Mapping[str, Any]) -> None:
        """Commit everything so far, with a state (JSON) to resume from. A run that was asked to stop stops here."""
        ...


class Optimizer(Protocol):
    """Writes one prompt in its own loop. Deterministic given the harness's answers and `restored`."""

    async def optimise(self, harness: Harness) -> Sequence[str]:
        """Return the principles to evaluate the run with, within the budget."""
        ...


def find_optimizer(name: str) -> Optimizer:
    """Return an optimizer by name. Raises UsageError with the nearest known name."""
    return find(OPTIMIZERS, name)
