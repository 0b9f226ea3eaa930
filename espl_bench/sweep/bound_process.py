"""Become another program that is told to stop when the driver dies, even by ``kill -9``. A script, so that it starts at once.

    python bound_process.py DRIVER_PID PROGRAM ARGUMENTS…

The kernel sends the signal, so nothing has to watch. It is SIGTERM: a run then saves the current iteration and ends. Only Linux has this;
elsewhere the cells of a killed driver run on to their end, and their locks keep a second driver out of them until then.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(driver: int, command: list[str]) -> None:
    """Bind this process to the driver and replace it by the command."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != driver:  # it died before it could be heard
            sys.exit("espl-bench: the driver is gone")
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"espl-bench: {command[0]} cannot be started ({error.strerror})")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
