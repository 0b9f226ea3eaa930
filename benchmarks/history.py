"""What a long history costs the harness: `python benchmarks/history.py`; needs about 4 GB of disk.

A run of E-SPL that has bred 10^5 prompts and made 10^7 rollouts is laid out on disk through the harness's own writer, and
resumed by the real loop; beside it a young run of the same shape. The engine is the tests' scripted one, which answers by rules
and keeps nothing, so that what is measured is the harness: processor seconds of an iteration outside the engine, memory of the
process, and the once-only costs of opening and of closing a run. Then the same with 10^5 prompts alive instead of ten.
Each run is a process of its own.
"""

import argparse
import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from scripted_engine import ScriptedClient, ScriptedEngine  # found in the folder that was just added

from espl_bench import runner
from espl_bench.config.resolve import resolve
from espl_bench.monitoring.reporter import Silent

ITERATIONS = 30
PER_STEP = 150
"""Rollouts of an iteration: 3 prompts, 10 problems, 5 samples."""


class Forgetful(ScriptedEngine):
    """Keeps nothing of what it was asked; counts the processor seconds that it took."""

    seconds = 0.0

    async def current(self):
        """Time the policy."""
        return Timed(await super().current())

    async def reference(self):
        """Time the reference."""
        return Timed(await super().reference())

    async def train_step(self, data, loss, adam):
        """Learn, and forget the data."""
        learned = await super().train_step(data, loss, adam)
        self.trained.clear()
        return learned


class Timed(ScriptedClient):
    """Adds what its samples took to the engine's seconds."""

    def __init__(self, client):
        super().__init__(client.engine, client.weights, client.practice)

    async def sample(self, requests):
        """Sample, forget the requests, and count the seconds."""
        began = time.process_time()
        completions = await super().sample(requests)
        self.engine.calls.clear()
        Forgetful.seconds += time.process_time() - began
        return completions


class Watch(Silent):
    """Processor seconds of each iteration outside the engine, and the memory after it."""

    def __init__(self):
        self.harness: list[float] = []
        self.rss: list[float] = []
        self.began = self.opened = time.process_time()
        self.engine = 0.0

    def started(self, config, folder, step):
        """Begin to measure."""
        self.opened = self.last = time.process_time()
        self.engine = Forgetful.seconds

    def stepped(self, report):
        """Measure an iteration."""
        now = time.process_time()
        self.harness.append(now - self.last - (Forgetful.seconds - self.engine))
        self.rss.append(memory())
        self.last, self.engine = now, Forgetful.seconds


def child(folder: Path, rollouts: int, prompts: int, alive: int) -> None:
    """Lay out a history, resume it for some iterations, print what was measured as one JSON line."""
    done = rollouts // PER_STEP
    choices = {"model": "scripted", "steps": done + ITERATIONS, "eval_every": 0, "eval_samples": 1, "population_size": alive, "seed": 1}
    config = resolve("espl", "rulebook", {**choices, "checkpoint_every": 10, "editor_max_tokens": 128})
    lay_out(folder, config, done, prompts, alive)
    watch = Watch()
    runner.resume(folder, reporter=watch, engine=Forgetful())
    closed = time.process_time() - watch.last
    print(
        json.dumps(
            {
                "iteration": statistics.median(watch.harness),
                "slowest": max(watch.harness),
                "open": watch.opened - watch.began,
                "close": closed,
                "rss": watch.rss[-1],
                "grown": watch.rss[-1] - watch.rss[4],
                "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10,
            }
        )
    )


def lay_out(folder: Path, config, steps: int, prompts: int, alive: int) -> None:
    """The past of a run: its logs, rollouts and last commit."""
    from scripted_engine import ScriptedEngine

    from espl_bench.accounting.usage import LedgerTotals
    from espl_bench.evolution.population import Population
    from espl_bench.runs.log_rows import MetricsRow, TimingRow
    from espl_bench.runs.logs import Log
    from espl_bench.runs.population_events import BornEvent, RatedEvent
    from espl_bench.runs.rollout_rows import RolloutRow
    from espl_bench.runs.run_dir import RunDir
    from espl_bench.types import ROOT_ORIGIN, Lineage, Outcome, Rating, StopReason, SystemPrompt
    from espl_bench.utils.jsonl import encode

    run = RunDir.create(folder, config, {"facts": {}})
    principles = ("dax larger", "fep sum", "wug smaller")
    members = []
    with Log.POPULATION.path(folder).open("ab") as log:
        for number in range(prompts):
            step = number * max(steps, 1) // prompts
            origin = "mutation" if number else ROOT_ORIGIN
            parents = (number - 1,) if number else ()
            log.write(encode(BornEvent(step, number, origin, parents, principles, 25.0, 3.0, ()).encode()))
            if number >= prompts - alive:
                members.append(SystemPrompt(number, principles, Rating(20 + number % 100 / 10, 3.0), Lineage(origin, parents)))
        for step in range(1, steps + 1):
            log.write(encode(RatedEvent(step, {1: 0.5}, {1: (25.0, 3.0)}).encode()))
    outcomes = {Outcome.CORRECT: 0.5, Outcome.WRONG: 0.5}
    with Log.METRICS.path(folder).open("ab") as metrics, Log.TIMING.path(folder).open("ab") as timing:
        for step in range(1, steps + 1):
            metrics.write(encode(MetricsRow(step, 0.5, {1: 0.5}, outcomes, alive, 1, 4000, {"loss": 0.1}).encode()))
            timing.write(encode(TimingRow(step, 1.0, 1.0).encode()))
    rollout = RolloutRow(
        problem_id="train/1",
        question="3 dax 5 = ?",
        answer="5",
        prompt_id=1,
        slot=0,
        sample=0,
        turns=("3 dax 5 = 5 . " * 8,),
        reward=1.0,
        outcome=Outcome.CORRECT,
        stop_reason=StopReason.STOP,
        generated_tokens=30,
        error=None,
    )
    line = encode(rollout.encode())
    for step in range(1, steps + 1):
        run.rollout_path(step).write_bytes(line * PER_STEP)
    population = Population(tuple(members), prompts, alive)
    totals = LedgerTotals(**dict.fromkeys(LedgerTotals.model_fields, 0) | {"rollouts": steps * PER_STEP})
    asyncio.run(run.commit(steps, population.to_json(), totals, ScriptedEngine().save))


def memory() -> float:
    """MiB of this process that are in main memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def measure(name: str, rollouts: int, prompts: int, alive: int) -> None:
    """One process, one line."""
    with TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--child", str(Path(folder) / "run"), *map(str, (rollouts, prompts, alive))]
        found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    print(f"{name}: {prompts:,} prompts bred, {alive:,} alive at most, {rollouts:,} rollouts")
    costs = f"{found['iteration'] * 1e3:.0f} ms, at most, with a commit, {found['slowest'] * 1e3:.0f} ms"
    print(f"    outside the engine an iteration takes {costs} of the processor")
    print(f"    memory {found['rss']:.0f} MiB, {found['grown']:+.1f} MiB over {ITERATIONS - 5} iterations, at most {found['peak']:.0f} MiB")
    print(f"    once: opening {found['open']:.2f} s, the last evaluation and the summary {found['close']:.2f} s", flush=True)


def main() -> None:
    """Parse the command line, measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--rollouts", type=int, default=10_000_000)
    parser.add_argument("--prompts", type=int, default=100_000)
    parser.add_argument("--child", nargs=4, metavar=("FOLDER", "ROLLOUTS", "PROMPTS", "ALIVE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        folder, *numbers = options.child
        child(Path(folder), *map(int, numbers))
        return
    measure("young", PER_STEP * 10, 10, 10)
    measure("old", options.rollouts, options.prompts, 10)
    measure("old, all alive", options.rollouts, options.prompts, options.prompts)


if __name__ == "__main__":
    main()
