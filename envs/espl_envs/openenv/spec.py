"""The spec of `openenv`."""

from espl_bench.environment.text_env import EnvironmentSpec, Wording

OPENENV = EnvironmentSpec(
    name="openenv",
    gym_id="espl/OpenEnv-v0",
    entry_point="espl_envs.openenv.env:OpenEnvEnv",
    summary="an environment that an OpenEnv server runs: --env-option url=http://127.0.0.1:8000",
    wording=Wording(task="You act in an environment. Each of your messages is one action; the environment replies until the episode ends."),
    defaults={"max_tokens": 256},
    turns=8,
    asks_for_items=True,
)
