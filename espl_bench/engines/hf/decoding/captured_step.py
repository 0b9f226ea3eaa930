"""Capture a decode step as a CUDA graph, and replay it for every token.

A decode step is a few thousand small kernels, and Python takes longer to launch one than a GPU takes to run it. A graph launches all of
them at once. It repeats what was captured on the same addresses: the step reads its inputs from tensors that stay where they are, and
nothing in it depends on a value that Python saw. Where there is no CUDA, the step is run each time.
"""

import threading
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor

WORTH = 8
"""Steps to come that make a capture worth it: it takes the time of two or three steps that are not captured, and rows may end before."""

Step = Callable[[], Tensor]


class CapturedStep:
    """A step that is captured once it is worth it, and again after its tensors were replaced.

    It does not hold the step: a cycle would keep the caches of a batch until Python happens to look for cycles.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._graph: Graph | None = None
        self._stale = True

    def run(self, step: Step, to_come: int) -> Tensor:
        """Run the step; the result holds until the next call.

        Args:
            step: always the same; may be run twice on the same inputs without changing its result.
            to_come: how often it is run with the same tensors at most, this time included.
        """
        if not captures_on(self._device):
            return step()
        if self._stale:
            if to_come < WORTH:
                return step()
            self._graph = Graph(step, self._device, self._graph)
            self._stale = False
        assert self._graph is not None
        return self._graph.replay()

    def tensors_replaced(self) -> None:
        """Say that the step reads or writes other tensors than before."""
        self._stale = True


def captures_on(device: torch.device) -> bool:
    """Return True if a device has graphs."""
    return device.type == "cuda"


@contextmanager
def no_waiting(device: torch.device) -> Generator[None]:
    """Make every operation fail that waits for a GPU, on all threads.

    In a capture it would fail, too, but torch's allocator does not recover from a capture that failed.
    """
    if not captures_on(device):
        yield
        return
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():  # torch says that it does not detect all of them
        warnings.filterwarnings("ignore", message="Synchronization debug mode is a prototype")
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


_ONE_AT_A_TIME = threading.Lock()
"""Held during a capture: the policy and the reference may sample at the same time, but torch captures one graph at a time."""


class Graph:
    """A CUDA graph of a step."""

    def __init__(self, step: Step, device: torch.device, before: "Graph | None") -> None:
        """Capture a step; `replay` runs it. A trainer in another thread may go on meanwhile.

        Args:
            step: what to capture.
            device: where it runs.
            before: a graph that is never replayed again, whose memory this one takes over; it must be alive until here.
        """
        self._graph = torch.cuda.CUDAGraph()
        stream = _capture_stream(device)
        pool = torch.cuda.graph_pool_handle() if before is None else before.pool()
        step()  # loads the kernels, which a capture must not; on the stream of everybody, so that nothing runs beside a replay
        capture = torch.cuda.graph(self._graph, pool=pool, stream=stream, capture_error_mode="thread_local")
        with _ONE_AT_A_TIME, torch.cuda.stream(stream), capture:  # a capture that fails does not leave its stream by itself
            self._result = step()

    def pool(self) -> Any:
        """Return the handle of the graph's memory."""
        return self._graph.pool()

    def replay(self) -> Tensor:
        """Run the step."""
        self._graph.replay()
        return self._result


@cache
def _capture_stream(device: torch.device) -> torch.cuda.Stream:
    """Return the one stream of a device that captures: matrix products keep a workspace for each stream that they were called on."""
    return torch.cuda.Stream(device)
