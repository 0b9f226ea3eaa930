"""What a process can learn about the machine and the environment it runs in."""

import os
from importlib.metadata import PackageNotFoundError, version


def usable_cores() -> int:
    """Cores that this process may use; where the system does not tell, those there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def installed_version(package: str) -> str | None:
    """The version of a distribution; None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
