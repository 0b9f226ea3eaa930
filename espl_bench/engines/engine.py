"""The engine interface of the harness, in Tinker's words: sampling client, training client, datum.

An engine owns one base model and one adapter. *Current* weights are base plus adapter; *reference* weights are the
base alone. The loop never sees a tensor: tokens go in, tokens and log-probabilities come out.

A request carries its conversation twice, as ids and as messages, and an engine reads the form it needs. One that works on
text (an endpoint) has a chat without ids: it returns text and the endpoint's own token counts (`Usage`), no ids and no
log-probabilities, so its samples cannot be trained on. Such an engine is *frozen*; `engines.source` names the frozen ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol, Self, runtime_checkable

from espl_bench.learning.loss_spec import LossSpec
from espl_bench.tools.tool_spec import ToolSpec
from espl_bench.types import Completion, Datum, Message, SampleRequest


@dataclass(frozen=True, slots=True)
class AdamParams:
    """Settings of one optimiser step (paper: betas 0.9 and 0.95)."""

    lr: float
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    grad_clip: float = 1.0
    """Upper bound of the gradient's global norm; 0 switches clipping off."""


class Chat(Protocol):
    """A model's own chat format and tokenizer."""

    def encode(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Return the token ids of the rendered messages, ending where the assistant's turn begins; none from a text engine."""
        ...

    def continuation(self, conversation: Sequence[Message], replies: Sequence[Message], ended: int | None = None) -> tuple[int, ...] | None:
        """Return the ids to append after an assistant's completed turn: the replies, then the opening of the assistant's next turn.

        None if the chat template would change earlier text, or end the turn with another id than the one that `ended` it: encode the
        whole conversation again in that case, as a new segment.
        """
        ...

    def with_tools(self, tools: Sequence[ToolSpec]) -> "Chat":
        """Return the same chat with tools in the model's own format. Raises EsplError if it has none."""
        ...

    def harmless(self, text: str) -> str:
        """Escape everything in a foreign text that the model would read as a marker of its chat format."""
        ...

    def decode(self, tokens_T: Sequence[int]) -> str:
        """Return the text of sampled tokens, without special tokens."""
        ...


@runtime_checkable
class ReadingChat(Protocol):
    """A chat whose tokenizer reads plain text. Implementing it besides `Chat` is optional."""

    def read(self, text: str) -> tuple[int, ...]:
        """Return the token ids of a text outside any conversation."""
        ...

    @property
    def unknown(self) -> int | None:
        """The id that stands for what the tokenizer does not know; None: it knows everything."""
        ...


@runtime_checkable
class TemplateChat(Protocol):
    """A chat that is rendered on this machine, by a template. Implementing it besides `Chat` is optional."""

    @property
    def template(self) -> str:
        """The template's text, for a run's identity."""
        ...

    def dated(self, now: datetime) -> Self:
        """Return the same chat with a template that reads this time wherever it asks for the present."""
        ...

    def prove(self, *, system: bool, replies: bool) -> None:
        """Raise ModelError unless the template shows what a run puts into it, and ends its turns with what ends a completion.

        Args:
            system: whether the run has a system message.
            replies: whether its episodes go on after an assistant's turn.
        """
        ...

    def opened(self, messages: Sequence[Message]) -> str:
        """Return the opening tag of thoughts, and what follows it, where the rendered messages end inside thoughts; else an empty text."""
        ...

    def thinking(self, on: bool, option: str) -> Self:
        """Return the same chat with its template's switch for thinking turned on or off. Raises ModelError if it has none.

        `option` is the one that asks for it, for the message.
        """
        ...


class SamplingClient(Protocol):
    """Samples from fixed weights."""

    async def sample(self, requests: Sequence[SampleRequest]) -> list[Completion]:
        """Return one completion per request, in order. Deterministic in weights and requests, except from an endpoint.

        Raises EndpointError if an endpoint does not answer.
        """
        ...


class TrainingClient(Protocol):
    """Changes the current weights."""

    async def train_step(self, data: Sequence[Datum], loss: LossSpec, adam: AdamParams) -> Mapping[str, float]:
        """Take one optimiser step on the sum over data and tokens.

        Returns metrics; keys are stable per engine: ``loss``, ``grad_norm``, those of `learning.losses.mismatch` and of
        `learning.correction.off_policy_metrics`, and ``skipped_steps``. Raises UsageError from a frozen engine, DeviceMemoryError where
        the step does not fit.
        """
        ...

    async def save(self, folder: Path) -> None:
        """Write adapter, optimiser and RNG state into an existing empty folder. A full disk is an OSError."""
        ...

    async def load(self, folder: Path) -> None:
        """Restore what ``save`` wrote. Raises CheckpointError naming the file that is missing or broken."""
        ...


@runtime_checkable
class ScoringEngine(Protocol):
    """An engine that reads given tokens, as a teacher does. Implementing it besides `Engine` is optional."""

    async def score(self, data: Sequence[Datum], *, reference: bool) -> list[tuple[float, ...]]:
        """Return the log-probability of each sampled token of each datum at its temperature, under base or current weights."""
        ...


@runtime_checkable
class MeasurableEngine(Protocol):
    """An engine whose weights can be compared with the base, and trained anew from a checkpoint. Implementing it is optional."""

    async def divergence(self, data: Sequence[Datum], others: Sequence[Datum]) -> list[tuple[float, ...]]:
        """Return KL(current || base) at each sampled token of each datum, over the whole vocabulary at its temperature, in nats.

        Args:
            data: trajectories as the current weights read them.
            others: the same sampled tokens as the base reads them, e.g. under another prompt.
        """
        ...

    async def load_weights(self, folder: Path) -> None:
        """Take the weights that ``save`` wrote, with a fresh optimiser. Raises CheckpointError."""
        ...


class Engine(TrainingClient, Protocol):
    """Both clients over one model."""

    @property
    def chat(self) -> Chat:
        """The model's chat format and tokenizer."""
        ...

    @property
    def isolates_snapshots(self) -> bool:
        """True if the reference client may sample while ``train_step`` runs, without either seeing the other."""
        ...

    @property
    def batches_continuously(self) -> bool:
        """True if requests are best sent one by one as they arise; False if a whole list at a time."""
        ...

    async def current(self) -> SamplingClient:
        """Return a client of the current weights. Call again after every train step: an older client may serve old weights."""
        ...

    async def reference(self) -> SamplingClient:
        """Return a client of the base weights, adapter off."""
        ...

    async def close(self) -> None:
        """Free the engine's resources."""
        ...
