"""Log-probabilities over large vocabularies, computed in chunks.

A micro-batch of a few thousand tokens over a vocabulary of 150,000 is gigabytes in float32, several times over while
gradients are computed, and more than everything else in a training step. So where a micro-batch may be larger than a chunk, the
model returns the inputs of its output layer, and the output layer and the softmax are computed for some tokens at a time, and
again in the backward pass (`torch.utils.checkpoint`): one more product with the output layer, for memory that does not grow.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (the libraries below are partly untyped)

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from espl_bench.engines.adapter_spec import PIECE


class ChunkedLogprobs:
    """The last stage of a model: from the rows its forward returns to log-probabilities."""

    def __init__(self, model: Any, most_rows: int) -> None:
        """Take the output layer out of the model's forward if that saves memory, which changes what its forward returns.

        A model that transforms its logits (a cap, a scale) keeps its output layer.

        Args:
            model: a peft model without an adapter on its output layer.
            most_rows: tokens of the largest micro-batch.
        """
        base = model.get_base_model()
        head = base.get_output_embeddings()
        self._rows = max(1, PIECE // head.weight.shape[0])
        self._head: nn.Module | None = None
        if most_rows > self._rows and _is_last(base, head):
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
