"""How rollouts used their tools: a policy that never calls one, or whose calls all fail, is not visible in rewards and outcomes."""

from collections.abc import Mapping, Sequence
from typing import Final

from espl_bench.tools.tool_env import failed
from espl_bench.types import Trajectory
from espl_bench.utils.formatting import percent

CALLED: Final = "called"
"""Share of the rollouts with a reply to a call, or to an attempt at one."""
FAILED: Final = "failed_calls"
"""Share of the calls that were malformed, or that the tool refused; absent without calls."""

ToolUse = Mapping[str, float]


def tool_use(rollouts: Sequence[Trajectory]) -> dict[str, float]:
    """Return the shares of rollouts of an environment with tools."""
    replies_R = [[reply for turn in rollout.turns for reply in turn.observations if reply.tool is not None] for rollout in rollouts]
    replies = [reply for replies in replies_R for reply in replies]
    called = {CALLED: sum(map(bool, replies_R)) / len(rollouts)} if rollouts else {}
    return {**called, FAILED: sum(map(failed, replies)) / len(replies)} if replies else called


def mean_tool_use(steps: Sequence[ToolUse]) -> dict[str, float]:
    """Average the shares of several steps, each share over the steps that have it."""
    having = {name: [step[name] for step in steps if name in step] for name in (CALLED, FAILED)}
    return {name: sum(shares) / len(shares) for name, shares in having.items() if shares}


def told(use: ToolUse) -> str:
    """Word the shares; empty without tools."""
    if CALLED not in use:
        return ""
    calls = f", {percent(use[FAILED])} of the calls failed" if FAILED in use else ""
    return f"{percent(use[CALLED])} of the rollouts called{calls}"
