"""Bind a vLLM worker to its run: own process group, die with the parent.

vLLM loads this in each of its processes (entry point group ``vllm.general_plugins``). Without it, Ctrl-C at a terminal would
reach the engine too and break the iteration that the run wants to finish and save; and after a ``kill -9`` of the run the engine
would live on with all its memory. It does nothing in other uses of vLLM on a machine with this package.
"""

import ctypes
import multiprocessing
import os
import signal
import sys

SERVES = "ESPL_BENCH_SERVES"
"""Environment variable of the processes that a run has vLLM start: the run's own process id."""
_PR_SET_PDEATHSIG = 1


def settle() -> None:
    """Leave the terminal's process group, and die with the parent (Linux). Does nothing in any process but a run's engine."""
    if multiprocessing.parent_process() is None or SERVES not in os.environ:
        return
    if os.getpgid(0) == os.getpgid(os.getppid()):
        os.setpgid(0, 0)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == 1:  # the parent had died before
            os.kill(os.getpid(), signal.SIGKILL)
