r"""An agent of verifiers: its own harness plays the question, and hands in the last reply.

verifiers 0.4 pins other versions than espl-bench does, so give it an environment of its own, with uv, which its harnesses call:

    python -m venv harness && harness/bin/pip install 'verifiers>=0.4,<0.5' uv
    espl-bench run --method rl_only --env agent:rulebook \
        --env-option command="harness/bin/python examples/agents/verifiers_harness.py"

A second argument names another harness of verifiers. The model behind it is the policy, whose tokens the gateway keeps.
"""

import asyncio
import os
import sys
from pathlib import Path

import verifiers.v1 as vf
from verifiers.v1.agent import AgentConfig, make_agent
from verifiers.v1.clients import EvalClientConfig
from verifiers.v1.runtimes import SubprocessConfig


async def solve(question: str, harness: str) -> str:
    """Play a question, and return the last reply. Raises RuntimeError if the harness failed."""
    client = EvalClientConfig(base_url=os.environ["OPENAI_BASE_URL"], api_key_var="OPENAI_API_KEY")
    config = AgentConfig.model_validate({"harness": {"id": harness}, "model": os.environ["OPENAI_MODEL"], "max_turns": 8})
    agent = make_agent(config.model_copy(update={"client": client, "runtime": SubprocessConfig()}))
    trace = await agent.run(vf.Task(vf.TaskData(idx=0, prompt=question), vf.TaskConfig()))
    if trace.last_error is not None:
        raise RuntimeError(f"{trace.last_error.type}: {trace.last_error.message}")
    return trace.last_reply


if __name__ == "__main__":
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # for uv
    print(asyncio.run(solve(sys.stdin.read(), sys.argv[1] if len(sys.argv) > 1 else "null")))
