"""Totals of a run's spending, as its summary records them."""

from espl_bench.utils.validation import FrozenRecord


class LedgerTotals(FrozenRecord):
    """Spending of a run. Evaluation is counted apart from learning."""

    rollouts: int
    """Training episodes."""
    generated_tokens: int
    """Tokens sampled in training episodes."""
    prompt_tokens: int
    """Prompt tokens of training episodes, counted per request."""
    reflection_tokens: int
    """Tokens sampled by the editor."""
    reflection_prompt_tokens: int
    reflection_calls: int
    train_tokens: int
    """Tokens, prompts included, that went through a training step."""
    eval_rollouts: int
    eval_tokens: int
    """Tokens sampled in evaluations."""
    eval_prompt_tokens: int = 0
    """Prompt tokens of evaluations, counted per request; 0 in summaries older than the field."""
    wall_s: float
    """Seconds from start to end, without interruptions."""
    device_s: float
    """Those seconds in which the engine was sampling or training, or an endpoint was awaited."""


class Spent(FrozenRecord):
    """Spending on learning up to an evaluation, without evaluations themselves."""

    rollouts: int
    """Training episodes."""
    generated_tokens: int
    """Tokens sampled in training episodes."""
    reflection_tokens: int
    """Tokens sampled by the editor."""
    train_tokens: int
    """Tokens, prompts included, that went through a training step."""
    seconds: float
    """Wall time of the iterations, reflections included."""
    prompt_tokens: int = 0
    """Prompt tokens of training episodes; 0 in summaries older than the field."""
    reflection_prompt_tokens: int = 0
    cost_usd: float | None = None
    """Cost of the tokens until then at the endpoints' list prices, reflections included; None without prices."""
