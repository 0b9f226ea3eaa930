"""Inspect this machine: its devices, package versions, and the model sizes that fit in its memory.

The memory of a size is an estimate from the shapes of dense models of its class, for the engine `hf` with its defaults: one
device holds the base weights once (policy and reference share them, the adapter is switched), an adapter on every linear
layer in float32 with gradients and Adam's two moments, and either the key-value cache of the rollouts in flight or the
activations of one micro-batch, whichever is larger. A fifth of the device is reserved for the allocator and for what is not counted.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from espl_bench.engines.adapter_spec import MICRO_BATCH, PIECE, RANK
from espl_bench.utils.system import installed_version, usable_cores

GIB = 2**30
USABLE = 0.8
"""Share of a device's memory that estimates may use."""
PACKAGES = ("espl-bench", "torch", "transformers", "peft", "vllm", "ray", "tinker")
NF4_BYTES = (4 + 8 / 64 + 32 / (64 * 256)) / 8
"""Of a weight in 4 bits: its own, its part of a scale in 8 bits for 64 weights, and of the scale of 256 scales."""
CONTEXT = 2048
"""Tokens of prompt and answer together assumed for a rollout."""
AT_ONCE = 50
"""Rollouts in flight of the default shape: an iteration's 150 in three calls."""


@dataclass(frozen=True, slots=True)
class Size:
    """A class of dense models, by the shape that its members have in common."""

    billions: float
    layers: int
    hidden: int
    kv_width: int
    """Numbers of one key of one token, all heads together."""
    vocabulary: int
    example: str
    """A hub id of the class."""

    @property
    def parameters(self) -> float:
        """Number of weights."""
        return self.billions * 1e9

    @property
    def adapter(self) -> float:
        """Weights of an adapter of rank `RANK`: attention has four square matrices, a gated layer three of four times the width."""
        return RANK * self.layers * self.hidden * (4 * 2 + 3 * 5)

    def sampling(self, width: int) -> float:
        """Return the bytes of weights and cache while rollouts are sampled; `width` is the bytes of a weight."""
        return self.parameters * width + AT_ONCE * CONTEXT * 2 * self.layers * self.kv_width * width

    def held(self, width: int, quantized: bool) -> float:
        """Return the bytes of the base weights; in 4 bits (`hf.quantization`) embeddings and output layer stay as they are."""
        ends = 2 * self.vocabulary * self.hidden
        return (self.parameters - ends) * NF4_BYTES + ends * width if quantized else self.parameters * width

    def learning(self, width: int, checkpointing: bool = False, quantized: bool = False) -> float:
        """Return the bytes of a trainer without a sampler: the adapter with its optimiser, and one micro-batch.

        With gradient checkpointing, only the inputs of layers are kept, and the activations inside them for one layer at a time.
        """
        inputs = MICRO_BATCH * self.hidden * width
        block = 17 * inputs  # one layer's for the backward pass (arXiv 2205.05198: 34 bytes at two a number)
        activations = self.layers * inputs + block if checkpointing else self.layers * block
        logits = 4 * min(MICRO_BATCH * self.vocabulary, PIECE) * 4  # softmax and gradients, in float32
        return self.adapter * 4 * 4 + self.held(width, quantized) + activations + logits

    def training(self, width: int) -> float:
        """Return the peak bytes of an iteration: adapter and optimiser throughout, and sampling or a micro-batch."""
        return max(self.adapter * 4 * 4 + self.sampling(width), self.learning(width))


SIZES = (
    Size(0.6, 28, 1024, 1024, 151_936, "Qwen/Qwen3-0.6B"),
    Size(1.7, 28, 2048, 1024, 151_936, "Qwen/Qwen3-1.7B"),
    Size(4.0, 36, 2560, 1024, 151_936, "Qwen/Qwen3-4B"),
    Size(8.2, 36, 4096, 1024, 151_936, "Qwen/Qwen3-8B"),
    Size(14.8, 40, 5120, 1024, 151_936, "Qwen/Qwen3-14B"),
    Size(32.8, 64, 5120, 1024, 151_936, "Qwen/Qwen3-32B"),
    Size(70.6, 80, 8192, 1024, 128_256, "meta-llama/Llama-3.3-70B-Instruct"),
)


@dataclass(frozen=True, slots=True)
class Device:
    """A CPU or accelerator."""

    kind: str
    """cpu, cuda or mps."""
    name: str
    memory: int
    """Total bytes."""
    free: int
    """Bytes not in use now."""

    @property
    def weight_bytes(self) -> int:
        """Bytes of a weight in engine `hf`: bfloat16 on cuda, else float32."""
        return 2 if self.kind == "cuda" else 4


@dataclass(frozen=True, slots=True)
class Machine:
    """The hardware and packages of this machine."""

    cores: int
    """Cores that this process may use."""
    devices: tuple[Device, ...]
    """Accelerators if there are any, else the CPU with main memory."""
    versions: dict[str, str | None]
    disk_free: int
    """Bytes free in the current folder, where runs would go."""
    troubles: tuple[str, ...]
    """Problems that keep the machine from its full use, each with the remedy."""

    @property
    def device(self) -> Device:
        """Return the device a run would use: the one with the most memory."""
        return max(self.devices, key=lambda device: device.memory)


@dataclass(frozen=True, slots=True)
class Fit:
    """How a model size fits on a machine."""

    size: Size
    sampling: float
    """Bytes."""
    training: float
    """Bytes, sampling included."""
    samples: bool
    """True if methods that freeze weights run on one device."""
    trains: bool
    """True if methods that train weights run on one device."""
    spread: int | None
    """Devices of a tensor-parallel group that hold it for sampling, a power of two; None if there are too few."""


def examine() -> Machine:
    """Inspect this machine. Loads torch."""
    import torch

    cores = usable_cores()
    devices: list[Device] = []
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            devices.append(Device("cuda", torch.cuda.get_device_name(index), total, free))
    elif torch.backends.mps.is_available():
        devices.append(Device("mps", "Apple GPU", *main_memory()))
    else:
        devices.append(Device("cpu", f"{cores} cores", *main_memory()))
    versions = {name: installed_version(name) for name in PACKAGES}
    troubles = _troubles(devices, cores, versions, torch.version.cuda is not None)
    return Machine(cores, tuple(devices), versions, shutil.disk_usage(Path()).free, tuple(troubles))


def fits(machine: Machine, sizes: Sequence[Size] = SIZES) -> tuple[Fit, ...]:
    """Return how each size fits on the machine. Total memory decides, not what happens to be free."""
    room, width = machine.device.memory * USABLE, machine.device.weight_bytes
    results: list[Fit] = []
    for size in sizes:
        sampling, training = size.sampling(width), size.training(width)
        spread = _group(size, machine, len(machine.devices))
        results.append(Fit(size, sampling, training, sampling <= room, training <= room, spread))
    return tuple(results)


def _group(size: Size, machine: Machine, devices: int) -> int | None:
    """Return the smallest power of two of these devices that holds a model for sampling; None if all are too few."""
    room = machine.device.memory * USABLE
    groups = (2**power for power in range(devices.bit_length()) if 2**power <= devices)
    return next((group for group in groups if size.sampling(machine.device.weight_bytes) / group <= room), None)


def recommended(machine: Machine, results: Sequence[Fit]) -> str:
    """Return the command to start with: the largest model that can be trained, or the shipped one without an accelerator."""
    options = _over_devices(machine, results) or _on_one(machine, results)
    if options is None:
        return "espl-bench run --method espl --env rulebook"
    return f"espl-bench data get beyondaime && espl-bench run --method espl --env beyondaime {options}"


def _on_one(machine: Machine, results: Sequence[Fit]) -> str | None:
    """Return the options of a run on one device."""
    best = next((fit for fit in reversed(results) if fit.trains), None)
    return None if machine.device.kind == "cpu" or best is None else f"--model {best.size.example}"


def _over_devices(machine: Machine, results: Sequence[Fit]) -> str | None:
    """Return the options of a run in which the trainer has a device of its own and vLLM has the others."""
    others = len(machine.devices) - 1
    if machine.device.kind != "cuda" or machine.versions["vllm"] is None or others < 1:
        return None
    room, width = machine.device.memory * USABLE, machine.device.weight_bytes
    for fit, checkpointing in product(reversed(results), (False, True)):
        group = _group(fit.size, machine, others)
        if group is not None and fit.size.learning(width, checkpointing) <= room:
            sizes = {"tensor": group, "data": others // group}
            parallel = "".join(f" --{name}-parallel-size {size}" for name, size in sizes.items() if size > 1)
            slower = " --gradient-checkpointing" if checkpointing else ""
            return f"--model {fit.size.example} --engine vllm{parallel} --train-device cuda:{group * sizes['data']}{slower}"
    return None


def in_4_bits(machine: Machine, results: Sequence[Fit]) -> str | None:
    """Say what a trainer on a device of its own can hold in 4 bits; None without CUDA, or where that is no larger model."""
    room, width = machine.device.memory * USABLE, machine.device.weight_bytes

    def largest(quantized: bool) -> Size | None:
        return next((fit.size for fit in reversed(results) if fit.size.learning(width, True, quantized) <= room), None)

    size = largest(quantized=True)
    if machine.device.kind != "cuda" or size is None or size == largest(quantized=False):
        return None
    return (
        f"a trainer on a device of its own holds up to {size.example} in 4 bits: --engine vllm --train-device cuda:N "
        "--train-quantization nf4 --gradient-checkpointing (pip install 'espl-bench[quantized]')"
    )


def main_memory() -> tuple[int, int]:
    """Return the total and free bytes of main memory, within a container's limit if that is smaller."""
    page = os.sysconf("SC_PAGE_SIZE")
    total = page * os.sysconf("SC_PHYS_PAGES")
    free = page * os.sysconf("SC_AVPHYS_PAGES") if "SC_AVPHYS_PAGES" in os.sysconf_names else total
    try:
        available = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable:"))
        free = int(available.split()[1]) * 1024
        bound = int(Path("/sys/fs/cgroup/memory.max").read_text())
    except (OSError, ValueError, StopIteration):  # another system, or "max"
        return total, min(total, free)
    return min(total, bound), min(total, bound, free)


def _troubles(devices: Sequence[Device], cores: int, versions: dict[str, str | None], cuda_build: bool) -> list[str]:
    troubles: list[str] = []
    if devices[0].kind == "cpu" and Path("/proc/driver/nvidia/version").exists():
        why = (
            "its driver is older than this torch needs, or hidden by CUDA_VISIBLE_DEVICES" if cuda_build else "torch is a build for the CPU"
        )
        troubles.append(f"there is an NVIDIA device that torch does not see: {why}; see pytorch.org/get-started")
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if threads.isdecimal() and int(threads) > cores:
        troubles.append(f"OMP_NUM_THREADS is {threads}, and this process may use {cores} cores; unset it")
    if devices[0].kind == "cuda" and versions["vllm"] is None:
        troubles.append("vllm is not installed; sampling large models is many times faster with it: pip install 'espl-bench[vllm]'")
    taken = [device for device in devices if device.kind == "cuda" and device.free < 0.9 * device.memory]
    troubles.extend(f"{device.name}: {(device.memory - device.free) / GIB:.1f} GiB are in use by others" for device in taken)
    return troubles
