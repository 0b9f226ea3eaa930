"""Attention under a mask of blocks: FlexAttention (arXiv 2412.05496), compiled for the device it runs on."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (torch is partly untyped)

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention


def attend(query: Tensor, key: Tensor, value: Tensor, mask: BlockMask, scaling: float | None) -> Tensor:
    """Compute attention, (1, T, query heads, head size), from queries, keys and values of (1, heads, T, head size)."""
    grouped = query.shape[1] != key.shape[1]
    fused: Any = flex_attention if torch.compiler.is_compiling() else _compiled()
    out: Tensor = fused(query, key, value, block_mask=mask, scale=scaling, enable_gqa=grouped)
    return out.transpose(1, 2).contiguous()


@cache
def _compiled() -> Any:
    """Compile once for all lengths. Without a fused kernel all scores would be in memory: better an error, which a trial notices."""
    return torch.compile(flex_attention, dynamic=True, fullgraph=True)
