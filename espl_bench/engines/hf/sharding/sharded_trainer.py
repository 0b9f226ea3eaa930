"""The trainer of one rank: micro-batches are spread over the ranks, gradients are summed, and every rank takes the same step.

A layer's parts are gathered whenever it is read, by all ranks together, so all must read equally often. Therefore a micro-batch is one
reading (prompts are not shared and rests not cut, as under gradient checkpointing), and a rank without a micro-batch of its own in the last
round reads another's once more, which adds nothing.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (torch is partly untyped)

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

from espl_bench.engines.adapter_spec import MICRO_BATCH, AdapterSpec
from espl_bench.engines.hf.reading.forward import Reading
from espl_bench.engines.hf.training.micro_batch import MicroBatch
from espl_bench.engines.hf.training.trainer import Measured, Trainer
from espl_bench.learning.loss_spec import LossSpec
from espl_bench.types import Datum

Item = TypeVar("Item")
Result = TypeVar("Result")


class ShardedTrainer(Trainer):
    """Every rank has one, and calls each method with the same arguments at the same time; all return the same."""

    def __init__(self, model: Any, adapter: AdapterSpec, reading: Reading) -> None:
        """Set up the optimiser. Arguments are those of `Trainer`; an automatic token budget is a constant, the same on every rank."""
        budget = adapter.token_budget or MICRO_BATCH
        super().__init__(model, replace(adapter, token_budget=budget), Reading.PADDED if reading is Reading.SHARED else reading)

    def divergence_all(self, pairs: Sequence[tuple[Datum, Datum]]) -> list[tuple[float, ...]]:
        """Compare pairs (`Trainer.divergence`), each on one rank."""
        return _spread(pairs, lambda pair: tuple(self.divergence(*pair)), lambda: self.divergence(*pairs[0]))

    def _accumulate(self, batches: Iterable[MicroBatch], loss: LossSpec) -> list[Measured]:
        every = list(batches)
        shortest = min(every, key=lambda batch: batch.tokens)
        measured = _spread(every, lambda batch: _on_cpu(self._backward(batch, loss)), lambda: self._keep_step(shortest))
        self._add_gradients()
        return measured

    def _score_each(self, batches: Sequence[MicroBatch]) -> list[list[float]]:
        def read(batch: MicroBatch) -> list[float]:
            return self._log_probabilities(batch).tolist()

        return _spread(batches, read, lambda: read(min(batches, key=lambda batch: batch.tokens)))

    def _keep_step(self, batch: MicroBatch) -> None:
        """Read a micro-batch forwards and backwards without adding to any gradient."""
        logprobs_N, _ = self._scores(batch)
        (logprobs_N.sum() * 0.0).backward()

    def _add_gradients(self) -> None:
        """Sum the gradients of all ranks. What has one on no rank, as experts that no token chose, has none afterwards."""
        parameters = list(self.parameters.values())
        ranks_P = torch.tensor([parameter.grad is not None for parameter in parameters], dtype=torch.int32, device=self.model.device)
        distributed.all_reduce(ranks_P)
        for parameter, ranks in zip(parameters, ranks_P.tolist(), strict=True):
            if ranks:
                parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                distributed.all_reduce(parameter.grad)


def _spread(items: Sequence[Item], work: Callable[[Item], Result], idle: Callable[[], object]) -> list[Result]:
    """Do the work on each item on one rank, and return all results on every rank, in order.

    Args:
        items: the same on every rank.
        work: reads the model as often as `idle`.
        idle: what a rank does that has no item in the last round.
    """
    rank, ranks = distributed.get_rank(), distributed.get_world_size()
    own = [work(item) for item in items[rank::ranks]]
    if len(items) % ranks and len(own) == len(items) // ranks:
        idle()
    each: list[list[Result]] = [[] for _ in range(ranks)]
    distributed.all_gather_object(each, own)
    return [each[index % ranks][index // ranks] for index in range(len(items))]


def _on_cpu(measured: Measured) -> Measured:
    """Return what was measured in a form that goes to other processes."""
    values = {field.name: getattr(measured, field.name) for field in fields(measured)}
    return replace(measured, **{name: value.cpu() for name, value in values.items() if isinstance(value, Tensor)})
