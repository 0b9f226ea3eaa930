"""Facts about the machine and the Python environment of the process."""

import os
from importlib.metadata import PackageNotFoundError, version


def usable_cores() -> int:
    """Return the number of cores that this process may use; if the system does not say, the number of all cores."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def installed_version(package: str) -> str | None:
    """Return the version of a distribution; None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
