"""Whole runs with the tools of an MCP server: recorded, verified without the server, and never started for a stranger's run."""

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from data_fixtures import write_jsonl
from endpoint_server import Handler, serving

from espl_bench.cli.app import invoke
from espl_bench.environment.catalogue import find_environment, make_environment
from espl_bench.environment.checker import check_environment
from espl_bench.errors import UsageError
from espl_bench.runs.run_dir import RunDir
from espl_bench.tools.tool_env import ToolEnv
from espl_bench.types import Split
from espl_bench.utils.jsonl import decode

SERVER = Path(__file__).parents[1] / "support" / "mcp_server.py"
CAPITALS = {"France": "Paris", "Peru": "Lima", "Chad": "N'Djamena"}


class LooksUp(Handler):
    """A model that looks capitals up, waits for too long if it is asked about Chad, and asks for what there is not about France first."""

    def do_GET(self) -> None:
        self.refuse(404, "lists nothing")

    def do_POST(self) -> None:
        messages = json.loads(self.body())["messages"]
        last, asked = messages[-1]["content"], next(each["content"] for each in messages if each["role"] == "user")
        country = next(name for name in CAPITALS if name in asked)
        if "<tool_response>" in last and "Error" not in last:
            said = f"Answer: {last.split('<tool_response>')[1].split('</tool_response>')[0].strip()}"
        else:
            wrong = country == "France" and "<tool_response>" not in last
            arguments = {"country": "Atlantis" if wrong else country}
            call = {"name": "slow", "arguments": {"seconds": 4}} if country == "Chad" else {"name": "capital_of", "arguments": arguments}
            said = f"I look it up. <tool_call>{json.dumps(call)}</tool_call>"
        choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 20, "completion_tokens": 9}
        self.reply(200, json.dumps({"object": "chat.completion", "choices": [choice], "usage": usage}).encode())


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    rows = ({"question": f"What is the capital of {country}?", "answer": answer} for country, answer in CAPITALS.items())
    return write_jsonl(tmp_path / "test.jsonl", rows)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "mark"


@pytest.fixture
def run(tmp_path: Path, questions: Path, mark: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[], tuple[Path, dict]]:
    """Run method base with a server that leaves a mark when it is started."""

    def start() -> tuple[Path, dict]:
        folder, server = tmp_path / "run", json.dumps([sys.executable, str(SERVER), "stdio", str(mark)])
        with serving(LooksUp) as url:
            command = ["run", "--method=base", "--env=mcp-qa", f"--env-option=mcp={server}", f"--data=test={questions}", f"--out={folder}"]
            options = [
                "--engine=openai",
                f"--base-url={url}",
                "--model=m",
                "--eval-samples=1",
                "--request-tries=1",
                "--env-option=mcp_timeout=1",
                "--json",
            ]
            assert invoke([*command, *options]) == 0, capsys.readouterr().err
        return folder, json.loads(capsys.readouterr().out)

    return start


def ended(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.slow
def test_a_run_uses_the_tools_records_the_calls_and_is_verified_without_the_server(
    run: Callable[[], tuple[Path, dict]], mark: Path, capsys: pytest.CaptureFixture[str]
):
    folder, summary = run()
    assert summary["score"] == pytest.approx(2 / 3) and summary["outcomes"] == {
        "correct": pytest.approx(2 / 3),
        "error": pytest.approx(1 / 3),
    }
    started = mark.read_text().split()
    assert len(started) == 1 and all(map(ended, started)), "one session, closed at the end of the run"
    rows = {row["problem_id"]: row for row in RunDir(folder).read_rollouts(0, decode, Split.TEST)}
    france, peru, chad = (next(row for row in rows.values() if name in row["question"]) for name in CAPITALS)
    heard = [[each["text"] for each in turn] for turn in france["heard"]]
    assert heard[0][0].startswith("Error: ") and heard[1] == ["Paris"] and peru["heard"] == [[{"tool": "capital_of", "text": "Lima"}]]
    assert chad["outcome"] == "error" and "did not answer in time" in chad["error"]
    for command in (["verify", str(folder)], ["table", str(folder)], ["show", str(folder), "--rollout=0"]):
        assert invoke(command) == 0
    said = capsys.readouterr().out
    assert "base" in said
    assert mark.read_text().split() == started, "reading a run starts nothing"


@pytest.mark.slow
def test_a_strangers_run_starts_no_program_unless_that_is_confirmed(
    run: Callable[[], tuple[Path, dict]], mark: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder, _ = run()
    started = mark.read_text()
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "summary.json").unlink()
    assert invoke(["verify", str(copy)]) == 0
    assert invoke(["resume", str(copy)]) == 2
    refusal = capsys.readouterr().err
    assert "was not put there by you on this machine" in refusal and f"the environment's mcp by running {sys.executable}" in refusal
    assert f"--contact={sys.executable}" in refusal.replace("'", "") and mark.read_text() == started


def test_what_mcp_qa_needs_is_said_in_one_line(questions: Path):
    spec = find_environment("mcp-qa")
    with pytest.raises(UsageError, match="mcp-qa needs an MCP server"):
        make_environment(spec, {"test": str(questions)})
    with pytest.raises(UsageError, match="an http address on this machine"):
        make_environment(spec, {"test": str(questions), "mcp": "https://example.org/mcp"})


@pytest.mark.slow
def test_mcp_qa_keeps_the_contract(questions: Path, mark: Path):
    options = {"test": str(questions), "mcp": [sys.executable, str(SERVER), "stdio", str(mark)]}
    spec = find_environment("mcp-qa")
    held = make_environment(spec, options)
    assert isinstance(held, ToolEnv)
    held.tools.hold(held)  # the last instance that is closed ends the session
    check_environment(make_environment(spec, options), twin=make_environment(spec, options))
    assert len(mark.read_text().split()) == 1, "all instances share a session"
