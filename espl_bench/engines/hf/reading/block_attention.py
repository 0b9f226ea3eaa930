"""Attention under a mask of blocks: FlexAttention (arXiv 2412.05496), compiled for the device it runs on."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportPrivateUsage=false
# (torch is partly untyped)

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

_KINDS = 64
"""Of models whose attention may be compiled in one process; the compiler allows eight, and then fails in the middle of a step."""


def trains_on(device: torch.device) -> bool:
    """Return True where FlexAttention has a backward pass."""
    return device.type == "cuda"


def attend(query: Tensor, key: Tensor, value: Tensor, mask: BlockMask, scaling: float | None) -> Tensor:
    """Compute attention, (1, T, query heads, head size), from queries, keys and values of (1, heads, T, head size)."""
    grouped = query.shape[1] != key.shape[1]
    if torch.compiler.is_compiling():
        out = flex_attention(query, key, value, block_mask=mask, scale=scaling, enable_gqa=grouped)
    else:
        with torch._dynamo.config.patch(recompile_limit=_KINDS):  # here, because every thread has its own
            out = _compiled()(query, key, value, block_mask=mask, scale=scaling, enable_gqa=grouped)
    return out.transpose(1, 2).contiguous()


def compile_for_any_length(mask: BlockMask) -> None:
    """Tell the compiler that masks have different numbers of blocks, so that it does not begin with one for this length alone."""
    for part in mask.as_tuple():
        if isinstance(part, Tensor):
            for dim in range(2, part.ndim):
                torch._dynamo.maybe_mark_dynamic(part, dim)


@cache
def _compiled() -> Any:
    """Compile once for all lengths. Without a fused kernel all scores would be in memory: better an error, which a trial notices."""
    return torch.compile(flex_attention, dynamic=True, fullgraph=True)
