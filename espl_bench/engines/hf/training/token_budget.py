"""How many tokens a micro-batch of a training step may have.

A large micro-batch uses a GPU better, and a step that runs out of memory costs an iteration. What a token costs depends on the model, its
layers' code and the adapter, so it is measured: the first micro-batch on a GPU is small, and its peak tells how many tokens fit into
what is free. How data are split changes nothing but rounding.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (torch is partly untyped)

from collections.abc import Generator
from contextlib import contextmanager

import torch

from espl_bench.engines.adapter_spec import MICRO_BATCH

LARGEST = 2**17
"""Tokens of a micro-batch that fill any device."""
_SMALLEST = 256
_SHARE = 0.6
"""Of the free memory. Reflections are sampled beside the training step, and the allocator leaves gaps."""


class TokenBudget:
    """The bound that was asked for, or one that follows the free memory of a CUDA device."""

    def __init__(self, asked: int | None, device: torch.device) -> None:
        """Start from `MICRO_BATCH` if None was asked for; on a CPU that stays."""
        self._adapts = asked is None and device.type == "cuda"
        self._device = device
        self._bytes_per_token: float | None = None
        self._most = LARGEST
        self._fixed = asked if asked is not None else MICRO_BATCH

    @property
    def largest(self) -> int:
        """The largest bound that this may come to."""
        return self._most if self._adapts else self._fixed

    @property
    def tokens(self) -> int:
        """The bound of the next micro-batch. One that adapts is a power of two, so that runs seldom differ."""
        if not self._adapts:
            return self._fixed
        if self._bytes_per_token is None:
            return min(MICRO_BATCH, self._most)
        fits = int(_SHARE * _free(self._device) / self._bytes_per_token)
        return max(_SMALLEST, min(self._most, 1 << max(fits, 1).bit_length() - 1))

    def lower(self) -> bool:
        """Halve the bound after a step that did not fit; return False if nothing can be lowered."""
        if not self._adapts or self._most <= _SMALLEST:
            return False
        self._most = max(_SMALLEST, min(self._most, self.tokens) // 2)
        return True

    @contextmanager
    def observing(self, tokens: int) -> Generator[None]:
        """Learn from the first micro-batch what a token costs."""
        if not self._adapts or self._bytes_per_token is not None:
            yield
            return
        torch.cuda.reset_peak_memory_stats(self._device)
        before = torch.cuda.memory_allocated(self._device)
        yield
        self._bytes_per_token = max(torch.cuda.max_memory_allocated(self._device) - before, 1) / max(tokens, 1)


def _free(device: torch.device) -> int:
    """Return the bytes that this process could take: free on the device, or kept by torch's allocator without use."""
    return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
