"""Settings with which vLLM starts for a run, and explanations of failures to start.

The settings that results depend on are all here: log-probabilities after the temperature, as the trainer
computes them; none of a model's own sampling defaults; the trainer's dtype; prefix caching, since all rollouts of a group share
their prompt.
"""

import os
import re
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espl_bench.engines.vllm.worker_binding import SERVES
from espl_bench.errors import DeviceMemoryError, EsplError, ModelError, UsageError
from espl_bench.utils.model_folder import NO_CODE

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Adapter ranks that vLLM supports; a smaller adapter takes the next one."""
CPU_CACHE_BYTES = 2 * 2**30
"""KV cache on a CPU unless --gpu-memory-utilization says otherwise: vLLM would take nearly all memory."""
CPU_BLOCK = 32
"""Tokens of a block of the KV cache on a CPU. vLLM's default is 128, and shorter prompts would not be shared."""
CPU_SEQUENCES = 256
"""Concurrent requests on a CPU, vLLM's default for ``LLM``. Its default for servers is 128, less than the rollouts of a step."""
BESIDE_TRAINER, ALONE = 0.45, 0.9
"""Shares of a GPU's memory unless --gpu-memory-utilization is set: next to the trainer, and with the card to itself."""

_QUIET = {
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
}
_REASON = re.compile(r"(?:^|\s)(\w*(?:Error|Exception)): (.+)$")
_WRAPPED = ("Engine core initialization failed", "EngineCore encountered", "WorkerProc initialization failed", "Executor failed")
"""Messages with which vLLM follows the actual reason."""
_MEMORY = re.compile(r"out of memory|OutOfMemory|memory utilization|KV cache|[Aa]vailable memory|can't allocate memory", re.I)


@dataclass(frozen=True, slots=True)
class Spread:
    """The devices over which vLLM spreads a model."""

    tensor: int = 1
    pipeline: int = 1
    data: int = 1
    executor: str = "mp"
    """How workers are started: mp, processes of this machine, or ray."""

    @property
    def devices(self) -> int:
        """Number of devices in all."""
        return self.tensor * self.pipeline * self.data

    @property
    def over_machines(self) -> bool:
        """True if workers may run on other machines."""
        return self.executor == "ray"

    def require(self, here: int) -> None:
        """Raise UsageError if this machine has fewer devices than it would need."""
        if not self.over_machines and self.devices > max(here, 1):
            sizes = " x ".join(f"--{name.replace('_', '-')} {size}" for name, size in self._sizes().items() if size > 1)
            raise UsageError(
                f"{sizes} takes {self.devices} devices, and this machine shows {here}; "
                "lower it, or reach those of a Ray cluster with --distributed-executor-backend ray"
            )

    def arguments(self) -> dict[str, Any]:
        """Return arguments of ``AsyncEngineArgs``. The executor is explicit, as vLLM would choose Ray in a Ray placement group."""
        if self.devices == 1 and not self.over_machines:
            return {}
        replicas = {"data_parallel_backend": "ray"} if self.over_machines and self.data > 1 else {}
        return {**self._sizes(), "distributed_executor_backend": self.executor, **replicas}

    def _sizes(self) -> dict[str, int]:
        return {"tensor_parallel_size": self.tensor, "pipeline_parallel_size": self.pipeline, "data_parallel_size": self.data}


ONE_DEVICE = Spread()


@dataclass(frozen=True, slots=True)
class Serving:
    """Settings of a run's vLLM engine."""

    model: str
    lora_rank: int
    dtype: str
    on_cpu: bool
    shares_device: bool
    """True if the trainer is on the same card."""
    gpu_memory_utilization: float | None = None
    sleep: bool = False
    deterministic: bool = False
    threads: int | None = None
    """Threads per operation on a CPU, or None for vLLM's choice: a small model is faster with one."""
    spread: Spread = ONE_DEVICE

    def arguments(self) -> dict[str, Any]:
        """Return arguments of ``AsyncEngineArgs``."""
        return {
            "model": self.model,
            **NO_CODE,
            "dtype": self.dtype,
            "skip_tokenizer_init": True,
            "enable_lora": True,
            "max_cpu_loras": 2,
            "max_model_len": -1,  # the model's, or as much of it as there is memory for
            "max_lora_rank": next((rank for rank in RANKS if rank >= self.lora_rank), RANKS[-1]),
            "logprobs_mode": "processed_logprobs",
            "generation_config": "vllm",
            "enable_prefix_caching": True,
            "disable_log_stats": True,
            "use_tqdm_on_load": False,
            "seed": 0,
            **self.spread.arguments(),
            **(self._cpu() if self.on_cpu else self._gpu()),
        }

    def _cpu(self) -> dict[str, Any]:
        share = self.gpu_memory_utilization
        memory = {"kv_cache_memory_bytes": CPU_CACHE_BYTES} if share is None else {"gpu_memory_utilization": share}
        return {
            **memory,
            "block_size": CPU_BLOCK,
            "max_num_seqs": CPU_SEQUENCES,
            "enforce_eager": True,
            # a seeded request that is cut into chunks ends vLLM 0.32 on a CPU, where random generators have no offset
            "enable_chunked_prefill": False,
            # requests without an adapter get the last slot's if others have one (vllm-project/vllm#48421): keep it empty
            "max_loras": 2,
        }

    def _gpu(self) -> dict[str, Any]:
        share = self.gpu_memory_utilization
        if share is None:
            share = BESIDE_TRAINER if self.shares_device and not self.sleep else ALONE
        return {"gpu_memory_utilization": share, "enable_sleep_mode": self.sleep, "max_loras": 1}

    def environment(self) -> dict[str, str]:
        """Return the variables that vLLM reads while it is imported and started."""
        batching = {"VLLM_BATCH_INVARIANT": "1"} if self.deterministic else {}
        # on a CPU the engine's process then runs the model itself: one process less, and no busy waiting
        processes = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"} if self.on_cpu else {}
        threads = {"OMP_NUM_THREADS": str(self.threads)} if self.threads else {}
        return {**_QUIET, **batching, **processes, **threads, SERVES: str(os.getpid())}


@contextmanager
def variables(wanted: Mapping[str, str]) -> Generator[None]:
    """Set environment variables for a while; values the user has set take precedence."""
    added = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextmanager
def captured_log(log: Path) -> Generator[None]:
    """Redirect stdout and stderr of this process, and of those it starts meanwhile, to a file.

    The processes keep writing there, so the file also holds the messages of later failures.
    """
    saved = [os.dup(1), os.dup(2)]
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
    try:
        yield
    finally:
        for number, copy in zip((1, 2), saved, strict=True):
            os.dup2(copy, number)
            os.close(copy)


def new_log() -> Path:
    """Create an empty file for vLLM's log."""
    number, name = tempfile.mkstemp(prefix="espl-bench-vllm-", suffix=".log")
    os.close(number)
    return Path(name)


def start_failure(serving: Serving, log: Path, error: BaseException) -> EsplError:
    """Explain in one line, with a remedy, why vLLM did not start."""
    reason = last_reason(log) or _one_line(str(error))
    where = f"its full log is {log}"
    if _MEMORY.search(reason):
        lower = "lower --gpu-memory-utilization" if serving.gpu_memory_utilization is not None else "set --gpu-memory-utilization"
        return DeviceMemoryError(
            f"vLLM has too little memory for '{serving.model}': {reason}; {lower}, free the device, let the trainer use another one "
            f"(--train-device) or the same in turn (--sleep); {where}"
        )
    return ModelError(f"vLLM cannot serve '{serving.model}': {reason}; use --engine hf, or fix what it names; {where}")


def last_reason(log: Path) -> str | None:
    """Return the last reason for a failure in vLLM's log, if there is one."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        match = _REASON.search(line)
        if match and not match[2].startswith(_WRAPPED):
            return _one_line(f"{match[1]}: {match[2]}")
    return None


def _one_line(text: str) -> str:
    return " ".join(text.split())[:400]
