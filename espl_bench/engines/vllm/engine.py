"""The engine for full speed: vLLM samples, transformers + peft train, both from the same base weights.

vLLM runs in processes of its own. Requests of the policy (with the newest adapter) and of the reference (without one) are in
flight at the same time and batch together, and the reference samples while the trainer computes. On one card vLLM and trainer
share its memory; if that is too small for both at once, vLLM sleeps while the weights are trained.
"""
# pyright: reportUnknownMemberType=false
# (torch is partly untyped)

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from espl_bench.engines.adapter_spec import AdapterSpec
from espl_bench.engines.chat import HfChat
from espl_bench.engines.engine import AdamParams, Chat
from espl_bench.engines.hf.learner import WeightsLearner
from espl_bench.engines.hf.opening import open_learner
from espl_bench.engines.model_use import ModelUse
from espl_bench.engines.vllm.adapters import Adapters
from espl_bench.engines.vllm.server import Server
from espl_bench.engines.vllm.setup import ONE_DEVICE, Serving, Spread
from espl_bench.errors import EsplError, UsageError
from espl_bench.learning.loss_spec import LossSpec
from espl_bench.types import Completion, Datum, Message, SampleRequest

_FIRST_PROBE = (Message("user", "Say what you see."),)


class VllmSamplingClient:
    """Samples from the base model, or from the newest adapter version."""

    def __init__(self, server: Server, chat: HfChat, adapters: Adapters | None) -> None:
        """Sample from the newest of `adapters`, or from the base model without them."""
        self._server = server
        self._chat = chat
        self._adapters = adapters
        self._eos_ids = sorted(chat.eos_ids)

    async def sample(self, requests: Sequence[SampleRequest]) -> list[Completion]:
        """Return one completion per request, in order. Seeds bind; the last bits of a logit depend on the rest of the batch.

        Raises:
            EngineError: vLLM has died.
        """
        newest = self._adapters.newest if self._adapters else None
        lora = newest.lora if newest else None
        results = await self._server.call(self._server.generate(requests, self._eos_ids, lora))
        return [result.completion(self._chat) for result in results]


@dataclass(slots=True)
class _Parts:
    """Everything that holds memory or processes, released by ``close``."""

    learner: WeightsLearner
    server: Server
    adapters: Adapters
    stale: bool = True
    """True if the trainer's adapter is newer than the served one."""
    asleep: bool = False


class VllmEngine:
    """One base model and one LoRA adapter, held twice: by vLLM and by the trainer. Made by `from_pretrained`."""

    batches_continuously = True

    def __init__(self, parts: _Parts, chat: HfChat, sleeps: bool, model_use: ModelUse) -> None:
        self.chat: Chat = chat
        self.isolates_snapshots = not sleeps
        self._chat = chat
        self._parts: _Parts | None = parts
        self.model_use = model_use
        """What was found out about the model."""

    @classmethod
    def from_pretrained(
        cls,
        model: str,
        adapter: AdapterSpec,
        *,
        gpu_memory_utilization: float | None = None,
        sleep: bool = False,
        deterministic: bool = False,
        spread: Spread = ONE_DEVICE,
    ) -> "VllmEngine":
        """Load a model for training, have vLLM load it for sampling, and give it a fresh adapter.

        Args:
            model: a local folder or a hub id.
            adapter: what is trained, and how.
            gpu_memory_utilization: share of vLLM's device's memory that it takes.
            sleep: vLLM frees its memory while weights are trained.
            deterministic: vLLM's results do not depend on what a request is batched with.
            spread: devices over which vLLM spreads the model; the trainer has it on one.

        Raises:
            ModelError: the model is missing, cannot be read, has no chat template, or cannot be served.
            UsageError: a device does not exist, or does not support an option.
            DeviceMemoryError: there is too little memory.
        """
        on_cpu = not torch.cuda.is_available()
        _require_devices(spread, sleep, deterministic, on_cpu)
        opened = open_learner(model, adapter)
        learner = opened.learner
        serving = Serving(
            model=model,
            lora_rank=adapter.rank,
            dtype=opened.dtype,
            on_cpu=on_cpu,
            shares_device=on_cpu or any((device.index or 0) < spread.devices for device in opened.devices),
            gpu_memory_utilization=gpu_memory_utilization,
            sleep=sleep,
            deterministic=deterministic,
            threads=opened.threads,
            spread=spread,
        )
        try:
            chat = HfChat(opened.tokenizer, opened.eos_ids, model)
            server = Server(serving)
        except EsplError:
            learner.close()
            raise
        held = adapter.quantization or opened.dtype
        adapters = Adapters(server, learner, held, chat.encode(_FIRST_PROBE), in_memory=not spread.over_machines)
        return cls(_Parts(learner, server, adapters), chat, sleep, replace(opened.use, reading="vllm"))

    async def current(self) -> VllmSamplingClient:
        """Return a client of the current weights, served and checked. This call also updates older clients.

        Raises:
            EngineError: what vLLM serves is not what was trained.
        """
        parts = await self._awake()
        if parts.stale:
            await parts.server.call(parts.adapters.publish())
            parts.stale = False
        return VllmSamplingClient(parts.server, self._chat, parts.adapters)

    async def reference(self) -> VllmSamplingClient:
        """Return a client of the base weights. It may sample while ``train_step`` runs, unless vLLM then sleeps."""
        parts = await self._awake()
        return VllmSamplingClient(parts.server, self._chat, None)

    async def train_step(self, data: Sequence[Datum], loss: LossSpec, adam: AdamParams) -> Mapping[str, float]:
        """Take one optimiser step on the sum over data and tokens; without data, no step. For the metrics see `Trainer.step`."""
        parts = await self._resting()
        metrics = await parts.learner.train_step(data, loss, adam)
        if data:
            parts.adapters.prompt = _prompt(data[0])
            parts.stale = True
        return metrics

    async def score(self, data: Sequence[Datum], *, reference: bool) -> list[tuple[float, ...]]:
        """Return the trainer's log-probabilities of the sampled tokens (`engines.engine.ScoringEngine`)."""
        parts = await self._resting()
        return await parts.learner.score(data, reference=reference)

    async def save(self, folder: Path) -> None:
        """Write adapter and optimiser into an existing empty folder: engine hf reads them too."""
        await self._open().learner.save(folder)

    async def load(self, folder: Path) -> None:
        """Restore what ``save`` of this engine or of hf wrote. Call ``current`` again afterwards.

        Raises:
            CheckpointError: a file is missing, damaged, or belongs to another model or adapter.
        """
        parts = self._open()
        await parts.learner.load(folder)
        parts.stale = True

    async def close(self) -> None:
        """End vLLM and free the weights. The engine and its clients are unusable afterwards."""
        parts, self._parts = self._parts, None
        if parts is not None:
            parts.server.close()
            parts.adapters.close()
            parts.learner.close()

    async def _resting(self) -> _Parts:
        """Return the parts once the trainer may compute: vLLM sleeps if the two share a card that is too small for both."""
        parts = self._open()
        if not self.isolates_snapshots and not parts.asleep:
            await parts.server.call(parts.server.sleep())
            parts.asleep = True
        return parts

    async def _awake(self) -> _Parts:
        """Return the parts once vLLM can sample. Memory cached by the trainer is freed on the card first."""
        parts = self._open()
        if parts.asleep:
            torch.cuda.empty_cache()
            await parts.server.call(parts.server.wake())
            parts.asleep = False
            parts.stale = True  # an adapter may not survive the sleep (vllm-project/vllm#53888): publish and check it again
        return parts

    def _open(self) -> _Parts:
        if self._parts is None:
            raise RuntimeError("the engine is closed")
        return self._parts


def _prompt(datum: Datum) -> tuple[int, ...]:
    """Return the policy's first prompt in a trajectory."""
    return datum.tokens_T[: datum.mask_T.index(True)] if any(datum.mask_T) else datum.tokens_T


def _require_devices(spread: Spread, sleep: bool, deterministic: bool, on_cpu: bool) -> None:
    """Raise UsageError if vLLM does not support an option on this machine."""
    if on_cpu and (sleep or deterministic):
        option = "--sleep" if sleep else "--deterministic"
        raise UsageError(f"{option} needs CUDA: on a CPU vLLM has no such mode; leave it out")
    if not on_cpu:
        spread.require(torch.cuda.device_count())
