"""Tasksets of verifiers 0.4: scored as it scores them, and refused by name where it would score nothing."""

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from espl_envs.verifiers_tasksets import tasksets

from espl_bench.environment.catalogue import find_environment, make_environment
from espl_bench.environment.text_env import TextEnv
from espl_bench.errors import EnvError, UsageError
from espl_bench.rollouts.episode import replay
from espl_bench.types import Observation, Outcome, Split, StopReason

HEAD = "import verifiers.v1 as vf\n"
TASKS = """
class Data(vf.TaskData):
    answer: str

class {kind}(vf.Task[Data]):
    {body}

class Set(vf.Taskset[{kind}, vf.TasksetConfig]):
    def load(self):
        return [{kind}(Data(prompt=f"{{n}} + 4 = ?", answer=str(n + 4){more}), self.config.task) for n in range(20)]

__all__ = ["Set"]
"""
REWARD = """
    @vf.reward(weight=2.0)
    async def right(self, trace):
        return float(trace.last_reply.endswith(self.data.answer))

    @vf.metric
    async def length(self, trace):
        return float(len(trace.last_reply))
"""
needs_verifiers = pytest.mark.skipif(find_spec("verifiers") is None, reason="verifiers pins an older mcp than the one tested here")


@pytest.fixture(autouse=True)
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where packages of tasksets are installed."""
    monkeypatch.syspath_prepend(tmp_path)
    tasksets._opened.cache_clear()
    return tmp_path


def taskset(folder: Path, body: str = REWARD, more: str = "", after: str = "", before: str = "") -> TextEnv:
    """The environment of a taskset whose module holds this."""
    name = f"set{len(list(folder.iterdir()))}_{folder.name.replace('-', '_')}"
    (folder / f"{name}.py").write_text(HEAD + before + TASKS.format(kind="Sum", body=body.strip(), more=more) + after)
    sys.modules.pop(name, None)
    return make_environment(find_environment(f"verifiers:{name}"), {})


def test_without_the_package_it_is_one_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "verifiers", None)
    with pytest.raises(UsageError, match=r"verifiers:gsm8k needs verifiers.*; install it with: pip install 'espl-bench\[verifiers\]'"):
        make_environment(find_environment("verifiers:gsm8k"), {})


@needs_verifiers
def test_a_task_is_scored_as_verifiers_scores_it(written: Path):
    env = taskset(written)
    assert {split.value: env.size(split) for split in Split} == {"train": 10, "validation": 4, "test": 6}
    assert len({env.problem(split, n).question for split in Split for n in range(env.size(split))}) == 20
    problem = env.problem(Split.TRAIN, 0)
    for said, reward, outcome in (
        (f"it is {problem.answer}", 2.0, Outcome.CORRECT),
        ("?", 0.0, Outcome.WRONG),
        ("", 0.0, Outcome.NO_ANSWER),
    ):
        verdict = env.grade(problem, said)  # pyright: ignore[reportAttributeAccessIssue]
        assert (verdict.reward, verdict.outcome, verdict.measures) == (reward, outcome, {"length": float(len(said))})


@needs_verifiers
def test_a_system_prompt_of_all_tasks_begins_the_run_s_and_is_told(written: Path):
    env = taskset(written, more=', system_prompt="Add up."')
    name = next(path.stem for path in written.glob("set*.py"))
    spec = find_environment(f"verifiers:{name}")
    assert spec.wording.task == "Add up." and "Add up." in spec.note
    assert env.problem(Split.TEST, 0).question.endswith("+ 4 = ?") and "Add up." not in env.problem(Split.TEST, 0).question


@needs_verifiers
def test_system_prompts_that_differ_stand_before_their_questions(written: Path):
    env = taskset(written, more=', system_prompt=f"Add up, {n}."')
    assert "\n\n" in (question := env.problem(Split.TEST, 0).question) and question.startswith("Add up, ")


IN_RUNTIME = REWARD.replace("self, trace", "self, trace, runtime")
TOOLS = """
class Notes(vf.State):
    seen: int = 0

class Tools(vf.Toolset[vf.ToolsetConfig, Notes]):
    TOOL_PREFIX = "notes"

    @vf.tool
    def add(self, a: int, b: int) -> dict:
        '''Add two numbers.'''
        self.state.seen += 1
        if a < 0:
            raise ValueError("not below 0")
        return {"sum": a + b, "seen": self.state.seen}
"""
WITH_TOOLS = """
    @classmethod
    def toolsets(cls, config):
        return [Tools(vf.ToolsetConfig({url}))]

    @vf.reward
    async def used(self, trace):
        return float(len(trace.tool_messages) == 2 and trace.state.seen == 2 and trace.last_reply.endswith(self.data.answer))
"""


@needs_verifiers
@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"body": IN_RUNTIME}, "its reward 'right' is computed in a runtime"),
        ({"body": f"NEEDS_CONTAINER = True\n{REWARD}"}, "its tasks need a container"),
        ({"body": f"async def setup(self, trace, runtime): ...\n{REWARD}"}, "its tasks are prepared in a runtime (setup)"),
        ({"body": "pass"}, "it has no reward"),
        ({"more": ', image="python:3.12"'}, "its tasks need a container"),
        ({"before": TOOLS, "body": WITH_TOOLS.format(url="url='http://x/mcp'")}, "its tools are on a server elsewhere (http://x/mcp)"),
        (
            {"after": "class Own(vf.SingleAgentEnv):\n    pass\n__all__ += ['Own']\n"},
            "its episodes are played by an environment of its own",
        ),
    ],
)
def test_what_would_be_scored_0_in_silence_is_refused_by_name(changes: dict, why: str, written: Path):
    with pytest.raises(UsageError) as refused:
        taskset(written, **changes)
    assert f"cannot be used here: {why}" in str(refused.value)


@needs_verifiers
def test_tools_run_in_this_process_with_a_state_of_each_episode(written: Path):
    env = taskset(written, before=TOOLS, body=WITH_TOOLS.format(url=""))
    assert [spec.name for spec in env.tools] == ["notes_add"]  # pyright: ignore[reportAttributeAccessIssue]
    problem = env.problem(Split.TRAIN, 0)
    call = '<tool_call>{{"name": "notes_add", "arguments": {{"a": {}, "b": 4}}}}</tool_call>'
    for _ in range(2):
        env.reset(options={"split": "train", "index": 0})
        heard = [env.step(call.format(number))[0] for number in (1, -1)]
        assert '{"sum": 5, "seen": 1}' in heard[0] and "Error: ValueError: not below 0" in heard[1]
        _, reward, over, _, info = env.step(f"it is {problem.answer}")
        assert (reward, over, info["outcome"]) == (1.0, True, Outcome.CORRECT)


@needs_verifiers
def test_a_stored_episode_with_tools_is_scored_again_by_what_they_replied(written: Path):
    env = taskset(written, before=TOOLS, body=WITH_TOOLS.format(url=""))
    problem = env.problem(Split.TRAIN, 0)
    call = '<tool_call>{"name": "notes_add", "arguments": {"a": 1, "b": 4}}</tool_call>'
    heard = [[Observation('{"sum": 5, "seen": 1}', "notes_add")]] * 2
    ending = replay(env, problem, [call, call, f"it is {problem.answer}"], StopReason.STOP, heard)
    assert (ending.reward, ending.outcome) == (1.0, Outcome.CORRECT)


@needs_verifiers
def test_a_reward_that_fails_is_an_error_and_no_0(written: Path):
    env = taskset(written, body="@vf.reward\n    async def right(self, trace):\n        raise KeyError('x')")
    with pytest.raises(EnvError, match="the taskset's score failed"):
        env.grade(env.problem(Split.TRAIN, 0), "?")  # pyright: ignore[reportAttributeAccessIssue]
