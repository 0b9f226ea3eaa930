"""One rank of a trainer over several devices: ``python -m espl_bench.engines.hf.sharding.rank DESCRIPTOR``.

It answers one action of its parent (`rank_processes`) after another through a socket, and ends when the other end is closed, however the
parent ended: a thread waits for that even while this rank waits for others. What it does not expect ends it, with a traceback in the log.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (torch is partly untyped)

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, Final

import torch
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh

from espl_bench.engines.hf import model_loading
from espl_bench.engines.hf.adapter import checkpoints
from espl_bench.engines.hf.learner import take_step
from espl_bench.engines.hf.sharding.messages import Answer, Greeting, Opening
from espl_bench.engines.hf.sharding.sharded_model import open_sharded
from espl_bench.engines.hf.sharding.sharded_trainer import ShardedTrainer
from espl_bench.errors import DeviceMemoryError, EsplError
from espl_bench.types import Datum

PATIENCE: Final = timedelta(hours=2)
"""Time that a rank waits for the others, e.g. while the first one loads a model. The parent ends all ranks as soon as one has died."""


def main(descriptor: int) -> None:
    """Answer until the parent has gone."""
    parent = Connection(descriptor)
    messages: SimpleQueue[Any] = SimpleQueue()
    Thread(target=_listen, args=(parent, messages), daemon=True).start()
    opening: Opening = messages.get()
    try:
        trainer, greeting = _open(opening)
    except EsplError as error:
        parent.send(Answer(refusal=error))
        return
    parent.send(Answer(greeting))
    while True:
        action, arguments = messages.get()
        parent.send(_act(trainer, action, arguments))


def _listen(parent: Connection, messages: "SimpleQueue[Any]") -> None:
    try:
        while True:
            messages.put(parent.recv())
    except (EOFError, OSError):
        os._exit(0)  # the other thread may wait for another rank


def _act(trainer: ShardedTrainer, action: str, arguments: Sequence[Any]) -> Answer:
    try:
        return Answer(ACTIONS[action](trainer, *arguments))
    except EsplError as error:
        return Answer(refusal=error)


def _open(opening: Opening) -> tuple[ShardedTrainer, Greeting]:
    device = model_loading.pick_device(opening.device)
    model_loading.require_determinism(device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
        init_method=opening.meeting.as_uri(),
        rank=opening.rank,
        world_size=opening.ranks,
        timeout=PATIENCE,
    )
    try:
        adapted, found = open_sharded(opening.model, opening.adapter, device, init_device_mesh(device.type, (opening.ranks,)))
        trainer = ShardedTrainer(adapted, opening.adapter, found.examination.reading)
    except torch.OutOfMemoryError as error:
        raise DeviceMemoryError(
            f"model '{opening.model}' does not fit into the memory of {opening.ranks} devices ({device} is full); name more of them in "
            "--train-device"
        ) from error
    return trainer, Greeting(found.eos_ids, str(found.dtype).removeprefix("torch."), found.examination.use)


def _score(trainer: ShardedTrainer, data: Sequence[Datum], reference: bool) -> list[tuple[float, ...]]:
    with trainer.model.disable_adapter() if reference else nullcontext():
        return trainer.score(data)


def _save(trainer: ShardedTrainer, folder: Path) -> None:
    if distributed.get_rank() == 0:
        checkpoints.save(trainer, folder)


def _save_adapter(trainer: ShardedTrainer, folder: Path) -> None:
    if distributed.get_rank() == 0:
        checkpoints.save_adapter(trainer, folder)


ACTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "train_step": take_step,
    "score": _score,
    "divergence": ShardedTrainer.divergence_all,
    "save": _save,
    "save_adapter": _save_adapter,
    "load": checkpoints.load,
    "load_weights": checkpoints.load_weights,
}
"""What a rank does with its trainer, by the name of the learner's method."""


if __name__ == "__main__":
    main(int(sys.argv[1]))
