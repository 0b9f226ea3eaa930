"""What a training step reads, multiplies and keeps, counted without a GPU: `python benchmarks/training_counts.py`.

Times on a GPU cannot be had from a CPU, but tokens, operations and bytes can. First table: tokens that a forward reads for two kinds of
iterations, laid out as padded rows (what a plain loop does), as levels of shared prompts, and as one tree
(`hf.training.tree_packing`), with the pairs of tokens that attention looks at. Second table: one decoder layer of a real shape and an
output layer over a real vocabulary, in bfloat16, with peft's layers and with ours: bytes kept for the backward pass, and floating-point
operations of a step by the share of 4 x weights x tokens, the least that frozen weights with an adapter need.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import argparse
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from peft.tuners import lora
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode
from transformers import Qwen3Config, Qwen3ForCausalLM

from espl_bench.engines.adapter_spec import AdapterSpec
from espl_bench.engines.engine import AdamParams
from espl_bench.engines.hf.adapter.half_precision import HalfPrecisionLora
from espl_bench.engines.hf.adapter.lora_views import with_adapter
from espl_bench.engines.hf.reading.forward import Reading
from espl_bench.engines.hf.training.packing import LevelBatch, reading_whole, sharing_prompts
from espl_bench.engines.hf.training.trainer import Trainer
from espl_bench.engines.hf.training.tree_packing import BLOCK, TreeBatch, as_trees
from espl_bench.engines.machine_fit import SIZES, Size
from espl_bench.learning.losses import default_loss
from espl_bench.types import Datum

CPU = torch.device("cpu")
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
HEADS = {0.6: 16, 1.7: 16, 4.0: 32}
"""Query heads of Qwen3's sizes."""
INNER = {0.6: 3_072, 1.7: 6_144, 4.0: 9_728}
"""Width of their MLPs."""


def iteration(problems: int, rollouts: int, prompt: int, said: int) -> list[Datum]:
    """Return groups on prompts of one system message and a problem, with rollouts of up to so many tokens."""
    rng = random.Random(0)

    def words(count: int) -> tuple[int, ...]:
        return tuple(rng.randrange(5, 1_000) for _ in range(count))

    made: list[Datum] = []
    system = words(prompt // 2)
    for _ in range(problems):
        question = system + words(rng.randint(prompt // 4, prompt // 2))
        for _ in range(rollouts):
            tokens = words(rng.randint(said // 8, said))
            mask = (False,) * len(question) + (True,) * len(tokens)
            made.append(Datum(question + tokens, mask, (-5.0,) * len(mask), rng.uniform(-1, 1), 1.0))
    return made


def pairs(batch: LevelBatch | TreeBatch) -> int:
    """Count the pairs of tokens that attention computes: whole rows of levels, and visible blocks of a tree."""
    if isinstance(batch, TreeBatch):
        blocks = batch.ancestry.blocks()
        return int(blocks.to_dense().sum()) * BLOCK**2
    seen, count = 0, 0
    for level in (*batch.prompts, *(chunk.level for chunk in batch.chunks)):
        seen += level.ids_RT.shape[1]
        count += level.ids_RT.numel() * seen
    return count


def layouts(budget: int) -> None:
    """Print the first table."""
    print(f"{'iteration':<44}{'layout':<12}{'tokens read':>12}{'of padded':>11}{'pairs, millions':>17}{'of padded':>11}")
    for told, data in (
        ("30 problems x 5 rollouts, 256 + up to 512", iteration(30, 5, 256, 512)),
        ("4 problems x 5 rollouts, 512 + up to 4,096", iteration(4, 5, 512, 4_096)),
        ("10 problems x 15 rollouts, 1,024 + up to 256", iteration(10, 15, 1_024, 256)),
    ):
        first: tuple[int, int] | None = None
        for name, pack in (("padded rows", reading_whole), ("levels", sharing_prompts), ("tree", as_trees)):
            batches = list(pack(data, lambda: budget, CPU))
            found = sum(batch.tokens for batch in batches), sum(pairs(batch) for batch in batches)
            first = first or found
            shares = [f"{100 * ours / theirs:.0f} %" for ours, theirs in zip(found, first, strict=True)]
            print(f"{told:<44}{name:<12}{found[0]:>12,}{shares[0]:>11}{found[1] / 1e6:>17.1f}{shares[1]:>11}")


@contextmanager
def layers_of_peft() -> Iterator[None]:
    """Let adapters multiply as peft's own layers do."""
    ours = HalfPrecisionLora.forward
    HalfPrecisionLora.forward = lora.Linear.forward
    try:
        yield
    finally:
        HalfPrecisionLora.forward = ours


def shape(size: Size, layers: int) -> Qwen3Config:
    """Return the configuration of a model of a size, with so many layers."""
    return Qwen3Config(
        vocab_size=size.vocabulary,
        hidden_size=size.hidden,
        intermediate_size=INNER[size.billions],
        num_hidden_layers=layers,
        num_attention_heads=HEADS[size.billions],
        num_key_value_heads=8,
        head_dim=128,
        tie_word_embeddings=True,
    )


def weights_of(size: Size, layers: int) -> int:
    """Count the weights that multiply every token: those of the layers, without embeddings."""
    attention = size.hidden * 128 * (2 * HEADS[size.billions] + 16)
    return layers * (attention + 3 * size.hidden * INNER[size.billions])


def one_layer(size: Size) -> Trainer:
    """Return a trainer of one decoder layer of a shape."""
    model = Qwen3ForCausalLM(shape(size, 1)).to(torch.bfloat16).requires_grad_(False).eval()
    names = [name for name, _ in model.named_modules() if name.endswith(TARGETS)]
    adapter = AdapterSpec(alpha=32.0, seed=0, token_budget=10**6)
    return Trainer(with_adapter(model, adapter.rank, adapter.alpha, names), adapter, Reading.SHARED)


def kept(trainer: Trainer, step: Callable[[], object]) -> int:
    """Return the bytes that forwards keep for backwards, each storage once, without weights."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in trainer.model.parameters()}
    held: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            held[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        step()
    return sum(tensor.untyped_storage().nbytes() for tensor in held.values())


def one_step(size: Size, tokens: int) -> None:
    """Print the second table's rows of a shape."""
    data = iteration(1, 4, 64, tokens // 4)
    for name, context in (("peft", layers_of_peft), ("ours", nullcontext)):
        torch.manual_seed(0)
        trainer = one_layer(size)
        read = sum(batch.tokens for batch in sharing_prompts(data, lambda: 10**6, CPU))
        predicted = sum(sum(datum.mask_T) for datum in data)
        counter = FlopCounterMode(display=False)

        def step(one: Trainer = trainer) -> None:
            one.step(data, default_loss("importance_sampling"), AdamParams(lr=1e-4))

        with context(), counter:
            held = kept(trainer, step)
        least = 4 * (weights_of(size, 1) * read + size.vocabulary * size.hidden * predicted)
        work = counter.get_total_flops()
        print(f"{size.example:<18}{name:<8}{held / read / 1024:>16.1f}{work / 1e12:>12.2f}{100 * work / least:>14.0f} %")


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=int, default=16_384, help="tokens of a micro-batch")
    parser.add_argument("--tokens", type=int, default=1_024, help="about the tokens of the step over one layer")
    parser.add_argument("--shapes", type=float, nargs="*", default=list(HEADS), choices=list(HEADS))
    options = parser.parse_args()
    layouts(options.budget)
    print(f"\n{'shape, one layer':<18}{'adapter':<8}{'KiB kept a token':>16}{'TFLOP':>12}{'of the least':>16}")
    for size in SIZES:
        if size.billions in options.shapes:
            one_step(size, options.tokens)


if __name__ == "__main__":
    main()
