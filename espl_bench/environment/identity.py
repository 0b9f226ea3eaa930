"""Identity of an environment's data: what its items are, and what it declares about them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from espl_bench.environment.agent_env import AgentEnv
from espl_bench.environment.text_env import TextEnv


@dataclass(frozen=True, slots=True)
class DataIdentity:
    """Hashes of the items as served, and those that the environment declares."""

    served: Mapping[str, str]
    """By split, of everything that the items hold."""
    declared: Mapping[str, str]
    """As returned by `TextEnv.data_identity`."""
    agent: Mapping[str, str] = field(default_factory=dict[str, str])
    """As returned by `AgentEnv.agent_identity`; empty for an environment without an agent."""

    @classmethod
    def of(cls, env: TextEnv) -> "DataIdentity":
        """Read the items. The environment must not be one that a control has changed."""
        served = env.items_identity()
        agent: Mapping[str, str] = env.agent_identity() if isinstance(env, AgentEnv) else {}
        return cls(served, served if type(env).data_identity is TextEnv.data_identity else env.data_identity(), agent)

    @property
    def compared(self) -> dict[str, str]:
        """Return what two runs are compared by: the declared hashes, and those of the items for splits without one."""
        return {**self.served, **self.declared}

    @property
    def every(self) -> dict[str, str]:
        """Return everything that a resume requires to be the same."""
        differing = {name: hashed for name, hashed in self.declared.items() if self.served.get(name) != hashed}
        return {**self.served, **{f"{DECLARED}{name}": hashed for name, hashed in differing.items()}, **self.agent}


DECLARED = "declared "
"""Prefix of the names of declared hashes, where both kinds are listed."""
