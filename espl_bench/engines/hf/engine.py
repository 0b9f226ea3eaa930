"""The embedded engine: any causal LM that transformers loads, with a LoRA adapter, in this process.

Three module trees share one copy of the base weights (see `lora_views`), each behind its own lock, and all torch work runs
in threads. So ``asyncio.gather(engine.train_step(...), reference.sample(...))`` overlaps, and neither affects the other.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (the libraries below are partly untyped)

import asyncio
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from espl_bench.engines.adapter_spec import AdapterSpec
from espl_bench.engines.chat import HfChat
from espl_bench.engines.engine import AdamParams, Chat
from espl_bench.engines.hf import model_loading
from espl_bench.engines.hf.adapter import lora_views
from espl_bench.engines.hf.decoding.sampling import BatchSampler
from espl_bench.engines.hf.examination import examine
from espl_bench.engines.hf.learner import Learner
from espl_bench.engines.hf.training.trainer import Trainer
from espl_bench.engines.model_source import is_tiny
from espl_bench.engines.model_use import ModelUse
from espl_bench.learning.loss_spec import LossSpec
from espl_bench.types import Completion, Datum, SampleRequest


class HfSamplingClient:
    """Samples from one module tree."""

    def __init__(self, sampler: BatchSampler, chat: HfChat) -> None:
        self.lock = threading.Lock()
        self.sampler = sampler
        self._chat = chat

    async def sample(self, requests: Sequence[SampleRequest]) -> list[Completion]:
        """Return one completion per request, in order.

        Same weights and same list of requests, in any order: the same completions, bit for bit. A request alone or
        among others gets the same random draws, but its logits may differ in the last bits.
        """
        return await asyncio.to_thread(self._sample, tuple(requests))

    def _sample(self, requests: Sequence[SampleRequest]) -> list[Completion]:
        with self.lock:
            results = self.sampler.sample(requests)
        return [result.completion(self._chat) for result in results]


@dataclass(frozen=True, slots=True)
class _Parts:
    """Everything that holds memory, released by ``close``."""

    learner: Learner
    policy: HfSamplingClient
    reference: HfSamplingClient

    @property
    def trainer(self) -> Trainer:
        """Return the learner's trainer."""
        return self.learner.trainer


class HfEngine:
    """One base model and one LoRA adapter, on one device. Made by `from_pretrained`."""

    isolates_snapshots = True
    batches_continuously = False

    def __init__(self, parts: _Parts, chat: HfChat, model_use: ModelUse) -> None:
        self.chat: Chat = chat
        self.model_use = model_use
        """What was found out about the model."""
        self._parts: _Parts | None = parts

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path,
        adapter: AdapterSpec,
        *,
        dtype: str | None = None,
        max_batch_tokens: int = 32_768,
    ) -> "HfEngine":
        """Load a model and give it a fresh adapter, which changes nothing until it is trained.

        Args:
            model: a local folder or a hub id.
            adapter: what is trained, and how; base weights and sampling are on its device.
            dtype: of the base weights, e.g. ``float32``; default: bfloat16 on cuda, else float32. The adapter is float32.
            max_batch_tokens: tokens of a sampling batch, room for new ones included.

        Raises:
            ModelError: the model is missing, cannot be read, or has no chat template.
            UsageError: the device or the dtype does not exist.
        """
        device = model_loading.pick_device(adapter.device, tiny=is_tiny(str(model)))
        model_loading.require_determinism(device)
        with torch.random.fork_rng(devices=[]):  # peft draws the adapter on the CPU
            torch.default_generator.manual_seed(adapter.seed)
            plain, tokenizer = model_loading.load_base(str(model), adapter, device, dtype)
            model_loading.limit_threads(plain)
            policy, reference = lora_views.share_weights(plain), lora_views.share_weights(plain)
            opened = examine(plain, str(model), model_loading.ordinary_ids(plain, tokenizer))
            trained = lora_views.with_adapter(plain, adapter.rank, adapter.alpha, opened.targets)
        lora_views.attach_adapter(policy, trained)
        eos_ids = model_loading.eos_ids(reference, tokenizer)
        chat = HfChat(tokenizer, eos_ids, str(model))

        def client(tree: Any) -> HfSamplingClient:
            sampler = BatchSampler(
                tree, eos_ids=eos_ids, max_batch_tokens=max_batch_tokens, reading=opened.reading, may_replay=opened.replays
            )
            return HfSamplingClient(sampler, chat)

        trainer = Trainer(trained, adapter, opened.reading)
        return cls(_Parts(Learner(trainer), client(policy), client(reference)), chat, opened.use)

    async def current(self) -> HfSamplingClient:
        """Return a client of the current weights. There is one policy tree: this call also updates older clients."""
        return await asyncio.to_thread(self._current)

    def _current(self) -> HfSamplingClient:
        parts = self._open()
        with parts.learner.lock, parts.policy.lock:
            lora_views.sync_adapter(parts.policy.sampler.model, parts.trainer.model)
        return parts.policy

    async def reference(self) -> HfSamplingClient:
        """Return a client of the base weights, adapter off. It may sample while ``train_step`` runs."""
        return self._open().reference

    async def train_step(self, data: Sequence[Datum], loss: LossSpec, adam: AdamParams) -> Mapping[str, float]:
        """Take one optimiser step on the sum over data and tokens; without data, no step. For the metrics see `Trainer.step`."""
        return await self._open().learner.train_step(data, loss, adam)

    async def score(self, data: Sequence[Datum], *, reference: bool) -> list[tuple[float, ...]]:
        """Return the log-probabilities of the sampled tokens (`engines.engine.ScoringEngine`)."""
        return await self._open().learner.score(data, reference=reference)

    async def divergence(self, data: Sequence[Datum], others: Sequence[Datum]) -> list[tuple[float, ...]]:
        """Return the divergence from the base at each sampled token (`engines.engine.MeasurableEngine`)."""
        return await self._open().learner.divergence(data, others)

    async def load_weights(self, folder: Path) -> None:
        """Take the weights that ``save`` wrote, with a fresh optimiser. Raises CheckpointError as `load`."""
        await self._open().learner.load_weights(folder)

    async def save(self, folder: Path) -> None:
        """Write adapter and optimiser into an existing empty folder (`hf.checkpoint` names the files)."""
        await self._open().learner.save(folder)

    async def load(self, folder: Path) -> None:
        """Restore what ``save`` wrote; training continues bit for bit. Call ``current`` again afterwards.

        Raises:
            CheckpointError: a file is missing, damaged, or belongs to another model or adapter.
        """
        await self._open().learner.load(folder)

    async def close(self) -> None:
        """Free the weights. The engine and its clients are unusable afterwards."""
        self._parts = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _open(self) -> _Parts:
        if self._parts is None:
            raise RuntimeError("the engine is closed")
        return self._parts
