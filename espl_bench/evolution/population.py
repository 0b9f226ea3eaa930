"""The population of system prompts: an immutable value that rating and birth turn into the next one.

It is a tree (every child names its parents), bounded first in, first out: beyond ``max_size`` the oldest prompt
leaves, however well it is rated (paper, Algorithm 1).
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import pairwise
from typing import Any, Self

from pydantic import TypeAdapter, ValidationError

from espl_bench.evolution.credit import Credit, Credits, add_credit, forget
from espl_bench.evolution.history import History
from espl_bench.evolution.rating import TIE, conservative, rate_by_means
from espl_bench.types import ROOT_ORIGIN, Lineage, Rating, SystemPrompt, TrajectoryGroup
from espl_bench.utils.validation import first_fault


@dataclass(frozen=True, slots=True)
class Population:
    """The living system prompts of one run."""

    members: tuple[SystemPrompt, ...]
    """Oldest first; ids ascend. Never empty."""
    next_id: int
    """The id of the next child. Ids are never reused, even after an eviction."""
    max_size: int
    """At least 1. With 1, every child replaces its parent."""
    history: History = field(default_factory=History)
    """Rewards of the members, problem by problem; empty in checkpoints of versions that kept none."""
    credit: Credits = field(default_factory=dict[str, Credit])
    """Evidence about the members' principles; empty in checkpoints of versions that kept none."""

    def __post_init__(self) -> None:
        """Check the invariants that every method relies on. Raises ValueError."""
        if not 1 <= len(self.members) <= self.max_size:
            raise ValueError(f"a population of max_size {self.max_size} cannot hold {len(self.members)} prompts")
        if any(one.id >= other.id for one, other in pairwise(self.members)) or self.newest.id >= self.next_id:
            ids = [member.id for member in self.members]
            raise ValueError(f"prompt ids must ascend and stay below next_id {self.next_id}: {ids}")

    @classmethod
    def start(cls, principles: tuple[str, ...], max_size: int) -> Self:
        """Create the population of step 0: the root prompt alone, id 0, with the prior rating."""
        root = SystemPrompt(id=0, principles=principles, rating=Rating(), lineage=Lineage(ROOT_ORIGIN))
        return cls(members=(root,), next_id=1, max_size=max_size)

    @property
    def newest(self) -> SystemPrompt:
        """Return the prompt born last."""
        return self.members[-1]

    def window(self, size: int) -> tuple[SystemPrompt, ...]:
        """Return the newest ``size`` members, oldest first; all of them if there are fewer (paper: the sliding window)."""
        if size < 1:
            raise ValueError(f"a window holds at least one prompt, not {size}")
        return self.members[-size:]

    def get(self, prompt_id: int) -> SystemPrompt:
        """Return the member with this id. Raises KeyError if it never lived or was evicted."""
        index = self._index_of(prompt_id)
        if index is None:
            raise KeyError(f"prompt {prompt_id} is not in the population")
        return self.members[index]

    def _index_of(self, prompt_id: int) -> int | None:
        """Return a member's index; None if it is not a member. Ids ascend, so this is a binary search."""
        index = bisect_left(self.members, prompt_id, key=lambda member: member.id)
        return index if index < len(self.members) and self.members[index].id == prompt_id else None

    def rate(self, means: Mapping[int, float], tie: float = TIE) -> Self:
        """Rank the prompts of one step by mean reward and update their ratings (:func:`rating.rate_by_means`).

        Every ranked prompt gets one more match. A single prompt is not ranked: nothing changes. Raises ValueError for ids that are not in
        the population.
        """
        indices = {prompt_id: index for prompt_id in means if (index := self._index_of(prompt_id)) is not None}
        ratings = rate_by_means({prompt_id: self.members[index].rating for prompt_id, index in indices.items()}, means, tie)
        if len(means) < 2:
            return self
        members = list(self.members)
        for prompt_id, index in indices.items():
            members[index] = replace(members[index], rating=ratings[prompt_id], matches=members[index].matches + 1)
        return replace(self, members=tuple(members))

    def record(self, groups_KP: Sequence[TrajectoryGroup]) -> Self:
        """Remember the members' rewards of one step, and what they say about single principles."""
        rolled_out = {group.prompt_id for group in groups_KP}
        prompts = [member for member in self.members if member.id in rolled_out]
        history = self.history.record(groups_KP).keep({member.id for member in self.members})
        return replace(self, history=history, credit=add_credit(self.credit, prompts, groups_KP))

    def admit(self, principles: tuple[str, ...], rating: Rating, lineage: Lineage) -> Self:
        """Add a child as the newest member, evicting the oldest beyond ``max_size``. The child is then ``newest``.

        Parents may have been evicted meanwhile, but must have lived: raises ValueError for a parent id not yet given.
        """
        if unborn := [parent for parent in lineage.parent_ids if not 0 <= parent < self.next_id]:
            raise ValueError(f"parents that were never born: {unborn}")
        child = SystemPrompt(id=self.next_id, principles=principles, rating=rating, lineage=lineage)
        gone, members = (*self.members, child)[: -self.max_size], (*self.members, child)[-self.max_size :]
        history = self.history.keep({member.id for member in members})
        credit = forget(self.credit, gone, members)
        return replace(self, members=members, next_id=self.next_id + 1, history=history, credit=credit)

    def best_rated(self, width: float) -> SystemPrompt:
        """Return the member with the highest mu - width * sigma; of equals, the oldest."""
        return max(self.members, key=lambda member: conservative(member.rating, width))

    def to_json(self) -> dict[str, Any]:
        """Return plain dicts, lists, strings and numbers; :meth:`from_json` restores an equal population, bit for bit."""
        return _adapter().dump_python(self, mode="json")

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Population":
        """Read the result of :meth:`to_json`. Raises ValueError, in one line, naming the first invalid field."""
        try:
            return _adapter().validate_python(record)
        except ValidationError as error:
            raise ValueError(f"not a population: {first_fault(error)}") from error


@cache
def _adapter() -> TypeAdapter[Population]:
    """Return pydantic's reader and writer of the plain dataclass; built on first use because building it is slow."""
    return TypeAdapter(Population)
