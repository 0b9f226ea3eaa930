"""Decode rows that share a prompt without one copy of the prompt's keys and values per row.

A decode step reads all keys and values of its rows, and on a small model this is most of its time. The G rollouts of a group
have the same prompt, so its keys and values are kept once, and the group's queries are multiplied with them in one product. A
row's own cache holds only what it has sampled. Scores of both parts are concatenated under one softmax: this is exact attention.
(The idea is that of Hydragen, arXiv 2402.05099.)

transformers passes keyword arguments of a model's forward down to its attention function, and so `SharedPrompts` reaches it;
`adopt` tests that it does. A model with another kind of attention samples as before.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (the libraries below are partly untyped)

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask
from transformers import AttentionInterface
from transformers.cache_utils import DynamicCache, DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from espl_bench.engines.hf.reading import block_attention
from espl_bench.engines.hf.reading.forward import forward

NAME = "espl_shared_prompts"
_CHANGE_SCORES = ("softcap", "s_aux", "position_bias", "sliding_window")
"""Arguments of transformers' attention functions that change the scores beyond scaled dot products."""


class Attends(Protocol):
    """What computes the attention of a decode step."""

    def attend(self, layer: int, query: Tensor, keys: Tensor, values: Tensor, scaling: float) -> Tensor:
        """See `SharedPrompts.attend`."""
        ...


class SharedPrompts:
    """Keys and values of U prompts, and the B rows that continue them. Rows of one prompt must be adjacent."""

    def __init__(self, layers: Sequence[tuple[Tensor, Tensor]], seen_UP: Tensor, prompt_B: Tensor) -> None:
        """Hold prompts for rows; `of` takes them from a cache.

        Args:
            layers: keys and values of each layer, (U, heads, P, head size).
            seen_UP: 1 where a prompt's token is, 0 on padding.
            prompt_B: which prompt a row continues; never decreases.
        """
        self._layers = layers
        self._seen_UP = seen_UP
        self._mask_UP = torch.zeros(seen_UP.shape, device=seen_UP.device).masked_fill(seen_UP == 0, -torch.inf)
        self._prompt_B = prompt_B
        self.consulted = 0
        """Number of calls of `attend` so far, one per attention layer and step."""
        rows = len(prompt_B)
        first_U = torch.searchsorted(prompt_B, torch.arange(len(seen_UP), device=prompt_B.device))
        rank_B = torch.arange(rows, device=prompt_B.device) - first_U[prompt_B]
        group = int(rank_B.max()) + 1
        self._row_UG = (first_U[:, None] + torch.arange(group, device=prompt_B.device)).clamp(max=rows - 1)
        """Rows of each prompt; a shorter group is filled up with other rows, whose results are dropped."""
        self._slot_B = prompt_B * group + rank_B

    @classmethod
    def of(cls, cache: DynamicCache, seen_UP: Tensor, prompt_B: Tensor) -> "SharedPrompts":
        """Take over the cache of a prefill."""
        layers: list[Any] = cache.layers
        return cls([(layer.keys, layer.values) for layer in layers], seen_UP, prompt_B)

    def select(self, index: Tensor) -> "SharedPrompts":
        """Keep only these rows, and only the prompts they continue. ``index`` increases."""
        kept_U, prompt_B = torch.unique(self._prompt_B[index], return_inverse=True)
        if len(kept_U) == len(self._seen_UP):
            return SharedPrompts(self._layers, self._seen_UP, prompt_B)
        return SharedPrompts([(keys[kept_U], values[kept_U]) for keys, values in self._layers], self._seen_UP[kept_U], prompt_B)

    def attend(self, layer: int, query: Tensor, keys: Tensor, values: Tensor, scaling: float) -> Tensor:
        """Compute the attention of one new token per row over its prompt and its own keys.

        Args:
            layer: index of the layer.
            query: (B, query heads, 1, head size).
            keys: of what the row has sampled, (B, heads, T, head size).
            values: likewise.
            scaling: of the scores.

        Returns:
            (B, 1, query heads, head size).
        """
        self.consulted += 1
        prompt_keys, prompt_values = self._layers[layer]
        B, H = query.shape[0], keys.shape[1]
        query_BHRD = query.view(B, H, -1, query.shape[-1]) * scaling  # R query heads per key head
        scores_BHRP = self._per_row(self._per_prompt(query_BHRD) @ prompt_keys.transpose(-1, -2) + self._mask_UP[:, None, None], B)
        scores_BHRT = query_BHRD @ keys.transpose(-1, -2)
        weights = torch.softmax(torch.cat([scores_BHRP.float(), scores_BHRT.float()], -1), -1).to(query.dtype)
        weights_BHRP, weights_BHRT = weights.split([scores_BHRP.shape[-1], scores_BHRT.shape[-1]], -1)
        out_BHRD = self._per_row(self._per_prompt(weights_BHRP) @ prompt_values, B) + weights_BHRT @ values
        return out_BHRD.reshape(B, 1, -1, out_BHRD.shape[-1])

    def _per_prompt(self, rows_BHRX: Tensor) -> Tensor:
        """Rearrange (B, H, R, X) to (U, H, G * R, X)."""
        _, H, R, X = rows_BHRX.shape
        U, G = self._row_UG.shape
        return rows_BHRX[self._row_UG].transpose(1, 2).reshape(U, H, G * R, X)

    def _per_row(self, prompts_UHGX: Tensor, B: int) -> Tensor:
        """Invert `_per_prompt` for any X; results of repeated rows are dropped."""
        U, H, GR, X = prompts_UHGX.shape
        G = self._row_UG.shape[1]
        return prompts_UHGX.view(U, H, G, GR // G, X).transpose(1, 2).reshape(U * G, H, GR // G, X)[self._slot_B]


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | BlockMask | None,
    *,
    scaling: float | None = None,
    shared_prompts: Attends | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Serve plain decode steps with shared prompts, and masks of blocks; leave every other call to transformers' own function."""
    bent = any(others.get(name) is not None for name in _CHANGE_SCORES)
    if isinstance(attention_mask, BlockMask):
        if bent:
            raise NotImplementedError("blocks are only served with plain scores")
        return block_attention.attend(query, key, value, attention_mask, scaling), None
    if shared_prompts is None or bent:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **others)
    layer: Any = module.layer_idx
    return shared_prompts.attend(layer, query, key, value, query.shape[-1] ** -0.5 if scaling is None else scaling), None


AttentionInterface.register(NAME, _attention)
AttentionMaskInterface.register(NAME, sdpa_mask)


def adopt(model: Any) -> bool:
    """Let a model sample with shared prompts; return True if it can, else leave it unchanged.

    It can if it attends by plain scaled dot products over all its tokens in every layer, and passes our argument down.
    """
    if model.config._attn_implementation == NAME:
        return True
    cache = DynamicCache(config=model.config)
    if model.config._attn_implementation != "sdpa" or any(type(layer) is not DynamicLayer for layer in cache.layers):
        return False
    model.set_attn_implementation(NAME)
    if _hands_down(model):
        return True
    leave(model)
    return False


def leave(model: Any) -> None:
    """Undo `adopt`."""
    model.set_attn_implementation("sdpa")


@torch.inference_mode()
def _hands_down(model: Any) -> bool:
    """Return True if every layer of a model uses the shared prompts."""
    one = torch.zeros(1, 1, dtype=torch.long, device=model.device)
    cache = DynamicCache(config=model.config)
    forward(model, one, seen_RL=one + 1, position_RT=one, cache=cache, keep=1)
    shared = SharedPrompts.of(cache, one + 1, one[0])
    fresh = DynamicCache(config=model.config)
    try:
        forward(model, one, seen_RL=one + 1, position_RT=one + 1, cache=fresh, keep=1, shared_prompts=shared)
    except TypeError:  # a forward without further keyword arguments
        return False
    return shared.consulted == len(cache.layers)
