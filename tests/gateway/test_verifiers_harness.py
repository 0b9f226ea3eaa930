"""The harness of verifiers behind the gateway: as the agent of an example, and as verifiers' own evaluation of a taskset."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

import pytest
from chat_models import make_chat
from gateway_fixtures import Policy, served, session, user
from patience import PATIENCE_S

EXAMPLE = Path(__file__).parents[2] / "examples" / "agents" / "verifiers_harness.py"
BIN = Path(sys.executable).parent
TASKSET = """
import verifiers.v1 as vf

class Sum(vf.Task[vf.TaskData]):
    @vf.reward
    async def right(self, trace):
        return float(trace.last_reply == "it is 3")

class Sums(vf.Taskset[Sum, vf.TasksetConfig]):
    def load(self):
        return [Sum(vf.TaskData(idx=n, prompt=f"{n} + 2 = ?"), self.config.task) for n in range(4)]

__all__ = ["Sums"]
"""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec("verifiers") is None or shutil.which("uv", path=str(BIN)) is None,
        reason="needs verifiers and uv, which its harnesses call; verifiers pins an older mcp than the one tested here",
    ),
]


def played(command: list[str], url: str, key: str, given: str = "", **variables: str) -> str:
    """Run a program with the variables of an agent; return what it printed."""
    known = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "OPENAI_BASE_URL": url, "OPENAI_API_KEY": key, "OPENAI_MODEL": "policy"}
    done = subprocess.run(command, input=given, env={**known, **variables}, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_example_s_agent_hands_in_what_the_policy_said():
    policy = Policy(make_chat("qwen25"), ["it is 3"])
    with served(policy) as server:
        own = session(policy)
        endpoint = server.open(own)
        assert played([sys.executable, str(EXAMPLE)], endpoint.base_url, endpoint.api_key, "1 + 2 = ?") == "it is 3\n"
        assert own.conversations.nodes and [turn.completion.text for turn in own.turns] == ["it is 3"]
        assert policy.requests[0].messages[-1].content == user("1 + 2 = ?")["content"]


def test_its_evaluation_of_a_taskset_has_a_session_for_each_rollout(tmp_path: Path):
    (tmp_path / "sums_of_two.py").write_text(TASKSET)
    policy = Policy(make_chat("qwen25"), ["it is 3"])
    with served(policy, open_to_all=True) as server:
        url = f"{server.url}/v1"
        options = {"-m": "policy", "-n": "4", "-r": "2", "--push": "False", "--run.name": "own", "--output-dir": str(tmp_path)}
        options |= {"--client.base-url": url, "--client.api-key-var": "OPENAI_API_KEY"}
        options |= {"--env.agent.harness.id": "null", "--env.agent.runtime.type": "subprocess"}
        played([str(BIN / "vf-eval"), "sums_of_two", *chain.from_iterable(options.items())], url, server.key, PYTHONPATH=str(tmp_path))
        rollouts = [trace for line in (tmp_path / "own" / "traces.jsonl").read_text().splitlines() for trace in json.loads(line)["traces"]]
        assert len(rollouts) == 8 == len(server)
        for rollout in rollouts:
            [turn] = server.session(rollout["id"], server.key).turns
            assert turn.completion.text == "it is 3" and len(turn.completion.logprobs_T) == len(turn.completion.tokens_T) > 0
