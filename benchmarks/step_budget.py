"""Where an iteration's time goes on a model of a real size, and what an experiment would cost.

    python benchmarks/step_budget.py --shape 0.6 --engine vllm --new-tokens 4096           on a GPU, random weights
    python benchmarks/step_budget.py --shape 0.6 --layers 2 --new-tokens 64 --engine hf    a try on a CPU

E-SPL in the paper's shape (3 prompts x 10 problems x 5 rollouts). Rewards are tossed: random weights answer nothing right, and from equal
rewards nothing is learned. A phase's seconds are those in which at least one of its calls was
running; phases that overlap, as training and reflection may, count in both. What is left is our own work: episodes, grading, data, logs.
Then the same multiplied out to another size, length and number of iterations: sampling and training take as long as there are weights
and tokens, which leaves out that attention grows faster than the length, and that larger products use a card better.
"""

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from random_chat_model import write_model
from training_counts import HEADS

from espl_bench import loop
from espl_bench.accounting.ledger import Ledger, MeteredClient, Purpose
from espl_bench.build import open_run
from espl_bench.config.resolve import resolve
from espl_bench.engines.machine_fit import SIZES
from espl_bench.evolution.population import Population
from espl_bench.loop import LoopState, RunContext, evaluate_split, iterate
from espl_bench.monitoring.recorder import RunRecorder
from espl_bench.monitoring.reporter import Silent
from espl_bench.runs.run_dir import RunDir
from espl_bench.types import Split

PAPER = {"num_prompts": 3, "batch_size": 10, "group_size": 5, "lora_rank": 32}
PAPERS_ITEMS, PAPERS_SAMPLES, PAPERS_TOKENS, PAPERS_ITERATIONS, PAPERS_EVALUATIONS = 100, 10, 15_000, 90, 2
"""AIME to BeyondAIME: ten epochs over 90 problems, ten in an iteration; the test before and after."""
ALL = "iteration"
PHASES = {Purpose.ROLLOUT: "rollouts", Purpose.REFLECTION: "reflections", Purpose.EVALUATION: "evaluation"}
TRAINING, SWAP = "training step", "new weights to the sampler"


@dataclass
class Clock:
    """Seconds of each phase, until they are taken."""

    running: dict[str, Ledger] = field(default_factory=dict[str, Ledger])

    def timed(self, call: Callable[..., Awaitable[Any]], phase: Callable[..., str]) -> Callable[..., Awaitable[Any]]:
        """Return the call, timed; ``phase`` names its phase from its arguments."""

        async def work(*arguments: Any, **named: Any) -> Any:
            with self._of(phase(*arguments)).device(), self._of(ALL).device():
                return await call(*arguments, **named)

        return work

    def take(self) -> dict[str, float]:
        """Return the seconds of each phase since the last time."""
        seconds = {name: ledger.totals().device_s for name, ledger in self.running.items()}
        self.running.clear()
        return seconds

    def _of(self, phase: str) -> Ledger:
        return self.running.setdefault(phase, Ledger())


def watch(clock: Clock, context: RunContext) -> None:
    """Time what an iteration calls."""
    setattr(MeteredClient, "sample", clock.timed(MeteredClient.sample, lambda client, *_: PHASES[client._purpose]))  # noqa: B010
    setattr(loop, "metered_train_step", clock.timed(loop.metered_train_step, lambda *_: TRAINING))  # noqa: B010
    setattr(context.engine, "current", clock.timed(context.engine.current, lambda *_: SWAP))  # noqa: B010


def write_problems(folder: Path, items: int) -> dict[str, str]:
    """Write sums in words, about as long as a problem of a competition."""
    files: dict[str, str] = {}
    for split, count in (("train", 90), ("test", items)):
        rows = [
            {
                "question": f"A box of number {number} holds {number * 7 % 93} red stones and {number * 11 % 89} blue ones. "
                "Every red stone weighs three ounces, every blue one five. What do the stones weigh together, in ounces? "
                "Give the answer as a single integer.",
                "answer": str(3 * (number * 7 % 93) + 5 * (number * 11 % 89)),
            }
            for number in range(count)
        ]
        path = folder / f"{split}.jsonl"
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        files[split] = str(path)
    return files


def opened(options: argparse.Namespace, folder: Path) -> RunContext:
    """Open an E-SPL run."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    size = next(size for size in SIZES if size.billions == options.shape)
    model = options.model or str(write_model(size, options.layers or size.layers, folder / "model", device))
    choices: dict[str, Any] = {
        "engine": options.engine,
        "model": model,
        "env_options": write_problems(folder, max(options.items, 1)),
        "max_tokens": options.new_tokens,
        "editor_max_tokens": options.new_tokens // 4,
        "steps": options.steps,
        "control": "random-reward",
        "eval_samples": PAPERS_SAMPLES,
        **PAPER,
    }
    return open_run(resolve("espl", "jsonl", choices))


async def measure(options: argparse.Namespace, folder: Path) -> tuple[list[dict[str, float]], dict[str, float], dict[str, float]]:
    """Return the seconds of each iteration by phase, those of an evaluation, and the tokens of the last iteration."""
    context, clock = opened(options, folder), Clock()
    watch(clock, context)
    recorder = RunRecorder(RunDir.create(folder / "run", context.config, {}), context.ledger, Silent())
    state = LoopState(0, Population.start(context.config.evolution.root_principles, context.config.method.population_size))
    seconds: list[dict[str, float]] = []
    tokens: dict[str, float] = {}
    for _ in range(options.steps):
        before, began = context.ledger.totals(), time.perf_counter()
        state = await iterate(context, state, recorder)
        seconds.append({"whole": time.perf_counter() - began, **clock.take()})
        after = context.ledger.totals()
        tokens = {
            PHASES[Purpose.ROLLOUT]: after.generated_tokens - before.generated_tokens,
            PHASES[Purpose.REFLECTION]: after.reflection_tokens - before.reflection_tokens,
            TRAINING: after.train_tokens - before.train_tokens,
        }
        print(f"iteration {state.step}: {seconds[-1]['whole']:.1f} s", flush=True)
    began = time.perf_counter()
    if options.items:
        await evaluate_split(context, state, Split.TEST, recorder)
    evaluation = {"whole": time.perf_counter() - began, **clock.take()}
    tokens[PHASES[Purpose.EVALUATION]] = context.ledger.totals().eval_tokens
    await context.engine.close()
    return seconds, evaluation, tokens


def show(options: argparse.Namespace, seconds: list[dict[str, float]], evaluation: dict[str, float], tokens: dict[str, float]) -> None:
    """Print the budget, and the experiment multiplied out."""
    later = seconds[1:] or seconds
    median = {name: statistics.median(row.get(name, 0.0) for row in later) for name in later[-1]}
    median["our own work"] = median["whole"] - median.pop(ALL)
    print(f"\nmedian of iterations 2 to {len(seconds)}")
    for name, value in sorted(median.items(), key=lambda item: -item[1]):
        speed = f"{tokens[name] / value:12,.0f} tokens/s" if name in tokens and value else ""
        print(f"{name:<28}{value:9.2f} s {value / median['whole']:7.1%}{speed}")
    if options.items:
        spent = evaluation["whole"]
        print(f"{'evaluation of the test':<28}{spent:9.2f} s        {tokens[PHASES[Purpose.EVALUATION]] / spent:12,.0f} tokens/s")
    larger = options.to_billions / options.shape * options.to_tokens / options.new_tokens
    hours = larger * (PAPERS_ITERATIONS * median["whole"] + PAPERS_EVALUATIONS * evaluation["whole"]) / 3_600
    print(
        f"\n{PAPERS_ITERATIONS} iterations and {PAPERS_EVALUATIONS} evaluations with {options.to_billions} B weights and "
        f"{options.to_tokens:,} tokens: {hours:,.1f} hours, {hours * options.price:,.0f} dollars at {options.price} an hour"
    )


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=("hf", "vllm"), default="vllm")
    parser.add_argument("--shape", type=float, choices=list(HEADS), default=0.6, help="billions of weights")
    parser.add_argument("--layers", type=int, help="of the model; default: as many as the shape has")
    parser.add_argument("--model", help="a folder or hub id instead of random weights; --shape then says its size")
    parser.add_argument("--new-tokens", type=int, default=4_096, help="per rollout")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--items", type=int, default=PAPERS_ITEMS, help="of the test, ten rollouts each; 0: no evaluation")
    parser.add_argument("--to-billions", type=float, default=4.0)
    parser.add_argument("--to-tokens", type=int, default=PAPERS_TOKENS)
    parser.add_argument("--price", type=float, default=3.0, help="dollars for an hour of the device")
    options = parser.parse_args()
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} threads"
    print(f"engine {options.engine} on {name}")
    with TemporaryDirectory() as folder:
        show(options, *asyncio.run(measure(options, Path(folder))))
        if torch.cuda.is_available():
            free, total = torch.cuda.mem_get_info()
            peak = torch.cuda.max_memory_allocated()
            print(f"memory in use at the end: {(total - free) / 2**30:.1f} GiB; of training at most {peak / 2**30:.1f} GiB")


if __name__ == "__main__":
    main()
