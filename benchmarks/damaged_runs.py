"""Damage runs, published records and sweeps at random and read them: no traceback, no hang, nothing written outside, the sound ones shown.

    python benchmarks/damaged_runs.py [--cases 4000] [--first 0] [--pictures]

Every case is named by its seed, so that a fault can be repeated with --first SEED --cases 1. Exit code 1 if there is a fault.
"""

import argparse
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from damage import base, one_case

PICTURES = ("curves", "bars", "tree", "ratings", "prompts", "outcomes", "mismatch")
MEMORY = 8 * 2**30
"""Bytes of address space: what takes more is a fault, and not the end of the machine."""
EVERY = 100
"""Cases between two lines of progress."""


def main() -> int:
    """Try all cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=4000)
    parser.add_argument("--first", type=int, default=0, help="seed of the first case")
    parser.add_argument("--pictures", action="store_true", help="draw every picture too, which takes seconds a case")
    chosen = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    met: Counter[str] = Counter()
    faults: list[str] = []
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="espl-bench-damage-") as name:
        sound = base(Path(name) / "sound")
        for done, seed in enumerate(range(chosen.first, chosen.first + chosen.cases), start=1):
            found, without = one_case(Path(name) / "case", sound, seed, PICTURES if chosen.pictures else ())
            met.update(without)
            for fault in found:
                print(fault, flush=True)
            faults += found
            if done % EVERY == 0 or done == chosen.cases:
                print(f"{done} cases in {time.monotonic() - started:.0f} s, {len(faults)} faults, left out by: {dict(met)}", flush=True)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
