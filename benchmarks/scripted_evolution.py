"""Search without a network: `python benchmarks/scripted_evolution.py --out DIR [--rows A,B] [--worlds 201,202] [--seeds 3]`.

Runs rows on rulebook with the tests' scripted engine in place of the lab model, at the lab model's rates: 12 % of digits slip, 3 % of steps
stray from what is stated, and an operator that nothing is stated about is guessed. Critiques, aggregations and crossovers follow the rules
that the lab model was trained to follow. Weights are one number that makes slips rarer. So a run shows what a row's search does with the
words, at a small part of a real run's time, and nothing of what weights can learn about the world. Finished runs in DIR are kept; an
unfinished one is made anew. Then: `python benchmarks/beyond_the_paper.py DIR`.
"""

import argparse
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

import scripted_engine

from espl_bench import runner
from espl_bench.config.resolve import resolve

ROWS = "espl,espl_contrast,espl_credit,espl_verified,espl_niches,espl_evidence"
SHAPE = {"model": "scripted", "lr": 2e-3, "steps": 60, "eval_every": 0, "checkpoint_every": 60}


class Forgetful(scripted_engine.ScriptedEngine):
    """Keeps nothing of what it was asked."""

    async def current(self):
        """Return the client, with an empty memory."""
        self.calls.clear()
        self.trained.clear()
        return await super().current()


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", default=ROWS)
    parser.add_argument("--worlds", default="201,202,203")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    scripted_engine.SLIP, scripted_engine.STRAY, scripted_engine.HABIT = 0.12, 0.03, {}
    for seed in range(given.seeds):
        for world in map(int, given.worlds.split(",")):
            for row in given.rows.split(","):
                folder = given.out / f"w{world}-{row}-s{seed}"
                if (folder / "summary.json").exists():
                    continue
                shutil.rmtree(folder, ignore_errors=True)
                config = resolve(row, "rulebook", {**SHAPE, "seed": seed, "env_options": {"world": world}})
                print(f"{folder.name}: {100 * runner.run(config, folder, engine=Forgetful()).score:.1f} %", flush=True)


if __name__ == "__main__":
    main()
