"""The log of vLLM stays if an error has named it. A stand-in takes the place of vLLM's engine."""

import asyncio
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from espl_bench.engines.vllm import server as server_module
from espl_bench.engines.vllm.server import Server
from espl_bench.engines.vllm.setup import Serving
from espl_bench.errors import EngineError
from espl_bench.types import SampleRequest

SERVING = Serving("model", 1, "float32", on_cpu=True, shares_device=True)


class DeadError(Exception):
    pass


class StandIn:
    model_config = SimpleNamespace(max_model_len=100)

    async def generate(self, *arguments: Any, **named: Any):
        raise DeadError
        yield

    async def add_lora(self, lora: Any) -> None:
        raise RuntimeError("no room for it")

    def shutdown(self, timeout: float) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    async def start(serving: Serving) -> StandIn:
        return StandIn()

    monkeypatch.setattr(server_module, "_start", start)
    for name, content in {
        "vllm": {"SamplingParams": SimpleNamespace},
        "vllm.sampling_params": {"RequestOutputKind": SimpleNamespace(FINAL_ONLY=0)},
        "vllm.v1.engine.exceptions": {"EngineDeadError": DeadError, "EngineGenerateError": DeadError},
    }.items():
        module = ModuleType(name)
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, module)
    return Server(SERVING)


def ask(server: Server) -> None:
    asyncio.run(server.call(server.generate([SampleRequest((1,), 0, 4, 1.0)], (), None)))


@pytest.mark.parametrize("fault", ["sampling", "control"])
def test_a_log_that_an_error_names_is_kept(server: Server, fault: str):
    with pytest.raises(EngineError, match="all it said is in") as error:
        ask(server) if fault == "sampling" else asyncio.run(server.call(server.add(None)))
    server.close()
    log = Path(str(error.value).rpartition(" is in ")[2])
    assert log.exists()
    log.unlink()


def test_the_log_of_a_sound_engine_goes_with_it(server: Server):
    log = server._log
    assert log.exists()
    server.close()
    assert not log.exists()
