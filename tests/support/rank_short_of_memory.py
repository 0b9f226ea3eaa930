"""A rank of a trainer, the second of which has no memory left for a training step while the first waits for it."""

import sys
from typing import Any

import torch
from torch import distributed

from espl_bench.engines.hf.sharding import rank
from espl_bench.engines.hf.sharding.sharded_trainer import ShardedTrainer


class ShortOfMemory(ShardedTrainer):
    def step(self, data: Any, loss: Any, adam: Any) -> dict[str, float]:
        if distributed.get_rank() == 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return super().step(data, loss, adam)


rank.ShardedTrainer = ShortOfMemory
rank.main(int(sys.argv[1]))
