"""Rollouts and training per second, beside TRL's GRPOTrainer: same model, prompts, rollouts per step and limits, one after the other.

    python3 -m venv .venv-trl && .venv-trl/bin/pip install trl==1.16.0 peft
    python benchmarks/beside_trl.py --engine hf --trl .venv-trl/bin/python

Both train a LoRA adapter of rank 8 on all linear layers, one optimiser step per batch, without a KL term, and grade an answer by its
digits. TRL samples with transformers' ``generate``: its vLLM mode needs a GPU. The first step of each warms up; medians count. Half
of this file runs in the environment of TRL, which has nothing of this project.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

PROBLEMS, GROUP, NEW_TOKENS, RANK, LR = 30, 5, 56, 8, 1e-3


def ours(engine: str, steps: int, folder: Path) -> dict[str, Any]:
    """An rl_only run of this project, in a process of its own, as a user starts it."""
    shape = {"num_prompts": 1, "batch_size": PROBLEMS, "group_size": GROUP, "max_tokens": NEW_TOKENS, "lora_rank": RANK, "lr": LR}
    rest = {"steps": steps, "eval_every": 0, "eval_samples": 1, "checkpoint_every": 1_000, "engine": engine}
    options = [f"--{name.replace('_', '-')}={value}" for name, value in (shape | rest).items()]
    command = [sys.executable, "-m", "espl_bench", "run", "--method=rl_only", "--env=rulebook", "--quiet", f"--out={folder}", *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    from espl_bench.runs.log_rows import read_metrics, read_timing
    from espl_bench.runs.run_dir import RunDir

    run_dir = RunDir.open(folder)
    tokens = [row.generated_tokens for row in read_metrics(run_dir)]
    return {"seconds": [row.seconds for row in read_timing(run_dir)], "tokens": tokens}


def theirs(python: str, steps: int, folder: Path) -> dict[str, Any]:
    """The same with TRL, in TRL's own environment."""
    from espl_bench.config.resolve import resolve
    from espl_bench.environment.catalogue import find_environment, make_environment
    from espl_bench.prompts.dialect import Dialect
    from espl_bench.types import Split

    config = resolve("rl_only", "rulebook", {})
    env = make_environment(find_environment(config.env), config.env_options)
    dialect = Dialect.load(config.prompts.dialect)
    problems = [env.problem(Split.TRAIN, index % env.size(Split.TRAIN)) for index in range(PROBLEMS * steps)]
    rows = [
        {
            "prompt": [
                {"role": message.role, "content": message.content}
                for message in dialect.prompt_messages((), problem.question, config.prompts.placement)
            ],
            "answer": problem.answer,
        }
        for problem in problems
    ]
    (folder / "problems.json").write_text(json.dumps(rows))
    command = [python, __file__, "--child", str(folder), "--model", config.model, "--steps", str(steps)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return json.loads((folder / "trl.json").read_text())


def child(folder: Path, model: str, steps: int) -> None:
    """TRL's side."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    clock: list[float] = []
    tokens: list[int] = []

    class Watch(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            if not clock:
                clock.append(time.perf_counter())

        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.append(time.perf_counter())

    def reward(completions: Sequence[Any], answer: Sequence[str], completion_ids: Sequence[Sequence[int]], **_: Any) -> list[float]:
        tokens.append(sum(map(len, completion_ids)))
        said = [each[0]["content"].rpartition("answer")[2].split() for each in completions]  # as rulebook grades
        return [float("".join(digits) == "".join(gold.split())) for digits, gold in zip(said, answer, strict=True)]

    arguments = GRPOConfig(
        output_dir=str(folder / "trl"),
        use_cpu=not torch.cuda.is_available(),
        bf16=torch.cuda.is_available(),  # as ours
        max_steps=steps,
        learning_rate=LR,
        lr_scheduler_type="constant",
        per_device_train_batch_size=PROBLEMS * GROUP,
        num_generations=GROUP,
        max_completion_length=NEW_TOKENS,
        temperature=1.0,
        beta=0.0,
        gradient_checkpointing=False,
        shuffle_dataset=False,
        save_strategy="no",
        report_to=[],
        logging_steps=1_000,
        disable_tqdm=True,
    )
    dataset = Dataset.from_list(json.loads((folder / "problems.json").read_text()))
    adapter = LoraConfig(r=RANK, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    trainer = GRPOTrainer(model=model, reward_funcs=reward, args=arguments, train_dataset=dataset, peft_config=adapter, callbacks=[Watch()])
    trainer.train()
    seconds = [after - before for before, after in pairwise(clock)]
    (folder / "trl.json").write_text(json.dumps({"seconds": seconds, "tokens": tokens}))


def _speed(found: dict[str, Any]) -> tuple[float, float, float]:
    """Seconds per step, rollouts per second, tokens per step; medians without the first step."""
    seconds, tokens = statistics.median(found["seconds"][1:]), statistics.median(found["tokens"][1:])
    return seconds, PROBLEMS * GROUP / seconds, tokens


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", action="append", choices=("hf", "vllm"), help="of this project; may be repeated")
    parser.add_argument("--trl", default=".venv-trl/bin/python", help="a python that has TRL")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--model", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return child(options.child, options.model, options.steps)
    with TemporaryDirectory() as folder:
        trl = _speed(theirs(options.trl, options.steps, Path(folder)))
        for engine in options.engine or ["hf"]:
            own = _speed(ours(engine, options.steps, Path(folder) / engine))
            print(f"espl-bench, {engine:<5} {own[0]:6.2f} s a step, {own[1]:7.1f} rollouts/s, {own[2]:6.0f} tokens a step")
            print(f"TRL                {trl[0]:6.2f} s a step, {trl[1]:7.1f} rollouts/s, {trl[2]:6.0f} tokens a step")
            print(f"ratio              {trl[0] / own[0]:6.2f}")


if __name__ == "__main__":
    main()
