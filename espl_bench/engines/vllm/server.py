"""Run vLLM's asynchronous engine on an event loop of its own, in a thread.

It outlives any ``asyncio.run`` of its callers, and a blocked loop of theirs does not stop its continuous batching. This module
uses vLLM's terms only; `vllm.engine` defines policy and reference.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
# (vLLM is an optional package, and untyped in parts)

import asyncio
import gc
import logging
import threading
from collections.abc import Awaitable, Coroutine, Sequence
from itertools import count
from typing import Any, TypeVar

from espl_bench.engines.sampled import CUT, Sampled
from espl_bench.engines.vllm import setup
from espl_bench.engines.vllm.setup import Serving
from espl_bench.errors import EngineError
from espl_bench.types import SampleRequest, StopReason

Result = TypeVar("Result")

SHUTDOWN_S = 20.0
"""Seconds after which vLLM's processes are killed; they then leave their shared memory behind."""


class Server:
    """One running vLLM engine. Its coroutines are called from any loop or thread through `call`."""

    def __init__(self, serving: Serving) -> None:
        """Start the engine and its processes, which takes about a minute.

        Raises:
            DeviceMemoryError: there is not enough memory.
            ModelError: vLLM cannot serve the model.
        """
        self._log = setup.new_log()
        self._keeps_log = False
        """True once an error has named the log."""
        self._numbers = count()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="vllm", daemon=True)
        self._thread.start()
        try:
            with setup.variables(serving.environment()), setup.captured_log(self._log):
                self._llm: Any = asyncio.run_coroutine_threadsafe(_start(serving), self._loop).result()
        except (RuntimeError, ValueError, OSError, ImportError) as error:
            self._end_loop()
            raise setup.start_failure(serving, self._log, error) from error
        logging.getLogger("vllm").setLevel(logging.ERROR)  # of this process; the others write into the log
        self.context: int = self._llm.model_config.max_model_len
        """Maximum tokens of prompt and completion together."""
        gc.collect()
        gc.freeze()  # vLLM's imports stay; collecting over them would take a third of a second within an iteration

    async def call(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine on the engine's loop. Cancelling this cancels it."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    async def generate(self, requests: Sequence[SampleRequest], eos_ids: Sequence[int], lora: Any) -> list[Sampled]:
        """Return one result per request, in order; all are in the engine at once. Runs on the engine's loop.

        Args:
            requests: prompts and sampling settings.
            eos_ids: ids that end a completion; with none, it continues to its limit.
            lora: a ``LoRARequest``, or None for the base model.

        Raises:
            EngineError: the engine has died.
        """
        return list(await asyncio.gather(*(self._one(request, eos_ids, lora) for request in requests)))

    async def _one(self, request: SampleRequest, eos_ids: Sequence[int], lora: Any) -> Sampled:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind
        from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

        limit = min(request.max_tokens, self.context - len(request.prompt_T))
        if limit <= 0:
            return CUT
        parameters = SamplingParams(
            temperature=request.temperature,
            top_p=request.top_p,
            seed=request.seed,
            max_tokens=limit,
            stop_token_ids=list(eos_ids),
            ignore_eos=not eos_ids,
            logprobs=0,
            flat_logprobs=True,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        prompt: Any = {"type": "token", "prompt_token_ids": list(request.prompt_T)}
        last: Any = None
        try:
            async for output in self._llm.generate(prompt, parameters, str(next(self._numbers)), lora_request=lora):
                last = output.outputs[0]
        except (EngineDeadError, EngineGenerateError) as error:
            raise self._fault() from error
        reason = StopReason.STOP if last.finish_reason == "stop" else StopReason.LENGTH
        return Sampled(tuple(last.token_ids), tuple(last.logprobs.logprobs), reason)

    async def add(self, lora: Any) -> None:
        """Load an adapter. Runs on the engine's loop. Raises EngineError if it cannot be served."""
        await self._control("load the adapter", self._llm.add_lora(lora))

    async def remove(self, lora: Any) -> None:
        """Unload an adapter. Runs on the engine's loop."""
        await self._control("unload the adapter", self._llm.remove_lora(lora.lora_int_id))

    async def sleep(self) -> None:
        """Free the device's memory; the weights move to the host's. Runs on the engine's loop."""
        await self._control("sleep", self._llm.sleep(level=1))

    async def wake(self) -> None:
        """Take the device's memory again. Runs on the engine's loop. Raises EngineError if it is in use."""
        await self._control("wake up", self._llm.wake_up())

    async def _control(self, what: str, done: Awaitable[Any]) -> None:
        """Await a vLLM control call, wrapping failures in EngineError."""
        try:
            await done
        except Exception as error:  # what fails there arrives as a bare Exception
            self._keeps_log = True
            raise EngineError(f"vLLM cannot {what} ({' '.join(str(error).split())[:400]}); all it said is in {self._log}") from error

    def _fault(self) -> EngineError:
        """Return the error for an engine that has died."""
        self._keeps_log = True
        reason = setup.last_reason(self._log)
        return EngineError(f"vLLM has stopped{f' ({reason})' if reason else ''}; all it said is in {self._log}")

    def close(self) -> None:
        """End the engine's processes. A second call does nothing. The log is deleted, unless an error has named it."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._shut_down(), self._loop).result()
            self._end_loop()
            gc.unfreeze()
            if not self._keeps_log:
                self._log.unlink(missing_ok=True)

    async def _shut_down(self) -> None:
        llm, self._llm = self._llm, None
        llm.shutdown(timeout=SHUTDOWN_S)
        llm.shutdown = _already_shut_down  # its finaliser calls it again, and fails late in interpreter shutdown
        own = asyncio.all_tasks() - {asyncio.current_task()}
        for task in own:
            task.cancel()
        await asyncio.gather(*own, return_exceptions=True)

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


def _already_shut_down(timeout: float | None = None) -> None:
    """Replace `shutdown` with a no-op."""


async def _start(serving: Serving) -> Any:
    """Make an ``AsyncLLM`` that belongs to the running loop.

    It gets the batch sizes of ``LLM``, which is made for many requests at once: on an H100 1,024 sequences and 16,384 tokens. Those of
    an engine without a usage context are 128 and 2,048 on every device, less than the rollouts of a step.
    """
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.usage.usage_lib import UsageContext
    from vllm.v1.engine.async_llm import AsyncLLM

    return AsyncLLM.from_engine_args(AsyncEngineArgs(**serving.arguments()), usage_context=UsageContext.LLM_CLASS)
