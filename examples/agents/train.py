"""Train the model behind an agent that somebody else wrote (majority.py), in this process.

    python examples/agents/train.py --out /tmp/agent --steps 20

The environment says how the agent is called and how its answer is graded; the rest is a run like any other.
"""

import argparse
import json
from pathlib import Path

import majority
from espl_envs.rulebook.env import RulebookEnv
from espl_envs.rulebook.spec import RULEBOOK
from openai import OpenAI

from espl_bench import AgentEnv, AgentTask, EnvironmentSpec, Problem, Split, Verdict, resolve, run

CLIENT = OpenAI(base_url="http://127.0.0.1/v1", api_key="none")
"""Shared: to make one takes longer than to play an episode."""


class RulebookByMajority(AgentEnv):
    """The problems and the grader of rulebook; the agent hands in."""

    rulebook = RulebookEnv()

    def size(self, split: Split) -> int:
        """Return 256, 64 or 100."""
        return self.rulebook.size(split)

    def problem(self, split: Split, index: int) -> Problem:
        """Return an item of rulebook."""
        return self.rulebook.problem(split, index)

    def grade(self, problem: Problem, response: str) -> Verdict:
        """Grade what the agent hands in."""
        return self.rulebook.grade(problem, response)

    def play(self, task: AgentTask) -> str:
        """Call the agent as its author would, with a client of its gateway."""
        client = CLIENT.with_options(base_url=task.base_url, api_key=task.api_key)
        return majority.solve(task.question, client, task.model)


SPEC = EnvironmentSpec(
    name="rulebook-by-majority",
    gym_id="examples/RulebookByMajority-v0",
    entry_point=f"{__name__}:RulebookByMajority",
    summary="rulebook, answered by a majority of three",
    dialect=RULEBOOK.dialect,
    model=RULEBOOK.model,
    defaults=RULEBOOK.defaults,
)


def train(out: Path, steps: int, method: str = "espl") -> None:
    """Run a method, and print the reward of each step and how far the trainer's log-probabilities are from those that were sampled."""
    config = resolve(method, SPEC, {"steps": steps, "eval_every": 0, "eval_samples": 1})
    summary = run(config, out, env=SPEC)
    for line in (out / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        print(f"step {row['step']:3}  reward {row['reward']:.3f}  log-probabilities differ by {row['train']['logprob_gap']:.1e}")
    print(f"test score {summary.score:.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train the model behind an agent.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--method", default="espl")
    train(**vars(parser.parse_args()))
