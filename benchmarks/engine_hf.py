"""How fast the embedded engine samples and trains, beside transformers' ``generate`` in the same process.

The batch is a typical iteration on the default model: 30 prompts of 50 to 90 tokens, five rollouts each, at most 25 new
tokens. Both samplers take turns, and the best of the repeats counts, so that a busy machine disturbs the ratio less.

    python benchmarks/engine_hf.py [--model FOLDER] [--repeats N] [--threads N]

Without --model a random Llama of 4 layers x 128 is made (the one of the tests, wider).
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from espl_bench.engines.adapter_spec import AdapterSpec
from espl_bench.engines.engine import AdamParams
from espl_bench.engines.hf.engine import HfEngine
from espl_bench.learning.losses import default_loss
from espl_bench.types import Completion, Datum, SampleRequest

PROMPTS, ROLLOUTS, NEW_TOKENS = 30, 5, 25


def typical_batch(vocabulary: int) -> list[SampleRequest]:
    """Random prompts, each asked for ROLLOUTS times with seeds of their own."""
    rng = random.Random(0)
    prompts = [tuple(rng.randrange(5, vocabulary) for _ in range(rng.randint(50, 90))) for _ in range(PROMPTS)]
    return [SampleRequest(prompt, rng.getrandbits(32), NEW_TOKENS, 1.0) for prompt in prompts for _ in range(ROLLOUTS)]


def generate(model: torch.nn.Module, requests: list[SampleRequest], eos_ids: frozenset[int]) -> int:
    """Sample with transformers; returns the number of tokens up to each row's end."""
    width = max(len(request.prompt_T) for request in requests)
    pads = [width - len(request.prompt_T) for request in requests]
    ids = torch.tensor([[0] * pad + list(request.prompt_T) for pad, request in zip(pads, requests, strict=True)])
    seen = torch.tensor([[0] * pad + [1] * (width - pad) for pad in pads])
    out = model.generate(ids, attention_mask=seen, do_sample=True, top_k=0, max_new_tokens=NEW_TOKENS, pad_token_id=0)
    ends = [[t for t, token in enumerate(row) if token in eos_ids] for row in out[:, width:].tolist()]
    return sum(end[0] + 1 if end else out.shape[1] - width for end in ends)


def timed(work: Callable[[], int]) -> float:
    """Tokens per second of one call."""
    start = time.perf_counter()
    tokens = work()
    return tokens / (time.perf_counter() - start)


def as_data(requests: list[SampleRequest], completions: list[Completion]) -> list[Datum]:
    """The rollouts as training data, with advantages that sum to zero in each group."""
    return [
        Datum(
            request.prompt_T + completion.tokens_T,
            (False,) * len(request.prompt_T) + (True,) * len(completion.tokens_T),
            (0.0,) * len(request.prompt_T) + completion.logprobs_T,
            (i % ROLLOUTS - 2) / 2,
            1.0,
        )
        for i, (request, completion) in enumerate(zip(requests, completions, strict=True))
    ]


def measure(folder: str, repeats: int) -> None:
    """Print the speeds of one model."""
    engine = HfEngine.from_pretrained(folder, AdapterSpec(rank=8, alpha=16, seed=0, device="cpu"))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    requests = typical_batch(model.config.vocab_size)
    client = asyncio.run(engine.current())
    eos_ids = client.sampler.eos_ids

    def sample() -> int:
        return sum(len(completion.tokens_T) for completion in asyncio.run(client.sample(requests)))

    sample(), generate(model, requests, eos_ids)
    pairs = [(timed(sample), timed(lambda: generate(model, requests, eos_ids))) for _ in range(repeats)]
    ours, theirs = (max(speeds) for speeds in zip(*pairs, strict=True))
    print(f"espl-bench, adapter on     {ours:9.0f} tokens/s")
    print(f"transformers, no adapter   {theirs:9.0f} tokens/s")
    print(f"ratio                      {ours / theirs:9.2f}")
    data = as_data(requests, asyncio.run(client.sample(requests)))
    sizes = sum(len(datum.tokens_T) for datum in data)

    def train() -> int:
        asyncio.run(engine.train_step(data, default_loss("importance_sampling"), AdamParams(lr=0.0)))
        return sizes

    best = max(timed(train) for _ in range(repeats))
    print(f"training step              {sizes / best:9.2f} s for {len(data)} trajectories of {sizes} tokens")


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a local folder or hub id; default: a random Llama")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, help="torch threads; default: torch's own choice")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.model:
        return measure(options.model, options.repeats)
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
    from engines_fixtures import make_model

    with tempfile.TemporaryDirectory() as folder:
        make_model(Path(folder), layers=4, width=128, spread=0.02)
        measure(folder, options.repeats)


if __name__ == "__main__":
    main()
