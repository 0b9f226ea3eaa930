"""The spec of `rulebook`."""

from espl_bench.environment.text_env import EnvironmentSpec
from espl_envs.lab import MODEL

RULEBOOK = EnvironmentSpec(
    name="rulebook",
    gym_id="espl/Rulebook-v0",
    entry_point="espl_envs.rulebook.env:RulebookEnv",
    summary="digits under operators of hidden meaning: short chains to train on, longer ones to be tested on",
    dialect="compact",
    model=str(MODEL),
    defaults={
        "steps": 60,
        "lr": 1e-3,
        "temperature": 1.0,
        "max_tokens": 56,
        "editor_max_tokens": 256,
        "editor_temperature": 0.3,  # the lab model's edits are right more often than at 1.0 (its card)
    },
)
