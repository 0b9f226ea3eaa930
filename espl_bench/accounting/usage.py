"""Totals of what a run spent, as its summary records them."""

from espl_bench.utils.validation import FrozenRecord


class LedgerTotals(FrozenRecord):
    """What a run spent. Evaluation is priced apart from learning."""

    rollouts: int
    """Training episodes."""
    generated_tokens: int
    """Tokens sampled in training episodes."""
    prompt_tokens: int
    """Prompt tokens of training episodes, counted per request."""
    reflection_tokens: int
    """Tokens the editor wrote."""
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
    """Seconds from start to end, interruptions left out."""
    device_s: float
    """Seconds of these during which the engine was sampling or training, or an endpoint was waited for."""


class Spent(FrozenRecord):
    """What learning had cost when an evaluation was made; evaluations themselves are not in it."""

    rollouts: int
    """Training episodes."""
    generated_tokens: int
    """Tokens sampled in training episodes."""
    reflection_tokens: int
    """Tokens the editor wrote."""
    train_tokens: int
    """Tokens, prompts included, that went through a training step."""
    seconds: float
    """Wall time of the iterations, reflections included."""
    prompt_tokens: int = 0
    """Prompt tokens of training episodes; 0 in summaries older than the field."""
    reflection_prompt_tokens: int = 0
    cost_usd: float | None = None
    """The tokens until then at the list prices of the endpoints that were asked, reflections included; None without prices."""
