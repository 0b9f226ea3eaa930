"""Memory and time of a training step over a vocabulary as large as Qwen's: `python benchmarks/large_vocabulary.py`.

A random Llama, small but for its vocabulary, takes steps on rollouts of 4,096 sampled tokens in all: once a piece of the
vocabulary's logits at a time, as the engine does it, and once with all logits at once. Each in a process of its own, whose
peak beyond what it held before the first step is told.
"""

import argparse
import random
import resource
import statistics
import subprocess
import sys
import time

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from espl_bench.engines.adapter_spec import AdapterSpec
from espl_bench.engines.engine import AdamParams
from espl_bench.engines.hf.adapter.lora_views import with_adapter
from espl_bench.engines.hf.examination import examine
from espl_bench.engines.hf.training import chunked_logprobs
from espl_bench.engines.hf.training.trainer import Trainer
from espl_bench.learning.losses import default_loss
from espl_bench.types import Datum

VOCABULARY, WIDTH, LAYERS = 151_936, 256, 4
ROLLOUTS, PROMPT, SAMPLED = 16, 64, 256


def small(device: str) -> LlamaForCausalLM:
    """Everything about it is small but the vocabulary."""
    shape = {"hidden_size": WIDTH, "intermediate_size": 3 * WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": 4}
    return LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, tie_word_embeddings=True, **shape)).to(device)


def rollouts() -> list[Datum]:
    """One group on one prompt."""
    rng = random.Random(0)
    prompt = tuple(rng.randrange(VOCABULARY) for _ in range(PROMPT))
    mask = (False,) * PROMPT + (True,) * SAMPLED
    logprobs = (0.0,) * PROMPT + (-12.0,) * SAMPLED
    return [
        Datum(prompt + tuple(rng.randrange(VOCABULARY) for _ in range(SAMPLED)), mask, logprobs, (-1.0) ** place, 1.0)
        for place in range(ROLLOUTS)
    ]


def gigabytes(device: str) -> float:
    """The most that was held so far: of the card, or of this process."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def child(whole: bool, steps: int) -> None:
    """Measure one way."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if whole:
        chunked_logprobs.PIECE = sys.maxsize
    model = small(device).eval().requires_grad_(False)
    opened = examine(model, "random", range(64))
    adapter = AdapterSpec(rank=8, alpha=32.0, seed=0, token_budget=ROLLOUTS * (PROMPT + SAMPLED))
    trainer = Trainer(with_adapter(model, adapter.rank, adapter.alpha, opened.targets), adapter, opened.reading)
    data, before, seconds = rollouts(), gigabytes(device), list[float]()
    for _ in range(steps):
        began = time.perf_counter()
        trainer.step(data, default_loss("importance_sampling"), AdamParams(lr=1e-4))
        seconds.append(time.perf_counter() - began)
    way = "all at once" if whole else "in pieces"
    print(
        f"{way:<12} {gigabytes(device) - before:6.2f} GiB beyond the model, {statistics.median(seconds):6.2f} s a step, on {device}",
        flush=True,
    )


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--child", choices=("pieces", "whole"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return child(options.child == "whole", options.steps)
    print(f"one float32 tensor of {ROLLOUTS * SAMPLED} tokens x {VOCABULARY}: {ROLLOUTS * SAMPLED * VOCABULARY / 2**28:.2f} GiB")
    for way in ("pieces", "whole"):
        subprocess.run([sys.executable, __file__, "--child", way, "--steps", str(options.steps)], check=True)


if __name__ == "__main__":
    main()
