"""espl-bench: a benchmark and harness for evolutionary system prompt learning."""

import os

# Must be set before torch is first imported, hence here. OpenMP's threads spin between two operations by default; on a
# machine that does anything else besides, a small model then runs many times slower (measured: first sample 22 s, not 0.5 s).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
