"""Engine vllm for real, on the CPU. Run by `make test-vllm`; skipped where vLLM is not installed."""

import asyncio
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from espl_bench.engines.adapter_spec import AdapterSpec

if find_spec("vllm") is None:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def engine(lab_model: Path) -> Iterator[Any]:
    """One engine for all tests of a session, as starting one takes a minute: each finds it as some other left it."""
    from espl_bench.engines.vllm.engine import VllmEngine

    started = VllmEngine.from_pretrained(str(lab_model), AdapterSpec(rank=4, alpha=8.0, seed=0))
    yield started
    asyncio.run(started.close())
    assert not [thread for thread in threading.enumerate() if thread.name == "vllm"]
