"""What a CUDA graph does, on the CPU: a step is recorded operation by operation, and replayed on the same tensors without its Python.

As with a graph, the numbers and shapes that Python saw are those of the recording, and what needs a tensor's value in Python fails.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from espl_bench.engines.hf import examination, trial
from espl_bench.engines.hf.decoding import captured_step

WAITS = ("_local_scalar_dense", "item", "nonzero", "masked_select", "_unique2", "unique_dim", "is_nonzero", "equal", "lift_fresh")
"""Operations whose result the CPU needs, or that bring a value of Python to the device."""


class Recorder(TorchDispatchMode):
    """Notes every operation; those that would wait for a GPU fail."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run and note one operation."""
        name = func.overloadpacket.__name__
        by_mask = name == "index" and any(isinstance(index, Tensor) and index.dtype == torch.bool for index in args[1])
        if name in WAITS or by_mask:
            raise RuntimeError(f"operation {name} not permitted when stream is capturing")
        out = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, out))
        return out


class RecordedStep:
    """Stands in for `captured_step.Graph`."""

    made = 0

    def __init__(self, step: Callable[[], Tensor], device: torch.device, before: "RecordedStep | None") -> None:
        RecordedStep.made += 1
        step()
        with Recorder() as recorder:
            self._result = step()
        self._calls = recorder.calls

    def replay(self) -> Tensor:
        """Run the operations again, on the tensors they were recorded with."""
        for func, args, kwargs, out in self._calls:
            held = {tensor.untyped_storage().data_ptr() for tensor in _tensors((args, kwargs))}
            for before, now in zip(_tensors(out), _tensors(func(*args, **kwargs)), strict=True):
                if before.untyped_storage().data_ptr() not in held:  # else it is a view, or was written in place
                    before.copy_(now)
        return self._result


def replay_on_the_cpu(patch: pytest.MonkeyPatch) -> None:
    """Let engine hf do on the CPU what it does on a GPU, with recorded steps as graphs."""
    for module in (captured_step, examination):
        patch.setattr(module, "captures_on", lambda device: True)
    patch.setattr(captured_step, "Graph", RecordedStep)
    patch.setattr(trial, "no_waiting", _no_waiting)
    RecordedStep.made = 0


@contextmanager
def _no_waiting(device: torch.device) -> Generator[None]:
    with Recorder():
        yield


def _tensors(tree: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))
