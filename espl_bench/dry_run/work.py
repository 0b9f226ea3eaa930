"""Estimate a run's work from its configuration alone: `--dry-run`. Counts are exact where the loop fixes them, else "at most"."""

from collections.abc import Mapping
from dataclasses import dataclass

from espl_bench.config.run_config import RunConfig
from espl_bench.evolution.acceptance import find_acceptance
from espl_bench.evolution.operators.operator import find_operator
from espl_bench.method import Method
from espl_bench.types import Split


@dataclass(frozen=True, slots=True)
class Estimate:
    """The work of one run."""

    steps: int
    """Iterations; 0 for a method that learns nothing."""
    rollouts: int
    """Training episodes, exactly unless a caveat says otherwise."""
    max_generated_tokens: int
    """Tokens sampled in training, if every episode uses all its turns and tokens."""
    evaluations: Mapping[str, int]
    """Number of evaluations of each held-out split, exactly."""
    eval_rollouts: int
    """Evaluation episodes, exactly."""
    max_eval_tokens: int
    max_reflection_calls: int
    """Requests to the editor if every problem has contrast at every step and every crossover happens."""
    max_reflection_tokens: int
    caveats: tuple[str, ...] = ()
    """What the counts do not bound, one line each."""


def estimate(config: RunConfig, sizes: Mapping[Split, int], turns: int = 1) -> Estimate:
    """Count a run's work. `sizes` holds the number of items of each split, `turns` the policy's turns in an episode."""
    tokens = turns * config.sampling.max_tokens
    if config.sampling.max_episode_tokens is not None:
        tokens = min(tokens, config.sampling.max_episode_tokens)
    steps = config.iterations
    problems = min(config.batch.batch_size, sizes[Split.TRAIN])
    rollouts = steps * config.batch.num_prompts * problems * config.batch.group_size
    evaluations = {
        Split.VALIDATION: evaluated(steps, config.evaluation.eval_every),
        Split.TEST: evaluated(steps, config.evaluation.test_every),
    }
    eval_rollouts = config.evaluation.eval_samples * sum(times * sizes[split] for split, times in evaluations.items())
    calls = steps * reflections_per_step(config, problems)
    return Estimate(
        steps=steps,
        rollouts=rollouts,
        max_generated_tokens=rollouts * tokens,
        evaluations={split.value: times for split, times in evaluations.items()},
        eval_rollouts=eval_rollouts,
        max_eval_tokens=eval_rollouts * tokens,
        max_reflection_calls=calls,
        max_reflection_tokens=calls * config.editor.max_tokens,
        caveats=caveats_of(config.method),
    )


def caveats_of(method: Method) -> tuple[str, ...]:
    """Say what of a method's work the counts do not bound, one line each."""
    caveats: list[str] = []
    if method.operators and find_acceptance(method.acceptance).rolls_out:
        caveats.append("rollouts that judge children are not counted: problems x group_size for each child")
    if method.optimizer is not None:
        caveats.append("an optimizer may make fewer rollouts; its reflections are not counted")
    return tuple(caveats)


def evaluated(steps: int, every: int) -> int:
    """Count evaluations of a split: before steps 0, every, 2·every … and once at the end; 0 means only at the end."""
    return 1 + (-(-steps // every) if every else 0)


def reflections_per_step(config: RunConfig, problems: int) -> int:
    """Return the most requests one step can send to the editor, all operators together."""
    operators = map(find_operator, config.method.operators)
    return sum(operator.max_calls(problems, config.batch.group_size, config.limits) for operator in operators)
