"""Open the training half of an engine whose sampler is elsewhere: on one device in this process, or on several in their own processes."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (the libraries below are partly untyped)

from dataclasses import dataclass
from typing import Any

import torch

from espl_bench.engines.adapter_spec import AdapterSpec
from espl_bench.engines.hf import model_loading
from espl_bench.engines.hf.adapter import lora_views
from espl_bench.engines.hf.examination import examine
from espl_bench.engines.hf.learner import Learner, WeightsLearner
from espl_bench.engines.hf.sharding.rank_processes import RankProcesses
from espl_bench.engines.hf.sharding.sharded_learner import ShardedLearner
from espl_bench.engines.hf.training.trainer import Trainer
from espl_bench.engines.model_use import ModelUse
from espl_bench.errors import UsageError


@dataclass(frozen=True, slots=True)
class OpenedLearner:
    """A learner, and what a sampler of the same model must know."""

    learner: WeightsLearner
    devices: tuple[torch.device, ...]
    tokenizer: Any
    eos_ids: frozenset[int]
    dtype: str
    """Of the base weights, as in ``float32``, or in which they are computed with where they are quantised."""
    threads: int | None
    """As `model_loading.limit_threads` says."""
    use: ModelUse


def open_learner(model: str, adapter: AdapterSpec) -> OpenedLearner:
    """Load a model for training, and give it a fresh adapter.

    Args:
        model: a local folder or a hub id.
        adapter: what is trained, and how; it names one device, or several with commas between them.

    Raises:
        ModelError: the model is missing, cannot be read, or cannot be divided among devices.
        UsageError: a device does not exist, or does not support an option.
        DeviceMemoryError: there is too little memory.
    """
    devices = _devices(adapter)
    return _on_several(model, adapter, devices) if len(devices) > 1 else _on_one(model, adapter, devices)


def _devices(adapter: AdapterSpec) -> tuple[torch.device, ...]:
    """Return the devices of a trainer. Raises UsageError for those that cannot train together."""
    names = adapter.device.split(",") if adapter.device else [None]
    devices = tuple(model_loading.pick_device(name and name.strip()) for name in names)
    kinds = {device.type for device in devices}
    if len(kinds) > 1:
        raise UsageError(f"--train-device {adapter.device} mixes kinds of devices; name devices of one kind")
    if len(devices) > 1 and not kinds <= {"cpu", "cuda"}:
        raise UsageError(f"--train-device {adapter.device}: several devices must be CUDA's (or cpu, for a trial); name one")
    if kinds != {"cpu"} and len(set(devices)) < len(devices):
        raise UsageError(f"--train-device {adapter.device} names a device twice; name each once")
    if len(devices) > 1 and adapter.quantization is not None:
        raise UsageError(f"--train-quantization {adapter.quantization} needs one device in --train-device; leave one of the two out")
    return devices


def _on_one(model: str, adapter: AdapterSpec, devices: tuple[torch.device, ...]) -> OpenedLearner:
    [device] = devices
    model_loading.require_determinism(device)
    with torch.random.fork_rng(devices=[]):  # peft draws the adapter on the CPU
        torch.default_generator.manual_seed(adapter.seed)
        plain, tokenizer = model_loading.load_base(model, adapter, device)
        threads = model_loading.limit_threads(plain)
        dtype = str(plain.dtype).removeprefix("torch.")
        eos_ids = model_loading.eos_ids(plain, tokenizer)
        opened = examine(plain, model, model_loading.ordinary_ids(plain, tokenizer))
        trained = lora_views.with_adapter(plain, adapter.rank, adapter.alpha, opened.targets)
    trainer = Trainer(trained, adapter, opened.reading)
    return OpenedLearner(Learner(trainer), devices, tokenizer, eos_ids, dtype, threads, opened.use)


def _on_several(model: str, adapter: AdapterSpec, devices: tuple[torch.device, ...]) -> OpenedLearner:
    tokenizer = model_loading.load_tokenizer(model)
    ranks = RankProcesses(model, adapter, [str(device) for device in devices])
    found = ranks.greeting
    return OpenedLearner(ShardedLearner(ranks), devices, tokenizer, found.eos_ids, found.dtype, None, found.use)
