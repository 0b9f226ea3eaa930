"""Open a trainer of two ranks, say their process ids, and wait: ``python parent_of_ranks.py MODEL``."""

import os
import sys
import time

from espl_bench.engines.adapter_spec import AdapterSpec
from espl_bench.engines.hf.sharding.rank_processes import RankProcesses

ranks = RankProcesses(sys.argv[1], AdapterSpec(rank=4, alpha=8.0, seed=0), ["cpu", "cpu"])
pids = [process.pid for process in ranks.processes]
sys.stdout.write(" ".join(map(str, (*pids, *map(os.getpgid, pids)))) + "\n")
sys.stdout.flush()
time.sleep(600)
