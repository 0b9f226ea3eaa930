"""Train LoRA weights: one optimiser step on a set of trajectories, in micro-batches that fit a token budget.

The loss is a sum over data and tokens, so how the data are split changes nothing but rounding. Nothing here draws random
numbers (the adapter has no dropout, and the model stays in eval mode), so a checkpoint needs no RNG state.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (the libraries below are partly untyped)

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.modeling_layers import GradientCheckpointingLayer

from espl_bench.engines.adapter_spec import AdapterSpec
from espl_bench.engines.engine import AdamParams
from espl_bench.engines.hf.reading import attention, block_attention
from espl_bench.engines.hf.reading.forward import Reading
from espl_bench.engines.hf.training.chunked_logprobs import ChunkedLogprobs
from espl_bench.engines.hf.training.micro_batch import MicroBatch, Packing
from espl_bench.engines.hf.training.packing import reading_whole, sharing_prompts
from espl_bench.engines.hf.training.packing_trial import disagreement
from espl_bench.engines.hf.training.token_budget import LARGEST, TokenBudget
from espl_bench.engines.hf.training.tree_packing import as_trees
from espl_bench.learning.correction import importance_weights, off_policy_metrics, rollout_sums
from espl_bench.learning.loss_spec import LossSpec
from espl_bench.learning.losses import mismatch, summed_loss
from espl_bench.types import Datum

NOTHING_TRAINED: Mapping[str, float] = {
    "loss": 0.0,
    "grad_norm": 0.0,
    "ratio_mean": 1.0,
    "kl_sampler": 0.0,
    "clip_fraction": 0.0,
    "entropy": 0.0,
    "logprob_gap": 0.0,
    "ratio_max": 1.0,
    "capped_fraction": 0.0,
    "sequence_ratio_mean": 1.0,
    "sequence_capped_fraction": 0.0,
    "skipped_steps": 0.0,
}
"""Metrics of a step without data; the keys are those of every step."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Results of one micro-batch, without gradients; N sampled tokens of B trajectories."""

    loss: Tensor
    """A scalar, left on the device: reading it would wait for the whole micro-batch."""
    logprobs_N: Tensor
    sampler_N: Tensor
    entropy_N: Tensor
    gap_B: Tensor
    """Log of the product of each trajectory's ratios."""


class Trainer:
    """Optimises the adapter of one module tree. Not thread-safe: the engine holds a lock around it."""

    def __init__(self, model: Any, adapter: AdapterSpec, reading: Reading) -> None:
        """Set up the optimiser.

        Args:
            model: a peft model; the parameters that require gradients are trained.
            adapter: how they are trained. With gradient checkpointing or compiled layers, padded micro-batches read prompts once per
                trajectory instead of once per group.
            reading: what the model allows.
        """
        self.model = model
        self.parameters: dict[str, torch.nn.Parameter] = {
            name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad
        }
        self.optimizer = torch.optim.Adam(self.parameters.values(), lr=0.0, fused=True)
        self._budget = TokenBudget(adapter.token_budget, model.device)
        self._one_by_one = reading is Reading.EQUAL
        model.eval()
        self._vocabulary = ChunkedLogprobs(model, self._budget.largest)
        shares = reading is Reading.SHARED
        takes_blocks = shares and block_attention.trains_on(model.device) and attention.adopt(model.get_base_model())
        if adapter.gradient_checkpointing:  # after the model was adopted, which fills a cache
            _checkpoint_activations(model)
        # A layer that runs twice would fill its cache twice, and one that is compiled would be compiled for its own cache.
        reads_caches = not (adapter.gradient_checkpointing or adapter.compile_layers)
        self._pack_padded = sharing_prompts if shares and reads_caches else reading_whole
        self._pack = self._without_padding() if takes_blocks else self._pack_padded
        if adapter.compile_layers:  # after the trial, which reads in two ways
            _compile_layers(model)

    def _without_padding(self) -> Packing:
        """Return the layout as trees, or the padded one where a trial of trees says something else."""
        fault = disagreement(as_trees, self._pack_padded, self._log_probabilities, self.parameters.values(), self.model)
        if fault is None:
            return as_trees
        attention.leave(self.model.get_base_model())
        warnings.warn(f"micro-batches are padded, which takes longer: without padding, {fault}", RuntimeWarning, stacklevel=2)
        return self._pack_padded

    def step(self, data: Sequence[Datum], loss: LossSpec, adam: AdamParams) -> dict[str, float]:
        """Take one optimiser step on the sum over data and tokens.

        Returns:
            ``loss`` (the sum), ``grad_norm`` (before clipping), those of `learning.losses.mismatch` and of
            `learning.correction.off_policy_metrics`, and ``skipped_steps``: 1 if the loss or a gradient was not finite, in which case no
            weight has changed.
        """
        trainable = [datum for datum in data if any(datum.mask_T[1:])]
        if not trainable:
            return dict(NOTHING_TRAINED)
        while (measured := self._gradient(trainable, loss)) is None:
            pass  # in smaller micro-batches
        total = math.fsum(torch.stack([part.loss for part in measured]).tolist())
        bound = adam.grad_clip if adam.grad_clip > 0 else math.inf
        grad_norm = torch.nn.utils.clip_grad_norm_(self.parameters.values(), bound).item()
        finite = math.isfinite(total) and math.isfinite(grad_norm)
        if finite:
            self._update(adam)
        self.optimizer.zero_grad(set_to_none=True)
        logprobs_N, sampler_N, entropy_N, gap_B = (
            torch.cat([getattr(part, name) for part in measured]) for name in ("logprobs_N", "sampler_N", "entropy_N", "gap_B")
        )
        metrics = {**mismatch(logprobs_N, sampler_N, entropy_N, loss), **off_policy_metrics(logprobs_N, sampler_N, gap_B, loss)}
        return {"loss": total, "grad_norm": grad_norm, **metrics, "skipped_steps": 0.0 if finite else 1.0}

    def _gradient(self, data: Sequence[Datum], loss: LossSpec) -> list[Measured] | None:
        """Add up the gradient of all data; None if it did not fit into the memory and the budget could be lowered."""
        self.optimizer.zero_grad(set_to_none=True)
        try:
            return self._accumulate(self._batches(data, self._pack), loss)
        except torch.OutOfMemoryError:
            self.optimizer.zero_grad(set_to_none=True)
            if not self._budget.lower():
                raise
        return None

    def _batches(self, data: Sequence[Datum], pack: Packing) -> Iterator[MicroBatch]:
        return pack(data, lambda: 0 if self._one_by_one else self._budget.tokens, self.model.device)

    @torch.inference_mode()
    def score(self, data: Sequence[Datum]) -> list[tuple[float, ...]]:
        """Return the current log-probabilities of the sampled tokens of each trajectory, at its temperature."""
        different = {id(datum): datum for datum in data}
        batches = list(self._batches([*different.values()], self._pack_padded))  # blocks would be compiled again, without gradients
        found: dict[int, list[float]] = {key: [] for key in different}
        for batch, logprobs_N in zip(batches, self._score_each(batches), strict=True):
            for row, logprob in zip(batch.targets.row_N.tolist(), logprobs_N, strict=True):
                found[id(batch.data[row])].append(logprob)
        return [tuple(found[id(datum)]) for datum in data]

    def _score_each(self, batches: Sequence[MicroBatch]) -> list[list[float]]:
        return [self._log_probabilities(batch).tolist() for batch in batches]

    @torch.inference_mode()
    def divergence(self, datum: Datum, other: Datum) -> list[float]:
        """Return KL(current || base) at each sampled token of a trajectory, over the whole vocabulary, in nats.

        Args:
            datum: as the current weights read it.
            other: the same sampled tokens as the base reads them, e.g. under another prompt.
        """
        own, reference = (next(reading_whole([each], lambda: LARGEST, self.model.device)) for each in (datum, other))
        rows_N = own.read(self.model)
        with self.model.disable_adapter():
            others_N = reference.read(self.model)
        return self._vocabulary.divergences(rows_N, others_N, own.targets.temperature_N).tolist()

    def _update(self, adam: AdamParams) -> None:
        for group in self.optimizer.param_groups:
            group.update(lr=adam.lr, betas=(adam.beta1, adam.beta2), eps=adam.eps)
        self.optimizer.step()

    def _accumulate(self, batches: Iterable[MicroBatch], loss: LossSpec) -> list[Measured]:
        """Add the gradients of all micro-batches; return what was measured on each, in order."""
        return [self._backward(batch, loss) for batch in batches]

    def _backward(self, batch: MicroBatch, spec: LossSpec) -> Measured:
        """Add one micro-batch's gradient."""
        targets = batch.targets
        with self._budget.observing(batch.tokens):
            logprobs_N, entropy_N = self._scores(batch)
            weight_N = importance_weights(logprobs_N, targets.sampler_N, targets.row_N, spec)
            loss = summed_loss(logprobs_N, targets.sampler_N, targets.advantage_N * weight_N, spec)
            loss.backward()
        with torch.no_grad():
            gap_B = rollout_sums(logprobs_N - targets.sampler_N, targets.row_N)
        return Measured(loss.detach(), logprobs_N.detach(), targets.sampler_N, entropy_N, gap_B)

    def _log_probabilities(self, batch: MicroBatch) -> Tensor:
        return self._scores(batch)[0]

    def _scores(self, batch: MicroBatch) -> tuple[Tensor, Tensor]:
        """Compute log-probabilities of the sampled tokens and entropies, each (N,)."""
        targets = batch.targets
        return self._vocabulary.scores(batch.read(self.model), targets.target_N, targets.temperature_N)


def _checkpoint_activations(model: Any) -> None:
    """Switch gradient checkpointing on, leaving every dropout off.

    transformers checkpoints a layer only while that layer's ``training`` flag is set; setting it on the layer but not
    on what is inside it keeps attention and MLP dropouts in eval mode.
    """
    with warnings.catch_warnings():  # transformers is renaming the method
        warnings.filterwarnings("ignore", message=".*gradient_checkpointing_enable", category=FutureWarning)
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    for module in model.modules():
        if getattr(module, "gradient_checkpointing", False):
            module.training = True


def _compile_layers(model: Any) -> None:
    """Compile every decoder layer, for all lengths at once; layers of one kind are compiled once."""
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer):
            module.compile(dynamic=True)
