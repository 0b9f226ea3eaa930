"""Estimate a run's requests to endpoints and services, and its maximum cost: `--dry-run`. No request is made.

Sampled tokens are bounded by the limits of a request. Prompts are rendered and their characters counted, because an endpoint's
tokenizer is not available; attempts shown to a reflection are assumed to have their maximum length, so its prompts are overstated.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from espl_bench.accounting.cost_tracker import Budget, ModelRole, Price, open_cost_tracker
from espl_bench.build import dialect_of
from espl_bench.config.run_config import RunConfig
from espl_bench.dry_run.work import Estimate
from espl_bench.environment.text_env import TextEnv
from espl_bench.evolution.operators.editor import critique_context, summary_context
from espl_bench.prompts.dialect import TemplateName
from espl_bench.types import Message, Usage

CHARACTERS_PER_TOKEN = 4
"""Characters of English per token, in most tokenizers."""
PROMPTS_RENDERED = 20
"""Number of problems whose prompts are counted."""


@dataclass(frozen=True, slots=True)
class Bill:
    """Estimated requests, tokens and cost at endpoints and services."""

    requests: int
    """Requests for completions, if every episode uses all its turns."""
    training_requests: int
    """Requests to a service: two a step, gradients and optimiser, if every step has something to learn."""
    saves: int
    """Saves at a service: sampling weights after every step, and checkpoints."""
    max_sampled_tokens: int
    prompt_tokens: int
    """Estimated from characters."""
    max_trained_tokens: int
    """Tokens trained at a service, prompts included, if every rollout has an advantage and uses all its tokens."""
    prices: Mapping[str, Price]
    unpriced: tuple[str, ...]
    max_cost_usd: float | None
    """Cost at list prices; None if a model has none."""


def estimate_bill(config: RunConfig, env: TextEnv, work: Estimate, budget: Budget) -> Bill | None:
    """Estimate the bill; None for a run without endpoint or service. Raises UsageError as the run would for its budget."""
    cost_tracker = open_cost_tracker(config, budget)
    models = cost_tracker.models
    if not models:
        return None
    prompt = _prompt_tokens(config, env)
    calls = {ModelRole.POLICY: (work.rollouts + work.eval_rollouts) * env.turns, ModelRole.EDITOR: work.max_reflection_calls}
    sampled = {ModelRole.POLICY: work.max_generated_tokens + work.max_eval_tokens, ModelRole.EDITOR: work.max_reflection_tokens}
    read = {
        ModelRole.POLICY: calls[ModelRole.POLICY] * prompt,
        ModelRole.EDITOR: calls[ModelRole.EDITOR] * _reflection_tokens(config, env),
    }
    used = {role: Usage(read[role], sampled[role]) for role in models}
    steps = work.steps if cost_tracker.trains else 0
    trained = work.rollouts * prompt + work.max_generated_tokens if cost_tracker.trains else 0
    return Bill(
        requests=sum(calls[role] for role in models),
        training_requests=2 * steps,
        saves=steps + -(-steps // config.checkpoint_every),
        max_trained_tokens=trained,
        max_sampled_tokens=sum(usage.sampled for usage in used.values()),
        prompt_tokens=sum(usage.prompt for usage in used.values()),
        prices=cost_tracker.prices,
        unpriced=cost_tracker.unpriced,
        max_cost_usd=cost_tracker.cost(used, trained),
    )


def _prompt_tokens(config: RunConfig, env: TextEnv) -> int:
    """Return the mean prompt length of the first problems, under the root prompt.

    In episodes of several turns, this is the prompt of the last turn, if all turns before it have their maximum length.
    """
    dialect = dialect_of(config)
    problems = [env.problem(split, index) for split in env.splits for index in range(min(env.size(split), PROMPTS_RENDERED))]
    lengths = [
        _tokens(dialect.prompt_messages(config.evolution.root_principles, problem.question, config.prompts.placement))
        for problem in problems
    ]
    opening = -(-sum(lengths) // len(lengths))
    if env.turns == 1:
        return opening
    last = opening + env.turns * config.sampling.max_tokens  # and what was heard, which only the episode's own limit bounds
    return min(last, config.sampling.max_episode_tokens) if config.sampling.max_episode_tokens is not None else last


def _reflection_tokens(config: RunConfig, env: TextEnv) -> int:
    """Return the longer prompt of a summary and a critique: of a whole response, or of a summary of each attempt."""
    dialect = dialect_of(config)
    problem = env.problem(env.splits[0], 0)
    summary = dialect.reflection_messages(TemplateName.SUMMARY, summary_context(problem, ""))
    critique = dialect.reflection_messages(
        TemplateName.CRITIQUE, critique_context(config.evolution.root_principles, problem, (), config.limits)
    )
    return max(_tokens(summary) + config.sampling.max_tokens, _tokens(critique) + config.batch.group_size * config.editor.max_tokens)


def _tokens(messages: tuple[Message, ...]) -> int:
    return -(-sum(len(message.content) for message in messages) // CHARACTERS_PER_TOKEN)
