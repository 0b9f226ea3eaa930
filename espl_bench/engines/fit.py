"""What this machine can run: its devices, versions, and which sizes of model fit. Facts are read, the fit is arithmetic.

The memory of a size is an estimate from the shapes of dense models of its class, for the engine `hf` with its defaults: one
device holds the base weights once (policy and reference share them, the adapter is switched), an adapter on every linear
layer in float32 with gradients and Adam's two moments, and either the key-value cache of the rollouts in flight or the
activations of one micro-batch, whichever is larger. A fifth of the device is left to the allocator and to what is not counted.
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
"""Share of a device that is planned with."""
PACKAGES = ("espl-bench", "torch", "transformers", "peft", "vllm", "ray", "tinker")
CONTEXT = 2048
"""Tokens of prompt and answer together that a rollout is planned with."""
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
        """Weights."""
        return self.billions * 1e9

    @property
    def adapter(self) -> float:
        """Weights of an adapter of rank `RANK`: attention is four squares, a gated layer three oblongs of four times the width."""
        return RANK * self.layers * self.hidden * (4 * 2 + 3 * 5)

    def sampling(self, width: int) -> float:
        """Bytes of weights and cache while rollouts are sampled; `width` is the bytes of a weight."""
        return self.parameters * width + AT_ONCE * CONTEXT * 2 * self.layers * self.kv_width * width

    def learning(self, width: int, checkpointing: bool = False) -> float:
        """Bytes of a trainer that somebody else samples for: the adapter with its optimiser, and one micro-batch.

        With gradient checkpointing, only what goes into a layer is kept, and what is inside of it for one layer at a time.
        """
        inputs = MICRO_BATCH * self.hidden * width
        block = 17 * inputs  # one layer's for the backward pass (arXiv 2205.05198: 34 bytes at two a number)
        kept = self.layers * inputs + block if checkpointing else self.layers * block
        logits = 4 * min(MICRO_BATCH * self.vocabulary, PIECE) * 4  # softmax and gradients, in float32
        return self.adapter * 4 * 4 + self.parameters * width + kept + logits

    def training(self, width: int) -> float:
        """Bytes at the largest moment of an iteration: the adapter with its optimiser all the time, and sampling or a micro-batch."""
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
    """Something that computes."""

    kind: str
    """cpu, cuda or mps."""
    name: str
    memory: int
    """Bytes in all."""
    free: int
    """Bytes that nobody uses now."""

    @property
    def weight_bytes(self) -> int:
        """As the engine `hf` holds weights there: bfloat16 on cuda, else float32."""
        return 2 if self.kind == "cuda" else 4


@dataclass(frozen=True, slots=True)
class Machine:
    """What was found."""

    cores: int
    """That this process may use."""
    devices: tuple[Device, ...]
    """Accelerators if there are any, else the processor with the main memory."""
    versions: dict[str, str | None]
    disk_free: int
    """Bytes where the runs would go, here."""
    troubles: tuple[str, ...]
    """What stands in the way of what the machine could do, with the remedy."""

    @property
    def device(self) -> Device:
        """The one that a run would take: that with most memory."""
        return max(self.devices, key=lambda device: device.memory)


@dataclass(frozen=True, slots=True)
class Fit:
    """What a machine makes of a size of model."""

    size: Size
    sampling: float
    """Bytes."""
    training: float
    """Bytes, sampling included."""
    samples: bool
    """Whether the methods that freeze weights run on one device."""
    trains: bool
    """Whether the methods that learn weights do."""
    spread: int | None
    """Devices of a tensor-parallel group that would hold it for sampling, a power of two; None if there are too few."""


def examine() -> Machine:
    """Look at this machine. Loads torch."""
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
    """Which sizes the machine can run. Memory in all decides, not what happens to be free."""
    room, width = machine.device.memory * USABLE, machine.device.weight_bytes
    found: list[Fit] = []
    for size in sizes:
        sampling, training = size.sampling(width), size.training(width)
        spread = _group(size, machine, len(machine.devices))
        found.append(Fit(size, sampling, training, sampling <= room, training <= room, spread))
    return tuple(found)


def _group(size: Size, machine: Machine, devices: int) -> int | None:
    """The smallest power of two of these devices that holds a model for sampling; None if all are too few."""
    room = machine.device.memory * USABLE
    groups = (2**power for power in range(devices.bit_length()) if 2**power <= devices)
    return next((group for group in groups if size.sampling(machine.device.weight_bytes) / group <= room), None)


def recommended(machine: Machine, found: Sequence[Fit]) -> str:
    """The command to begin with: the largest model that can be trained, or the shipped one where an accelerator is missing."""
    options = _over_devices(machine, found) or _on_one(machine, found)
    if options is None:
        return "espl-bench run --method espl --env rulebook"
    return f"espl-bench data get beyondaime && espl-bench run --method espl --env beyondaime {options}"


def _on_one(machine: Machine, found: Sequence[Fit]) -> str | None:
    """The options of a run on one device."""
    best = next((fit for fit in reversed(found) if fit.trains), None)
    return None if machine.device.kind == "cpu" or best is None else f"--model {best.size.example}"


def _over_devices(machine: Machine, found: Sequence[Fit]) -> str | None:
    """The options of a run in which the trainer has a device of its own, and vLLM the others."""
    others = len(machine.devices) - 1
    if machine.device.kind != "cuda" or machine.versions["vllm"] is None or others < 1:
        return None
    room, width = machine.device.memory * USABLE, machine.device.weight_bytes
    for fit, checkpointing in product(reversed(found), (False, True)):
        group = _group(fit.size, machine, others)
        if group is not None and fit.size.learning(width, checkpointing) <= room:
            sizes = {"tensor": group, "data": others // group}
            parallel = "".join(f" --{name}-parallel-size {size}" for name, size in sizes.items() if size > 1)
            slower = " --gradient-checkpointing" if checkpointing else ""
            return f"--model {fit.size.example} --engine vllm{parallel} --train-device cuda:{group * sizes['data']}{slower}"
    return None


def main_memory() -> tuple[int, int]:
    """Bytes of main memory in all, and free; a container's bound counts where it is smaller."""
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
    found: list[str] = []
    if devices[0].kind == "cpu" and Path("/proc/driver/nvidia/version").exists():
        why = (
            "its driver is older than this torch needs, or hidden by CUDA_VISIBLE_DEVICES" if cuda_build else "torch is a build for the CPU"
        )
        found.append(f"there is an NVIDIA device that torch does not see: {why}; see pytorch.org/get-started")
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if threads.isdecimal() and int(threads) > cores:
        found.append(f"OMP_NUM_THREADS is {threads}, and this process may use {cores} cores; unset it")
    if devices[0].kind == "cuda" and versions["vllm"] is None:
        found.append("vllm is not installed; sampling large models is many times faster with it: pip install 'espl-bench[vllm]'")
    taken = [device for device in devices if device.kind == "cuda" and device.free < 0.9 * device.memory]
    found.extend(f"{device.name}: {(device.memory - device.free) / GIB:.1f} GiB are in use by others" for device in taken)
    return found
