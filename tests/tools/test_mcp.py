"""Tools of real MCP servers, over standard streams and over HTTP on this machine: schemas, results, and everything that can fail."""

import json
import os
import pickle
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from patience import PATIENCE_S

from espl_bench.environment.checker import check_environment
from espl_bench.environment.text_env import Verdict
from espl_bench.errors import EnvError, UsageError
from espl_bench.tools.mcp import McpTools
from espl_bench.tools.mcp import tools as mcp_tools
from espl_bench.tools.tool_env import ToolEnv, ToolLimits
from espl_bench.tools.tool_spec import BadArgumentsError
from espl_bench.types import Outcome, Problem, Split

SERVER = Path(__file__).parents[1] / "support" / "mcp_server.py"
NAMES = ["capital_of", "capital_of_2", "hostile", "long", "slow", "leave", "pid", "variable", "picture"]
Make = Callable[..., McpTools]


class Holder:
    """Holds a connection as an environment does."""


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """A file with a line for each start of a server."""
    return tmp_path / "mark"


@pytest.fixture
def stdio(mark: Path) -> Iterator[Make]:
    """Tools of a program."""
    made: list[McpTools] = []

    def make(**limits: object) -> McpTools:
        made.append(McpTools(command=[sys.executable, str(SERVER), "stdio", str(mark)], **limits))  # pyright: ignore[reportArgumentType]
        return made[-1]

    yield make
    for tools in made:
        tools.release(Holder())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def http(mark: Path) -> Iterator[Make]:
    """Tools of an address."""
    port = free_port()
    command = [sys.executable, str(SERVER), "http", str(mark), str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    made: list[McpTools] = []

    def make(**limits: object) -> McpTools:
        made.append(McpTools(url=f"http://127.0.0.1:{port}/mcp", **limits))  # pyright: ignore[reportArgumentType]
        return made[-1]

    yield make
    for tools in made:
        tools.release(Holder())
    process.kill()
    process.wait()


@pytest.fixture(params=["stdio", "http"])
def make(request: pytest.FixtureRequest) -> Make:
    return request.getfixturevalue(request.param)


class Capitals(ToolEnv):
    """An environment whose tools are a server's."""

    def __init__(self, tools: McpTools) -> None:
        super().__init__(ToolLimits(turns=4, calls=3, reply_chars=200))
        self.offer(tools)

    def size(self, split: Split) -> int:
        return 2

    def problem(self, split: Split, index: int) -> Problem:
        country, answer = {"train": ("Peru", "Lima"), "validation": ("Chad", "N'Djamena"), "test": ("Laos", "Vientiane")}[split]
        question = f"What is the capital of {country}{'?' * (index + 1)}"
        return Problem(f"{split}/{index}", split, index, question, answer, gold=f"Answer: {answer}")

    def grade(self, problem: Problem, response: str) -> Verdict:
        _, found, given = response.rpartition("Answer:")
        if not found or not given.strip():
            return Verdict.of(Outcome.NO_ANSWER)
        return Verdict.of(Outcome.CORRECT if given.strip() == problem.answer else Outcome.WRONG)


def call(name: str, **arguments: object) -> str:
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


def ended(pid: int) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.slow
def test_schemas_are_passed_through_and_names_made_safe(make: Make):
    tools = make()
    assert [tool.name for tool in tools] == NAMES
    schema = tools[0].schema()["function"]
    assert schema["parameters"]["properties"] == {
        "country": {"title": "Country", "type": "string"},
        "shout": {"default": False, "title": "Shout", "type": "boolean"},
    }
    assert schema["parameters"]["required"] == ["country"]
    assert "\x1b" not in schema["description"] and "<|im_start|>" not in schema["description"]
    assert tools.use(Holder(), "capital_of", {"country": "Peru", "shout": True}) == "LIMA"
    assert tools.use(Holder(), "capital_of_2", {"country": "Peru"}) == "Peru", "the one with the other name"


@pytest.mark.slow
def test_what_the_server_refuses_is_a_failed_call_and_no_error(make: Make):
    tools = make()
    with pytest.raises(BadArgumentsError, match="there is no country 'Mars'"):
        tools.use(Holder(), "capital_of", {"country": "Mars"})
    env = Capitals(tools)
    env.reset(options={"split": "train", "index": 0})
    said, reward, terminated, truncated, info = env.step(call("capital_of", country="Mars"))
    assert said.startswith("<tool_response>\nError: ") and "there is no country 'Mars'" in said
    assert (reward, terminated, truncated) == (0.0, False, False) and info["exchange"].calls[0].tool == "capital_of"
    assert "needs the argument 'country'" in env.step(call("capital_of"))[0], "arguments are checked before the server is asked"


@pytest.mark.slow
def test_results_are_made_harmless_and_bounded(make: Make):
    tools = make()
    env = Capitals(tools)
    env.reset(options={"split": "train", "index": 0})
    said = env.step(call("hostile"))[0].removeprefix("<tool_response>\n").removesuffix("\n</tool_response>")
    assert "</tool_response>" not in said and "<|im_" not in said and "before" in said and "after" in said
    assert not any(char in said for char in "\x1b\x07\u202e")
    assert len(env.step(call("long", characters=100_000))[0]) < 300
    assert tools.use(Holder(), "picture", {}) == "a picture:\n(image left out: only text can be shown)"


@pytest.mark.slow
def test_one_session_serves_all_instances_and_ends_with_the_last(stdio: Make, mark: Path):
    tools = stdio()
    first, second = Capitals(tools), pickle.loads(pickle.dumps(Capitals(tools)))
    first.prepare()
    assert first.use("pid", {}) == second.use("pid", {})
    [pid] = map(int, mark.read_text().split())
    first.close()
    assert second.use("pid", {}) == str(pid)
    second.close()
    assert ended(pid) and mark.read_text().split() == [str(pid)]
    again = Capitals(tools)
    again.prepare()
    assert again.use("pid", {}) != str(pid), "the next run has a session of its own"
    again.close()


@pytest.mark.slow
def test_a_server_that_is_slow_ends_or_says_too_much_is_an_error_of_the_episode_and_the_next_call_works(stdio: Make, mark: Path):
    tools = stdio(timeout_s=1.0, max_bytes=1_000_000)
    env = Capitals(tools)
    env.prepare()
    for fault, why in (
        (call("slow", seconds=3), "did not answer in time"),
        (call("long", characters=2_000_000), "a message that is too long"),
        (call("leave"), "its program ended"),
    ):
        env.reset(options={"split": "train", "index": 0})
        with pytest.raises(EnvError, match=why) as error:
            env.step(fault)
        assert "\n" not in str(error.value) and "\x1b" not in str(error.value)
        env.reset(options={"split": "train", "index": 0})
        assert "Lima" in env.step(call("capital_of", country="Peru"))[0]
    assert len(mark.read_text().split()) == 3, "it was started again after each of the last two"
    env.close()
    assert all(ended(int(pid)) for pid in mark.read_text().split())


@pytest.mark.slow
def test_an_address_that_fails_is_an_error_of_the_episode(http: Make):
    tools = http(timeout_s=1.0, max_bytes=1_000_000, start_timeout_s=5.0)
    env = Capitals(tools)
    for fault in (call("slow", seconds=3), call("long", characters=2_000_000), call("leave")):
        env.reset(options={"split": "train", "index": 0})
        with pytest.raises(EnvError):
            env.step(fault)
    with pytest.raises(EnvError, match=r"the MCP server http://127\.0\.0\.1:\d+/mcp cannot be used"):
        tools.use(Holder(), "pid", {})


@pytest.mark.slow
def test_a_server_that_keeps_failing_is_not_started_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mcp_tools, "MOST_FAILURES", 3)
    mark = tmp_path / "starts"
    script = f"open({str(mark)!r}, 'a').write('x'); raise SystemExit('\\x1b[31mno licence')"
    tools = McpTools(command=[sys.executable, "-c", script])
    for _ in range(3):
        with pytest.raises(EnvError, match=r"its program ended: .*no licence") as error:
            tools.offered()
        assert "\x1b" not in str(error.value)
    for _ in range(3):
        with pytest.raises(EnvError, match="has failed 3 times, and is not tried again"):
            tools.offered()
    assert mark.read_text() == "xxx"


@pytest.mark.slow
def test_a_program_gets_no_variable_that_was_not_named(stdio: Make, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOME_KEY", "secret")
    assert stdio().use(Holder(), "variable", {"name": "SOME_KEY"}) == "(not set)"
    assert stdio(variables=["SOME_KEY"]).use(Holder(), "variable", {"name": "SOME_KEY"}) == "secret"


@pytest.mark.slow
def test_an_author_names_a_server_in_two_lines(mark: Path):
    class TwoLines(Capitals):
        tools = McpTools(command=[sys.executable, str(SERVER), "stdio", str(mark)])

        def __init__(self) -> None:
            ToolEnv.__init__(self, ToolLimits())

    env = TwoLines()
    env.prepare()
    env.reset(options={"split": "train", "index": 0})
    assert "Lima" in env.step(call("capital_of", country="Peru"))[0]
    env.close()


@pytest.mark.slow
def test_some_of_the_tools_may_be_chosen(stdio: Make):
    assert [tool.name for tool in stdio(only=["pid", "capital/of"])] == ["pid", "capital_of"]
    with pytest.raises(UsageError, match="did you mean 'pid'"):
        stdio(only=["pit"]).offered()


@pytest.mark.slow
def test_an_environment_with_tools_of_a_server_keeps_the_contract(stdio: Make):
    tools = stdio()
    check_environment(Capitals(tools), twin=Capitals(tools), samples=2)


@pytest.mark.parametrize(
    ("named", "complaint"),
    [
        ({"url": "http://example.org/mcp"}, "an http address on this machine"),
        ({"url": "http://127.0.0.1.example.org/mcp"}, "an http address on this machine"),
        ({"url": "http://user:secretsecretsecret@127.0.0.1/mcp"}, "without a login or a key"),
        ({"url": "file:///etc/passwd"}, "an http address on this machine"),
        ({}, "give one of them"),
        ({"url": "http://127.0.0.1/mcp", "command": ["x"]}, "give one of them"),
        ({"command": "python server.py"}, "is a list of texts"),
        ({"command": ["x"], "timeout_s": 0}, "must be a number above 0"),
    ],
)
def test_a_server_elsewhere_or_none_is_refused_before_anything_is_reached(named: dict, complaint: str):
    with pytest.raises(UsageError, match=complaint) as error:
        McpTools(**named)
    assert "secretsecret" not in str(error.value)


def test_an_option_names_a_server_in_three_ways():
    assert McpTools.of("http://[::1]:3/mcp").url == "http://[::1]:3/mcp"
    assert McpTools.of("python 'my server.py'") == McpTools.of(["python", "my server.py"]) == McpTools(command=["python", "my server.py"])
    for wrong in (3, {"a": 1}, [1]):
        with pytest.raises(UsageError):
            McpTools.of(wrong)


def test_a_program_that_there_is_not_is_one_line():
    with pytest.raises(EnvError, match=r"the MCP server /no/such/program cannot be used: .*No such file"):
        McpTools(command=["/no/such/program"]).offered()


def test_the_extra_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "espl_bench.tools.mcp.session", None)
    with pytest.raises(UsageError, match=r"pip install 'espl-bench\[mcp\]'"):
        McpTools(command=["x"]).offered()
