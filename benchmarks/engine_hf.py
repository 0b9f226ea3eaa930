"""How fast engine hf samples and trains, beside transformers' ``generate`` in the same process, on any device.

All ways to sample take turns, with all rows in one batch, and the best of the repeats counts, so that a busy machine disturbs the ratio
less. The default batch is a typical iteration on the lab model: 30 prompts of 50 to 90 tokens, five rollouts each, at most 25 new tokens.

    python benchmarks/engine_hf.py                                          a random Llama of 4 layers x 128 on the CPU
    python benchmarks/engine_hf.py --model FOLDER --device cuda
    python benchmarks/engine_hf.py --shape 0.6 --device cuda --prompt-tokens 256 --new-tokens 512
"""

import argparse
import asyncio
import math
import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from espl_bench.engines.adapter_spec import AdapterSpec
from espl_bench.engines.engine import AdamParams
from espl_bench.engines.hf.decoding.sampling import BatchSampler
from espl_bench.engines.hf.engine import HfEngine, HfSamplingClient
from espl_bench.engines.hf.reading.forward import Reading
from espl_bench.engines.machine_fit import SIZES, Size
from espl_bench.learning.losses import default_loss
from espl_bench.types import Completion, Datum, SampleRequest

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from engines_fixtures import make_model, make_tokenizer  # found through the path above

HEAD = 128
"""Width of an attention head of the shapes."""
GENERATE = "transformers' generate, no adapter"

Sampler = Callable[[list[SampleRequest]], list[int]]
"""Returns the number of tokens of each completion."""


@dataclass(slots=True)
class Timing:
    """The best of several calls."""

    whole_s: float = math.inf
    first_s: float = math.inf
    """With one token per row."""
    tokens: int = 0
    steps: int = 0
    """After the first token."""

    def note(self, sample: Sampler, requests: list[SampleRequest]) -> None:
        """Call once more; the lists that come back are on the CPU, so a GPU is done then."""
        start = time.perf_counter()
        lengths = sample(requests)
        middle = time.perf_counter()
        sample([replace(request, max_tokens=1) for request in requests])
        self.first_s = min(self.first_s, time.perf_counter() - middle)
        if middle - start < self.whole_s:
            self.whole_s, self.tokens, self.steps = middle - start, sum(lengths), max(lengths) - 1

    @property
    def speed(self) -> float:
        """Tokens per second."""
        return self.tokens / self.whole_s

    @property
    def step_ms(self) -> float:
        """Milliseconds of a decode step."""
        return 1e3 * (self.whole_s - self.first_s) / self.steps


@dataclass(frozen=True, slots=True)
class Batch:
    """The rollouts of an iteration."""

    prompts: int
    rollouts: int
    """Of each prompt."""
    prompt_tokens: int
    """Of the longest prompt; the shortest has 5/9 of them."""
    new_tokens: int

    def requests(self, vocabulary: int) -> list[SampleRequest]:
        """Return random prompts, each asked for as many times as there are rollouts, with seeds of their own."""
        rng = random.Random(0)
        lengths = [rng.randint(self.prompt_tokens * 5 // 9, self.prompt_tokens) for _ in range(self.prompts)]
        prompts = [tuple(rng.randrange(5, vocabulary) for _ in range(length)) for length in lengths]
        return [SampleRequest(prompt, rng.getrandbits(32), self.new_tokens, 1.0) for prompt in prompts for _ in range(self.rollouts)]

    def data(self, requests: list[SampleRequest], completions: list[Completion]) -> list[Datum]:
        """Return the rollouts as training data, with advantages that sum to zero in each group."""
        middle = (self.rollouts - 1) / 2
        return [
            Datum(
                request.prompt_T + completion.tokens_T,
                (False,) * len(request.prompt_T) + (True,) * len(completion.tokens_T),
                (0.0,) * len(request.prompt_T) + completion.logprobs_T,
                (i % self.rollouts - middle) / max(middle, 1),
                1.0,
            )
            for i, (request, completion) in enumerate(zip(requests, completions, strict=True))
        ]


def generate(model: torch.nn.Module, requests: list[SampleRequest], eos_ids: frozenset[int]) -> list[int]:
    """Sample with transformers; returns the number of tokens up to each row's end."""
    width = max(len(request.prompt_T) for request in requests)
    pads = [width - len(request.prompt_T) for request in requests]
    ids = torch.tensor([[0] * pad + list(request.prompt_T) for pad, request in zip(pads, requests, strict=True)], device=model.device)
    seen = torch.tensor([[0] * pad + [1] * (width - pad) for pad in pads], device=model.device)
    new_tokens = max(request.max_tokens for request in requests)
    out = model.generate(ids, attention_mask=seen, do_sample=True, top_k=0, max_new_tokens=new_tokens, pad_token_id=0)
    ends = [[t for t, token in enumerate(row) if token in eos_ids] for row in out[:, width:].tolist()]
    return [end[0] + 1 if end else out.shape[1] - width for end in ends]


def timed(work: Callable[[], int], device: torch.device) -> float:
    """Tokens per second of one call."""
    start = time.perf_counter()
    tokens = work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return tokens / (time.perf_counter() - start)


def samplers(engine: HfEngine, model: torch.nn.Module) -> dict[str, Sampler]:
    """Return the ways to sample that there are here; each reads its requests as one batch."""
    clients = {"adapter on": asyncio.run(engine.current()), "adapter off": asyncio.run(engine.reference())}
    ways: dict[str, Sampler] = {}
    for name, client in clients.items():
        if client.sampler.replays:
            ways[f"espl-bench, {name}, captured"] = one_batch(engine, client.sampler, may_replay=True)
        ways[f"espl-bench, {name}"] = one_batch(engine, client.sampler, may_replay=False)
    eos_ids = clients["adapter off"].sampler.eos_ids
    ways[GENERATE] = lambda requests: generate(model, requests, eos_ids)
    return ways


def one_batch(engine: HfEngine, like: BatchSampler, *, may_replay: bool) -> Sampler:
    """Return a sampler of the same weights without a limit to a batch."""
    reading = Reading[engine.model_use.reading.upper()]
    sampler = BatchSampler(like.model, eos_ids=like.eos_ids, max_batch_tokens=sys.maxsize, reading=reading, may_replay=may_replay)
    client = HfSamplingClient(sampler, engine.chat)
    return lambda requests: [len(completion.tokens_T) for completion in asyncio.run(client.sample(requests))]


def measure_sampling(engine: HfEngine, folder: str, where: torch.Tensor, requests: list[SampleRequest], repeats: int) -> None:
    """Print the speed of each way to sample, and the time of a decode step: what a token more takes, prefill left out."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=where.dtype).eval().to(where.device)
    ways = samplers(engine, model)
    best = {name: Timing() for name in ways}
    for sample in ways.values():
        sample(requests)
    for _ in range(repeats):
        for name, sample in ways.items():
            best[name].note(sample, requests)
    if not any("captured" in name for name in ways):
        print("steps are not captured     no CUDA here, or the model does not allow it")
    print(f"{'':34} tokens/s   of generate   ms per decode step")
    for name, timing in best.items():
        print(f"{name:34} {timing.speed:8.0f} {timing.speed / best[GENERATE].speed:13.2f} {timing.step_ms:20.2f}")


def measure(folder: str, batch: Batch, device: str, repeats: int) -> None:
    """Print the speeds of one model."""
    engine = HfEngine.from_pretrained(folder, AdapterSpec(rank=8, alpha=16, seed=0, device=device))
    client = asyncio.run(engine.current())
    where = next(client.sampler.model.parameters())
    requests = batch.requests(client.sampler.model.config.vocab_size)
    name = torch.cuda.get_device_name(where.device) if where.device.type == "cuda" else f"{where.device}, {torch.get_num_threads()} threads"
    print(f"device                     {name}, {where.dtype}")
    measure_sampling(engine, folder, where, requests, repeats)
    data = batch.data(requests, asyncio.run(client.sample(requests)))
    sizes = sum(len(datum.tokens_T) for datum in data)

    def train() -> int:
        asyncio.run(engine.train_step(data, default_loss("importance_sampling"), AdamParams(lr=0.0)))
        return sizes

    best = max(timed(train, where.device) for _ in range(repeats))
    print(f"training step              {sizes / best:9.2f} s for {len(data)} trajectories of {sizes} tokens, {best:.0f} tokens/s")
    if where.device.type == "cuda":
        print(f"peak memory                {torch.cuda.max_memory_allocated(where.device) / 2**30:9.1f} GiB")


def make_shape(folder: Path, size: Size) -> None:
    """Write a random model of a size's shape, with the tests' tokenizer. Its texts never end by themselves."""
    config = LlamaConfig(
        vocab_size=size.vocabulary,
        hidden_size=size.hidden,
        intermediate_size=3 * size.hidden,
        num_hidden_layers=size.layers,
        num_attention_heads=max(size.hidden // HEAD, size.kv_width // HEAD),
        num_key_value_heads=size.kv_width // HEAD,
        head_dim=HEAD,
        max_position_embeddings=32_768,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--model", help="a local folder or hub id; default: a random Llama")
    which.add_argument("--shape", type=float, choices=[size.billions for size in SIZES], help="a random model of that many billions")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, …")
    parser.add_argument("--prompts", type=int, default=30)
    parser.add_argument("--rollouts", type=int, default=5, help="of each prompt")
    parser.add_argument("--prompt-tokens", type=int, default=90, help="of the longest prompt")
    parser.add_argument("--new-tokens", type=int, default=25)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, help="torch threads; default: torch's own choice")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    batch = Batch(options.prompts, options.rollouts, options.prompt_tokens, options.new_tokens)
    with tempfile.TemporaryDirectory() as folder:
        if options.shape:
            make_shape(Path(folder), next(size for size in SIZES if size.billions == options.shape))
        elif not options.model:
            make_model(Path(folder), layers=4, width=128, spread=0.02)
        measure(options.model or folder, batch, options.device, options.repeats)


if __name__ == "__main__":
    main()
