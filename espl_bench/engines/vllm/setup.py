"""How vLLM is asked to start for a run, and what its failures to do so mean.

The choices that results depend on stand here and nowhere else: log-probabilities after the temperature, as the trainer
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

from espl_bench.engines.vllm.child import SERVES
from espl_bench.errors import DeviceMemoryError, EsplError, ModelError, UsageError

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Adapter ranks that vLLM has room for; a smaller adapter takes the next one."""
CPU_CACHE_BYTES = 2 * 2**30
"""KV cache on a CPU unless --gpu-memory-utilization says otherwise: vLLM would take nearly all memory."""
CPU_BLOCK = 32
"""Tokens of a block of the KV cache on a CPU. vLLM takes 128, and shares no prompt that is shorter."""
CPU_SEQUENCES = 256
"""Requests at once on a CPU: what vLLM gives ``LLM``. It would give a server 128, and the rollouts of a step are more."""
BESIDE_TRAINER, ALONE = 0.45, 0.9
"""Shares of a GPU's memory unless --gpu-memory-utilization says otherwise: beside the trainer, and with the card to itself."""

_QUIET = {
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
}
_REASON = re.compile(r"(?:^|\s)(\w*(?:Error|Exception)): (.+)$")
_WRAPPED = ("Engine core initialization failed", "EngineCore encountered", "WorkerProc initialization failed", "Executor failed")
"""What vLLM says after the reason has been told."""
_MEMORY = re.compile(r"out of memory|OutOfMemory|memory utilization|KV cache|[Aa]vailable memory|can't allocate memory", re.I)


@dataclass(frozen=True, slots=True)
class Spread:
    """Over which devices vLLM spreads a model."""

    tensor: int = 1
    pipeline: int = 1
    data: int = 1
    executor: str = "mp"
    """What starts the workers: mp, processes of this machine, or ray."""

    @property
    def devices(self) -> int:
        """How many there are in all."""
        return self.tensor * self.pipeline * self.data

    @property
    def over_machines(self) -> bool:
        """Whether some may be on other machines than this one."""
        return self.executor == "ray"

    def require(self, here: int) -> None:
        """Raise UsageError if this machine would need more devices than it has."""
        if not self.over_machines and self.devices > max(here, 1):
            sizes = " x ".join(f"--{name.replace('_', '-')} {size}" for name, size in self._sizes().items() if size > 1)
            raise UsageError(
                f"{sizes} takes {self.devices} devices, and this machine shows {here}; "
                "lower it, or reach those of a Ray cluster with --distributed-executor-backend ray"
            )

    def arguments(self) -> dict[str, Any]:
        """As ``AsyncEngineArgs`` takes them. The executor is said: inside a placement group of Ray's, vLLM would choose Ray."""
        if self.devices == 1 and not self.over_machines:
            return {}
        replicas = {"data_parallel_backend": "ray"} if self.over_machines and self.data > 1 else {}
        return {**self._sizes(), "distributed_executor_backend": self.executor, **replicas}

    def _sizes(self) -> dict[str, int]:
        return {"tensor_parallel_size": self.tensor, "pipeline_parallel_size": self.pipeline, "data_parallel_size": self.data}


ONE_DEVICE = Spread()


@dataclass(frozen=True, slots=True)
class Serving:
    """What a run wants of vLLM."""

    model: str
    lora_rank: int
    dtype: str
    on_cpu: bool
    shares_device: bool
    """Whether the trainer is on the same card."""
    gpu_memory_utilization: float | None = None
    sleep: bool = False
    deterministic: bool = False
    threads: int | None = None
    """Per operation on a CPU, where vLLM shall not decide: a small model is faster with one."""
    spread: Spread = ONE_DEVICE

    def arguments(self) -> dict[str, Any]:
        """As ``AsyncEngineArgs`` takes them."""
        return {
            "model": self.model,
            "dtype": self.dtype,
            "skip_tokenizer_init": True,
            "enable_lora": True,
            "max_cpu_loras": 2,
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
            # requests without an adapter get the last slot's when some have one (vllm-project/vllm#48421): it stays empty
            "max_loras": 2,
        }

    def _gpu(self) -> dict[str, Any]:
        share = self.gpu_memory_utilization
        if share is None:
            share = BESIDE_TRAINER if self.shares_device and not self.sleep else ALONE
        return {"gpu_memory_utilization": share, "enable_sleep_mode": self.sleep, "max_loras": 1}

    def environment(self) -> dict[str, str]:
        """Variables that vLLM reads while it is imported and started."""
        batching = {"VLLM_BATCH_INVARIANT": "1"} if self.deterministic else {}
        # on a CPU the engine's process then runs the model itself: one less to start, and none that spins while it waits
        processes = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"} if self.on_cpu else {}
        threads = {"OMP_NUM_THREADS": str(self.threads)} if self.threads else {}
        return {**_QUIET, **batching, **processes, **threads, SERVES: str(os.getpid())}


@contextmanager
def variables(wanted: Mapping[str, str]) -> Generator[None]:
    """These environment variables for a while; what the user has set goes before."""
    added = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextmanager
def captured_log(log: Path) -> Generator[None]:
    """Have what this process and the ones it starts meanwhile write to stdout and stderr in a file instead.

    The processes keep writing there: what one of them says when it fails later is in the file too.
    """
    kept = [os.dup(1), os.dup(2)]
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
    try:
        yield
    finally:
        for number, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, number)
            os.close(copy)


def new_log() -> Path:
    """An empty file for vLLM's own words."""
    number, name = tempfile.mkstemp(prefix="espl-bench-vllm-", suffix=".log")
    os.close(number)
    return Path(name)


def start_failure(serving: Serving, log: Path, error: BaseException) -> EsplError:
    """Why vLLM did not start, in one line with a remedy."""
    reason = told(log) or _one_line(str(error))
    where = f"all it said is in {log}"
    if _MEMORY.search(reason):
        lower = "lower --gpu-memory-utilization" if serving.gpu_memory_utilization is not None else "set --gpu-memory-utilization"
        return DeviceMemoryError(
            f"vLLM has too little memory for '{serving.model}': {reason}; {lower}, free the device, let the trainer use another one "
            f"(--train-device) or the same in turn (--sleep); {where}"
        )
    return ModelError(f"vLLM cannot serve '{serving.model}': {reason}; use --engine hf, or mend what it names; {where}")


def told(log: Path) -> str | None:
    """The last reason for a failure in vLLM's own words, if it gave one."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        found = _REASON.search(line)
        if found and not found[2].startswith(_WRAPPED):
            return _one_line(f"{found[1]}: {found[2]}")
    return None


def _one_line(text: str) -> str:
    return " ".join(text.split())[:400]
