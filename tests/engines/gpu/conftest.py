"""Both engines on an accelerator. Run by `make test-gpu`; skipped where there is none.

`ESPL_BENCH_TEST_DEVICE=cpu` runs the same tests on the CPU, so that they can be written and kept in order without a card.
"""

import os

import pytest
import torch

DEVICE = os.environ.get("ESPL_BENCH_TEST_DEVICE", "cuda")


@pytest.fixture(scope="session")
def device() -> str:
    """The device of these tests."""
    if DEVICE == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA here")
    return DEVICE
