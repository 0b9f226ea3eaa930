"""The spec of `almanac`."""

from espl_bench.environment.text_env import EnvironmentSpec
from espl_envs.lab import SEARCH_MODEL

ALMANAC = EnvironmentSpec(
    name="almanac",
    gym_id="espl/Almanac-v0",
    entry_point="espl_envs.almanac.env:AlmanacEnv",
    summary="look it up in two steps, by the house's words and from the source that tells the truth",
    dialect="compact",
    model=str(SEARCH_MODEL),
    defaults={
        "steps": 60,
        "lr": 1e-3,
        "temperature": 1.0,
        "max_tokens": 16,
        "editor_max_tokens": 256,
        "editor_temperature": 0.3,
    },
)
