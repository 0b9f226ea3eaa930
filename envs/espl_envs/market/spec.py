"""The spec of `arithmetic-words`."""

from espl_bench.environment.text_env import EnvironmentSpec

ARITHMETIC_WORDS = EnvironmentSpec(
    name="arithmetic-words",
    gym_id="espl/ArithmeticWords-v0",
    entry_point="espl_envs.market.env:MarketEnv",
    summary="word problems of a market whose measures nobody states, for chat models of any size",
    dialect="full",
    defaults={"steps": 40, "max_tokens": 160, "editor_max_tokens": 512},
)
