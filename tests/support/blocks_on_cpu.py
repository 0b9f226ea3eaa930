"""FlexAttention's own rules on the CPU, with a gradient: what it computes is what its kernels on a GPU must."""

from functools import partialmethod

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters
from torch.nn.attention.flex_attention import flex_attention

from espl_bench.engines.hf.reading import block_attention


def train_on_blocks(patch: pytest.MonkeyPatch) -> None:
    """Let trainers that are opened from now on do on the CPU what they do on a GPU.

    The compiler captures all it captures there, forwards and backwards, but makes no kernels: it calls torch's operators. Torch refuses
    gradients on the CPU only because it has no kernel for them.
    """
    torch._dynamo.reset()
    counters.clear()
    fused = torch.compile(flex_attention, dynamic=True, fullgraph=True, backend="aot_eager")
    patch.setattr("torch.nn.attention.flex_attention._validate_device", lambda *_: None)
    patch.setattr(block_attention, "_compiled", lambda: fused)
    patch.setattr(block_attention, "trains_on", lambda device: True)
    patch.setattr(nn.Module, "compile", partialmethod(nn.Module.compile, backend="aot_eager"))
