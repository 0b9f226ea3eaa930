"""How fast engine hf trains, beside a bare peft loop in the same process, and how much of the device's matrix products that is.

    python benchmarks/training_step.py --device cuda --shapes 0.6 1.7 4           three shapes, random weights, two kinds of iterations
    python benchmarks/training_step.py --shapes 0.6 --layers 2 --tokens 2000      a try on a CPU

The bare loop is what one writes first: peft's adapter on every linear layer, rows padded on the right up to a budget of tokens, causal
attention without a mask, log-probabilities of some tokens at a time, Adam. Both train on the same trajectories, in turns, and the best of
the repeats counts. The ceiling is 4 x weights x different tokens over the rate of a large product in the model's dtype, measured here.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from training_counts import HEADS, TARGETS, iteration, shape, weights_of
from transformers import Qwen3ForCausalLM

from espl_bench.engines.adapter_spec import AdapterSpec
from espl_bench.engines.engine import AdamParams
from espl_bench.engines.hf.adapter.lora_views import with_adapter
from espl_bench.engines.hf.examination import examine
from espl_bench.engines.hf.training.trainer import Trainer
from espl_bench.engines.machine_fit import SIZES, Size
from espl_bench.learning.losses import default_loss
from espl_bench.types import Datum

PIECE = 2_048
"""Rows of logits that the bare loop has at once."""
ITERATIONS = (("30 x 5, 256 + up to 512", (30, 5, 256, 512)), ("4 x 5, 512 + up to 4,096", (4, 5, 512, 4_096)))


def random_model(size: Size, layers: int, device: torch.device) -> Any:
    """Return a model of a shape with random weights, the same each time."""
    with torch.random.fork_rng(devices=[]), device:
        torch.manual_seed(0)
        model: Any = Qwen3ForCausalLM(shape(size, layers))
    return model.to(torch.bfloat16 if device.type == "cuda" else torch.float32).requires_grad_(False).eval()


@dataclass(slots=True)
class BareLoop:
    """The plain alternative."""

    model: Any
    budget: int
    optimizer: torch.optim.Optimizer = field(init=False)

    def __post_init__(self) -> None:
        config = LoraConfig(r=32, lora_alpha=32, lora_dropout=0.0, target_modules=list(TARGETS), task_type="CAUSAL_LM")
        self.model = get_peft_model(self.model, config)
        self.optimizer = torch.optim.Adam([one for one in self.model.parameters() if one.requires_grad], lr=1e-5, fused=True)

    def step(self, data: Sequence[Datum]) -> None:
        """Take one optimiser step."""
        base = self.model.get_base_model()
        for batch in self._batches(sorted(data, key=lambda datum: len(datum.tokens_T))):
            width = max(len(datum.tokens_T) for datum in batch)
            ids = torch.tensor([[*datum.tokens_T, *(0,) * (width - len(datum.tokens_T))] for datum in batch], device=base.device)
            sampled = torch.tensor([[*datum.mask_T, *(False,) * (width - len(datum.mask_T))] for datum in batch], device=base.device)
            advantage_B = torch.tensor([datum.advantage for datum in batch], device=base.device)
            hidden = base.model(input_ids=ids, use_cache=False).last_hidden_state
            row, column = sampled[:, 1:].nonzero(as_tuple=True)
            logprobs = self._logprobs(hidden[row, column], ids[row, column + 1], base.lm_head)
            (-(logprobs * advantage_B[row]).sum()).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def _batches(self, data: Sequence[Datum]) -> Iterator[list[Datum]]:
        batch: list[Datum] = []
        for datum in data:
            if batch and (len(batch) + 1) * len(datum.tokens_T) > self.budget:
                yield batch
                batch = []
            batch.append(datum)
        yield batch

    @staticmethod
    def _logprobs(rows: Tensor, targets: Tensor, head: Any) -> Tensor:
        def piece(some: Tensor, of: Tensor) -> Tensor:
            return torch.log_softmax(head(some).float(), -1).gather(-1, of[:, None])[:, 0]

        pieces = zip(rows.split(PIECE), targets.split(PIECE), strict=True)
        return torch.cat([checkpoint(piece, some, of, use_reentrant=False) for some, of in pieces])


def our_trainer(model: Any, options: argparse.Namespace) -> Trainer:
    """Return the engine's trainer, as a run opens it."""
    spec = AdapterSpec(
        alpha=32.0,
        seed=0,
        token_budget=options.budget,
        gradient_checkpointing=options.gradient_checkpointing,
        compile_layers=options.compile_layers,
    )
    opened = examine(model, "random", range(5, 69))
    return Trainer(with_adapter(model, spec.rank, spec.alpha, opened.targets), spec, opened.reading)


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Return the seconds of one call."""
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def rate_of_products(device: torch.device, dtype: torch.dtype) -> float:
    """Return the operations a second of a large matrix product."""
    width = 8_192 if device.type == "cuda" else 1_024
    left, right = (torch.randn(width, width, device=device, dtype=dtype) for _ in range(2))
    return 2 * width**3 / min(timed(lambda: left @ right, device) for _ in range(10))


def measure(size: Size, options: argparse.Namespace, device: torch.device) -> None:
    """Print a row for each way and kind of iteration."""
    layers = options.layers or size.layers
    for told, numbers in ITERATIONS:
        data = iteration(*numbers)
        if options.tokens:
            data = data[: max(5, options.tokens // (len(data[0].tokens_T) or 1))]
        different = sum(map(len, {datum.tokens_T[: datum.mask_T.index(True)] for datum in data})) + sum(sum(d.mask_T) for d in data)
        every = sum(len(datum.tokens_T) for datum in data)
        for name in ("bare loop", "ours"):
            if device.type == "cuda":
                torch.cuda.empty_cache()
            model = random_model(size, layers, device)
            rate = rate_of_products(device, model.dtype)
            step = bare(model, options) if name == "bare loop" else ours(model, options)
            step(data)
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
            seconds = min(timed(lambda: step(data), device) for _ in range(options.repeats))  # noqa: B023  # called at once
            share = 4 * weights_of(size, layers) * different / rate / seconds
            peak = torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else 0.0
            memory = f"{peak:8.1f} GiB" if peak else ""
            print(
                f"{size.billions:>4} B  {told:<26}{name:<11}{seconds:8.2f} s {every / seconds:9.0f} tokens/s {share:7.1%}{memory}",
                flush=True,
            )


def bare(model: Any, options: argparse.Namespace) -> Callable[[Sequence[Datum]], object]:
    """Return the bare loop's step."""
    return BareLoop(model, options.budget or 16_384).step


def ours(model: Any, options: argparse.Namespace) -> Callable[[Sequence[Datum]], object]:
    """Return the engine's step."""
    trainer, loss, adam = our_trainer(model, options), default_loss("importance_sampling"), AdamParams(lr=1e-5)
    print(f"        laid out by {getattr(trainer, '_pack').__name__}")  # noqa: B009  # no part of its interface
    return lambda data: trainer.step(data, loss, adam)


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, …")
    parser.add_argument("--shapes", type=float, nargs="*", default=[0.6], choices=list(HEADS), help="billions of weights")
    parser.add_argument("--layers", type=int, help="of the model; default: as many as the shape has")
    parser.add_argument("--tokens", type=int, help="train on about so many tokens only")
    parser.add_argument("--budget", type=int, help="tokens of a micro-batch; default: ours automatic, the bare loop's 16,384")
    parser.add_argument("--gradient-checkpointing", action="store_true", help="ours")
    parser.add_argument("--compile-layers", action="store_true", help="ours")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    device = torch.device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"{device}, {name}; tokens/s: of all trajectories; share: of the ceiling that reads every different token once")
    for size in SIZES:
        if size.billions in options.shapes:
            measure(size, options, device)


if __name__ == "__main__":
    main()
