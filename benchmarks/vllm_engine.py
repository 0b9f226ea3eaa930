"""How fast engine vllm is, beside vLLM alone and beside an iteration without words: `python benchmarks/vllm_engine.py`.

Three parts, each a function; `--part` chooses some. All run the lab model on whatever device vLLM was built for.

sampling   Tokens per second of rollouts (episodes, environment and grading included) through the engine, and of vLLM's own
           ``LLM.generate`` on the same prompts in the same process, each completion to the same length as the rollout's, with the
           same adapter and without. They take turns, and the medians count, so that a busy machine disturbs the ratio less.
iteration  Seconds of an E-SPL iteration and of an RL-only iteration with as many rollouts, in the same engine, in turns.
mismatch   Mean |log-probability difference| between sampler and trainer over an espl run of some steps.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from espl_bench.build import GivenObjects, open_run
from espl_bench.config.resolve import resolve
from espl_bench.engines.adapter_spec import AdapterSpec
from espl_bench.engines.vllm import setup
from espl_bench.engines.vllm.engine import VllmEngine
from espl_bench.evolution.population import Population
from espl_bench.loop import LoopState, RunContext, iterate
from espl_bench.monitoring.recorder import RunRecorder
from espl_bench.monitoring.reporter import Silent
from espl_bench.rollouts.rollout import roll_out
from espl_bench.runs.log_rows import read_metrics
from espl_bench.runs.run_dir import RunDir
from espl_bench.types import Split, TrajectoryGroup

PROBLEMS, GROUP = 40, 5


def context_of(method: str, engine: VllmEngine, **choices: Any) -> RunContext:
    """A run's parts around an engine that is there already."""
    config = resolve(method, "rulebook", {"engine": "vllm", "lora_rank": 8, **choices})
    return open_run(config, given=GivenObjects(engine=engine))


async def timed(work: Callable[[], Awaitable[int]]) -> float:
    """Tokens per second of one call."""
    began = time.perf_counter()
    tokens = await work()
    return tokens / (time.perf_counter() - began)


def sampled(groups: Sequence[TrajectoryGroup]) -> int:
    """Tokens of all rollouts."""
    return sum(rollout.generated_tokens for group in groups for rollout in group.trajectories_G)


def sampling(engine: VllmEngine, repeats: int) -> None:
    """Rollouts against ``LLM.generate``."""
    from vllm import LLM, SamplingParams

    context = context_of("base", engine)
    serving = setup.Serving(str(context.config.model), 8, "float32", on_cpu=not torch.cuda.is_available(), shares_device=True)
    with setup.variables(serving.environment()):
        llm = LLM(**serving.arguments())
    problems = [context.env.problem(Split.TRAIN, index) for index in range(PROBLEMS)]
    prompts = Population.start((), 1).members

    async def roll(step: int) -> tuple[TrajectoryGroup, ...]:
        return await roll_out(await engine.current(), context.spec, prompts, problems, GROUP, "benchmark", step)

    async def compare() -> list[tuple[float, float, float]]:
        found: list[tuple[float, float, float]] = []
        for step in range(repeats + 1):
            groups: list[TrajectoryGroup] = []

            async def ours(step: int = step, groups: list[TrajectoryGroup] = groups) -> int:
                groups.extend(await roll(step))
                return sampled(groups)

            speed = await timed(ours)
            turns = [rollout.turns[0] for group in groups for rollout in group.trajectories_G]
            asked = [{"prompt_token_ids": list(turn.observation_T)} for turn in turns]
            lengths = [len(turn.completion.tokens_T) for turn in turns]

            def generate(options: list[dict[str, Any]], lora: Any, asked: list[Any] = asked) -> int:
                given = [SamplingParams(ignore_eos=True, temperature=1.0, detokenize=False, **each) for each in options]
                outs = llm.generate(asked, given, use_tqdm=False, lora_request=lora)
                return sum(len(out.outputs[0].token_ids) for out in outs)

            async def alike(lengths: list[int] = lengths) -> int:
                lora = engine._parts.adapters.newest.lora
                return generate([{"max_tokens": n, "seed": place, "logprobs": 0} for place, n in enumerate(lengths)], lora)

            async def bare(lengths: list[int] = lengths) -> int:
                return generate([{"max_tokens": n} for n in lengths], None)

            found.append((speed, await timed(alike), await timed(bare)))
        return found[1:]  # the first warms up

    ours, alike, bare = (statistics.median(speeds) for speeds in zip(*asyncio.run(compare()), strict=True))
    print(f"rollouts through the engine                      {ours:9.0f} tokens/s")
    print(f"LLM.generate, adapter, seeds, log-probabilities  {alike:9.0f} tokens/s   ratio {ours / alike:.2f}")
    print(f"LLM.generate, none of these                      {bare:9.0f} tokens/s   ratio {ours / bare:.2f}")


def iteration(engine: VllmEngine, repeats: int) -> None:
    """E-SPL against RL-only, iteration by iteration."""
    seconds: dict[str, list[float]] = {"espl": [], "rl_only": []}
    reflected = 0
    with TemporaryDirectory() as folder:
        parts: dict[str, tuple[RunContext, RunRecorder, LoopState]] = {}
        for method in seconds:
            context = context_of(method, engine)
            run_dir = RunDir.create(Path(folder) / method, context.config, {})
            population = Population.start(context.config.evolution.root_principles, context.config.method.population_size)
            parts[method] = context, RunRecorder(run_dir, context.ledger, Silent()), LoopState(0, population)

        async def turns() -> None:
            for _ in range(repeats + 1):
                for method, (context, recorder, state) in parts.items():
                    began = time.perf_counter()
                    parts[method] = context, recorder, await iterate(context, state, recorder)
                    seconds[method].append(time.perf_counter() - began)

        asyncio.run(turns())
        reflected = parts["espl"][0].ledger.totals().reflection_calls
    espl, rl_only = (statistics.median(seconds[method][1:]) for method in ("espl", "rl_only"))
    print(f"median iteration: espl {espl:.2f} s, rl_only {rl_only:.2f} s, ratio {espl / rl_only:.2f} ({reflected} reflections in all)")


def mismatch(engine: VllmEngine, steps: int) -> None:
    """An espl run's own measurements."""
    context = context_of("espl", engine, steps=steps)
    with TemporaryDirectory() as folder:
        run_dir = RunDir.create(Path(folder) / "run", context.config, {})
        recorder = RunRecorder(run_dir, context.ledger, Silent())

        async def learn() -> None:
            state = LoopState(0, Population.start(context.config.evolution.root_principles, context.config.method.population_size))
            for _ in range(steps):
                state = await iterate(context, state, recorder)

        asyncio.run(learn())
        trained = [row.train for row in read_metrics(run_dir)]
    gaps = [row["logprob_gap"] for row in trained]
    print(f"mean |log p - log q| over {steps} steps: {statistics.fmean(gaps):.2e} nats, worst step {max(gaps):.2e}")
    largest, capped = (max(row[name] for row in trained) for name in ("ratio_max", "capped_fraction"))
    print(f"largest ratio of a token {largest:.5f}, tokens capped {capped:.2%}")


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=("sampling", "iteration", "mismatch"), help="may be repeated; default: all")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    parts = options.part or ["mismatch", "iteration", "sampling"]
    model = resolve("espl", "rulebook", {}).model
    engine = VllmEngine.from_pretrained(model, AdapterSpec(rank=8, alpha=32.0, seed=0))
    try:
        for part in parts:
            {"sampling": sampling, "iteration": iteration, "mismatch": mismatch}[part](engine, options.repeats)
    finally:
        asyncio.run(engine.close())


if __name__ == "__main__":
    main()
