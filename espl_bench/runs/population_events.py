"""Rows of `population.jsonl`: a prompt was born, the prompts of an iteration were rated, or a child was rejected."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from pydantic import Discriminator, TypeAdapter

from espl_bench.evolution.operators.proposal import Child, Evidence
from espl_bench.runs.log_rows import STRICT
from espl_bench.runs.run_dir import Log, RunDir
from espl_bench.types import SystemPrompt
from espl_bench.utils.validation import parse_row


@dataclass(frozen=True, slots=True)
class BornEvent:
    """A prompt joined the population."""

    __pydantic_config__ = STRICT

    step: int
    id: int
    origin: str
    """Name of the operator that made it, or ``root``."""
    parents: tuple[int, ...]
    principles: tuple[str, ...]
    mu: float
    sigma: float
    evidence: tuple[Evidence, ...]
    """The edits that made it."""
    acceptance: str = ""
    """The numbers that an acceptance rule admitted it by; written only if there are any."""
    event: Literal["born"] = "born"

    @classmethod
    def of(cls, step: int, prompt: SystemPrompt, child: Child | None) -> "BornEvent":
        """Record the birth of a prompt; `child` is None for the first one."""
        return cls(
            step=step,
            id=prompt.id,
            origin=prompt.lineage.origin,
            parents=prompt.lineage.parent_ids,
            principles=prompt.principles,
            mu=prompt.rating.mu,
            sigma=prompt.rating.sigma,
            evidence=child.evidence if child else (),
            acceptance=child.acceptance if child else "",
        )

    def encode(self) -> dict[str, Any]:
        """Return the JSON object of the event's line."""
        row = asdict(self)
        return row if self.acceptance else {key: value for key, value in row.items() if key != "acceptance"}


@dataclass(frozen=True, slots=True)
class RatedEvent:
    """The prompts of an iteration after their rollouts."""

    __pydantic_config__ = STRICT

    step: int
    means: Mapping[int, float]
    """Prompt → its mean reward in this iteration."""
    ratings: Mapping[int, tuple[float, float]]
    """Prompt → mu and sigma after this iteration."""
    event: Literal["rated"] = "rated"

    def encode(self) -> dict[str, Any]:
        """Return the JSON object of the event's line."""
        means = {str(prompt): mean for prompt, mean in self.means.items()}
        ratings = {str(prompt): list(rating) for prompt, rating in self.ratings.items()}
        return {"event": self.event, "step": self.step, "means": means, "ratings": ratings}


@dataclass(frozen=True, slots=True)
class RejectedEvent:
    """An operator's child did not join the population."""

    __pydantic_config__ = STRICT

    step: int
    origin: str
    """Name of the operator."""
    parents: tuple[int, ...]
    reason: str
    """One word, e.g. ``no_contrast``."""
    detail: str
    event: Literal["rejected"] = "rejected"
    written: tuple[str, ...] = ()
    """The editor's texts that could not be read; not written if empty, and absent from events older than the field."""

    def encode(self) -> dict[str, Any]:
        """Return the JSON object of the event's line."""
        event = asdict(self)
        if not self.written:
            del event["written"]
        return event


PopulationEvent = BornEvent | RatedEvent | RejectedEvent


def parse_event(line: bytes) -> PopulationEvent:
    """Read one line. Raises InvalidRowError."""
    return parse_row(_EVENT, line)


def read_events(run: RunDir) -> list[PopulationEvent]:
    """Read the events in order. Raises RunDirError naming the damaged line."""
    return run.read_log(Log.POPULATION, parse_event)


_EVENT: TypeAdapter[PopulationEvent] = TypeAdapter(Annotated[PopulationEvent, Discriminator("event")])
