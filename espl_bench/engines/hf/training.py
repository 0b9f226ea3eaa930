"""Train LoRA weights: one optimiser step on a set of trajectories, in micro-batches that fit a token budget.

The loss is a sum over data and tokens, so how the data are split changes nothing but rounding. Nothing here draws random
numbers (the adapter has no dropout, and the model stays in eval mode), so a checkpoint needs no RNG state.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (the libraries below are partly untyped)

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from espl_bench.engines.engine import AdamParams
from espl_bench.engines.hf.chunked_logprobs import ChunkedLogprobs
from espl_bench.engines.hf.forward import Reading
from espl_bench.engines.hf.packing import MicroBatch, micro_batches
from espl_bench.engines.hf.prefix_sharing import forward_levels
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

    loss: float
    logprobs_N: Tensor
    sampler_N: Tensor
    entropy_N: Tensor
    gap_B: Tensor
    """Log of the product of each trajectory's ratios."""


class Trainer:
    """Optimises the adapter of one module tree. Not thread-safe: the engine holds a lock around it."""

    def __init__(self, model: Any, *, token_budget: int, gradient_checkpointing: bool, reading: Reading) -> None:
        """Set up the optimiser.

        Args:
            model: a peft model; the parameters that require gradients are trained.
            token_budget: upper bound of the tokens of a micro-batch, padding included, if it has two rows.
            gradient_checkpointing: recompute activations in the backward pass: less memory, more time, and prompts are
                read once per trajectory instead of once per group.
            reading: what the model allows.
        """
        self.model = model
        self.parameters: dict[str, torch.nn.Parameter] = {
            name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad
        }
        self.optimizer = torch.optim.Adam(self.parameters.values(), lr=0.0, fused=True)
        self._token_budget = 0 if reading is Reading.EQUAL else token_budget
        self._share_prompts = reading is Reading.SHARED and not gradient_checkpointing  # a forward that runs twice cannot fill a cache
        self._one_level = gradient_checkpointing  # for the same reason
        model.eval()
        self._vocabulary = ChunkedLogprobs(model, token_budget)
        if gradient_checkpointing:
            _checkpoint_activations(model)

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
        self.optimizer.zero_grad(set_to_none=True)
        batches = micro_batches(
            trainable, self._token_budget, share_prompts=self._share_prompts, device=self.model.device, one_level=self._one_level
        )
        measured = self._accumulate(batches, loss)
        total = math.fsum(part.loss for part in measured)
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

    @torch.inference_mode()
    def score(self, datum: Datum) -> list[float]:
        """Return the current log-probability of each sampled token of one trajectory, at its temperature."""
        [batch] = micro_batches([datum], self._token_budget, share_prompts=self._share_prompts, device=self.model.device)
        return self._scores(batch)[0].tolist()

    @torch.inference_mode()
    def divergence(self, datum: Datum, other: Datum) -> list[float]:
        """Return KL(current || base) at each sampled token of a trajectory, over the whole vocabulary, in nats.

        Args:
            datum: as the current weights read it.
            other: the same sampled tokens as the base reads them, e.g. under another prompt.
        """
        own, reference = (
            next(micro_batches([each], self._token_budget, share_prompts=False, device=self.model.device)) for each in (datum, other)
        )
        rows_N = self._predicting(own)
        with self.model.disable_adapter():
            others_N = self._predicting(reference)
        return self._vocabulary.divergences(rows_N, others_N, _joined(own, "temperature_N")).tolist()

    def _update(self, adam: AdamParams) -> None:
        for group in self.optimizer.param_groups:
            group.update(lr=adam.lr, betas=(adam.beta1, adam.beta2), eps=adam.eps)
        self.optimizer.step()

    def _accumulate(self, batches: Iterable[MicroBatch], loss: LossSpec) -> list[Measured]:
        """Add the gradients of all micro-batches; return what was measured on each, in order."""
        return [self._backward(batch, loss) for batch in batches]

    def _backward(self, batch: MicroBatch, spec: LossSpec) -> Measured:
        """Add one micro-batch's gradient."""
        sampler_N, advantage_N = (_joined(batch, name) for name in ("sampler_N", "advantage_N"))
        row_N = _rollouts(batch)
        logprobs_N, entropy_N = self._scores(batch)
        loss = summed_loss(logprobs_N, sampler_N, advantage_N * importance_weights(logprobs_N, sampler_N, row_N, spec), spec)
        loss.backward()
        with torch.no_grad():
            gap_B = rollout_sums(logprobs_N - sampler_N, row_N)
        return Measured(loss.item(), logprobs_N.detach(), sampler_N, entropy_N, gap_B)

    def _scores(self, batch: MicroBatch) -> tuple[Tensor, Tensor]:
        """Compute log-probabilities of the sampled tokens and entropies, each (N,)."""
        return self._vocabulary.scores(self._predicting(batch), _joined(batch, "target_N"), _joined(batch, "temperature_N"))

    def _predicting(self, batch: MicroBatch) -> Tensor:
        """Compute the rows that predict the sampled tokens, (N, …). The rests attend to their prefixes through a KV cache."""
        levels = (*batch.prompts, *(chunk.level for chunk in batch.chunks))
        cache = DynamicCache(config=self.model.config) if len(levels) > 1 else None
        read_RS, _ = forward_levels(self.model, levels, cache)
        chunks = zip(batch.chunks, read_RS[len(batch.prompts) :], strict=True)
        return torch.cat([rows_RS[chunk.row_N, chunk.column_N] for chunk, rows_RS in chunks])


def _joined(batch: MicroBatch, name: str) -> Tensor:
    """Concatenate a field of all chunks, (N,)."""
    return torch.cat([getattr(chunk, name) for chunk in batch.chunks])


def _rollouts(batch: MicroBatch) -> Tensor:
    """Return the trajectory index of each predicted token, (N,): a second level continues rows of the first."""
    first, *later = batch.chunks
    return torch.cat([first.row_N, *(chunk.level.index_R[chunk.row_N] for chunk in later)])


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
