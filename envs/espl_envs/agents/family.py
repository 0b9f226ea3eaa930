"""The family `agent`: every environment of one turn, played by a program of yours."""

from collections.abc import Iterator
from dataclasses import replace

from espl_bench.environment.catalogue import find_environment
from espl_bench.environment.family import EnvironmentFamily
from espl_bench.environment.text_env import EnvironmentSpec
from espl_bench.errors import UsageError
from espl_bench.registry import ENVIRONMENTS, names

FAMILY = "agent"
GYM_ID = "espl/Agent-v0"
ENTRY_POINT = "espl_envs.agents.env:PlayedByProgram"
COMPLETIONS = 16
"""Most completions of an episode by default."""


def member(name: str) -> EnvironmentSpec:
    """Return the spec of an environment that a program plays. Raises UsageError."""
    played = find_environment(name)
    return replace(
        played,
        name=f"{FAMILY}:{name}",
        gym_id=GYM_ID,
        entry_point=ENTRY_POINT,
        summary=f"{played.summary}; played by a program of yours",
        arguments={"environment": name},
        turns=COMPLETIONS,
    )


def _members() -> Iterator[str]:
    for name in names(ENVIRONMENTS):
        try:
            if find_environment(name).turns == 1:
                yield name
        except UsageError:  # its package cannot be imported
            continue


AGENT = EnvironmentFamily(
    name=FAMILY,
    gym_id=GYM_ID,
    entry_point=ENTRY_POINT,
    summary="any environment of one turn, played by a program that asks the policy over the chat completions API (docs/gateway.md)",
    members=lambda: tuple(_members()),
    member=member,
    example="rulebook",
    arguments={"environment": "rulebook"},
)
