"""Log-probabilities over large vocabularies, computed in chunks.

A micro-batch of a few thousand tokens over a vocabulary of 150,000 is gigabytes in float32, several times over while
gradients are computed, and more than everything else in a training step. So where a micro-batch may be larger than a chunk, the
model returns the inputs of its output layer, and the output layer and the softmax are computed for some tokens at a time.

The log-probability of a target is one number per token, and the output layer is frozen. So its gradient with respect to the layer's input
is known at once, up to a factor per token that the loss decides later: it is computed beside the log-probability, while the logits are
there, and only it is kept. That takes two products with the output layer; keeping nothing and computing the logits again takes three.
(Liger-Kernel, arXiv 2410.10989, does likewise for the cross-entropy.)
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (the libraries below are partly untyped)

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear
from torch.utils.checkpoint import checkpoint

from espl_bench.engines.adapter_spec import PIECE


class ChunkedLogprobs:
    """The last stage of a model: from the rows its forward returns to log-probabilities."""

    def __init__(self, model: Any, most_rows: int) -> None:
        """Take the output layer out of the model's forward if that saves memory, which changes what its forward returns.

        A model that transforms its logits (a cap, a scale), or whose output layer is not a plain linear one, keeps it.

        Args:
            model: a peft model without an adapter on its output layer.
            most_rows: tokens of the largest micro-batch.
        """
        base = model.get_base_model()
        head = base.get_output_embeddings()
        self._rows = max(1, PIECE // head.weight.shape[0])
        self._head: nn.Linear | None = None
        if most_rows > self._rows and type(head) is nn.Linear and _is_last(base, head):
            base.set_output_embeddings(nn.Identity())
            self._head = head

    def scores(self, rows_N: Tensor, target_N: Tensor, temperature_N: Tensor) -> tuple[Tensor, Tensor]:
        """Compute log-probabilities of the targets, and entropies of their distributions, in nats.

        Args:
            rows_N: outputs of the model's forward at the positions that predict a target, (N, width) or (N, V).
            target_N: ids.
            temperature_N: divisors of the logits.

        Returns:
            Two of (N,), float32; gradients flow through the first.
        """
        if len(rows_N) <= self._rows:
            return self._piece(rows_N, target_N, temperature_N)
        if self._head is not None:
            logprobs_N, entropy_N = _TargetScores.apply(rows_N, self._head.weight, self._head.bias, target_N, temperature_N, self._rows)
            return logprobs_N, entropy_N
        pieces = zip(*(of_all.split(self._rows) for of_all in (rows_N, target_N, temperature_N)), strict=True)
        scored = [checkpoint(self._piece, *piece, use_reentrant=False, preserve_rng_state=False) for piece in pieces]
        logprobs, entropies = zip(*scored, strict=True)
        return torch.cat(logprobs), torch.cat(entropies)

    def divergences(self, rows_N: Tensor, others_N: Tensor, temperature_N: Tensor) -> Tensor:
        """Compute KL(rows || others) of the whole distributions at each position, in nats, (N,), without gradients."""
        pieces = zip(*(of_all.split(self._rows) for of_all in (rows_N, others_N, temperature_N)), strict=True)
        return torch.cat([self._divergence(*piece) for piece in pieces])

    def _divergence(self, rows_N: Tensor, others_N: Tensor, temperature_N: Tensor) -> Tensor:
        own_NV, other_NV = (self._log_softmax(rows, temperature_N) for rows in (rows_N, others_N))
        return (own_NV.exp() * (own_NV - other_NV)).sum(-1)

    def _log_softmax(self, rows_N: Tensor, temperature_N: Tensor) -> Tensor:
        logits_NV: Tensor = self._head(rows_N) if self._head else rows_N
        return torch.log_softmax(logits_NV.float() / temperature_N[:, None], dim=-1)

    def _piece(self, rows_N: Tensor, target_N: Tensor, temperature_N: Tensor) -> tuple[Tensor, Tensor]:
        logprobs_NV = self._log_softmax(rows_N, temperature_N)
        with torch.no_grad():
            entropy_N = -(logprobs_NV.exp() * logprobs_NV).sum(-1)
        return logprobs_NV.gather(-1, target_N[:, None])[:, 0], entropy_N


class _TargetScores(torch.autograd.Function):
    """Log-probabilities of targets, with their gradients, and entropies: a piece of the rows at a time."""

    @staticmethod
    def forward(
        ctx: Any, rows_NH: Tensor, weight_VH: Tensor, bias_V: Tensor | None, target_N: Tensor, temperature_N: Tensor, size: int
    ) -> tuple[Tensor, Tensor]:
        logprobs_N, entropy_N = (torch.empty(len(rows_NH), device=rows_NH.device) for _ in range(2))
        slope_NH = torch.empty_like(rows_NH) if ctx.needs_input_grad[0] else None
        for start in range(0, len(rows_NH), size):
            piece = slice(start, start + size)
            temperature_N1 = temperature_N[piece, None]
            logits_NV = linear(rows_NH[piece], weight_VH, bias_V)
            scores_NV = torch.log_softmax(logits_NV.float() / temperature_N1, dim=-1)
            logprobs_N[piece] = scores_NV.gather(-1, target_N[piece, None])[:, 0]
            probs_NV = scores_NV.exp()
            entropy_N[piece] = -scores_NV.mul_(probs_NV).sum(-1)
            if slope_NH is not None:
                slope_NV = probs_NV.neg_().scatter_add_(-1, target_N[piece, None], torch.ones_like(temperature_N1)).div_(temperature_N1)
                slope_NH[piece] = slope_NV.to(weight_VH.dtype) @ weight_VH
        if slope_NH is not None:
            ctx.save_for_backward(slope_NH)
        ctx.mark_non_differentiable(entropy_N)
        return logprobs_N, entropy_N

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]  # the decorator hides the names
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor | None, ...]:
        [slope_NH] = ctx.saved_tensors
        return (slope_NH * gradients[0][:, None]).to(slope_NH.dtype), None, None, None, None, None


@torch.inference_mode()
def _is_last(base: Any, head: Any) -> bool:
    """Return True if the model's logits are its output layer's output, unchanged."""
    computed: list[Tensor] = []

    def keep(_module: nn.Module, _rows: Any, logits: Tensor) -> None:
        computed.append(logits)

    hook = head.register_forward_hook(keep)
    try:
        various = torch.arange(min(64, head.weight.shape[0]), device=base.device)  # a padding id alone may give zeros everywhere
        logits = base(input_ids=various[None], use_cache=False).logits
    finally:
        hook.remove()
    return torch.equal(logits, computed[-1])
