"""`agent:NAME`: an environment of one turn played by somebody's program, trained on, shown, and verified without the program."""

import json
import sys
from pathlib import Path

import pytest
from loop_fixtures import SCRIPTED_SHAPE
from scripted_engine import ScriptedEngine

from espl_bench import runner
from espl_bench.cli.app import invoke
from espl_bench.config.resolve import resolve
from espl_bench.environment.catalogue import find_environment, make_environment
from espl_bench.environment.checker import check_environment
from espl_bench.environment.identity import DataIdentity
from espl_bench.errors import UsageError
from espl_bench.runs.rollout_rows import RolloutRow
from espl_bench.runs.run_dir import RunDir
from espl_bench.types import Outcome, Split

PROGRAM = """
import http.client, json, os, sys
from urllib.parse import urlsplit
question, place = sys.stdin.read(), urlsplit(os.environ["OPENAI_BASE_URL"])
connection = http.client.HTTPConnection(place.netloc)
headers = {"Authorization": "Bearer " + os.environ["OPENAI_API_KEY"]}
said = []
for _ in range(2):
    body = {"model": os.environ["OPENAI_MODEL"], "messages": [{"role": "user", "content": question}]}
    connection.request("POST", place.path + "/chat/completions", json.dumps(body), headers)
    said.append(json.load(connection.getresponse())["choices"][0]["message"]["content"])
print(max(said, key=len))
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    script = tmp_path_factory.mktemp("agent") / "program.py"
    script.write_text(PROGRAM)
    return script


@pytest.fixture(scope="module")
def finished(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    small = {"steps": 2, "num_prompts": 2, "batch_size": 2, "group_size": 2, "env_options": {"command": [sys.executable, str(program)]}}
    runner.run(resolve("espl", "agent:rulebook", SCRIPTED_SHAPE | small), folder, engine=ScriptedEngine())
    return folder


def made(**options):
    return make_environment(find_environment("agent:rulebook"), options)


def test_it_has_the_problems_the_words_and_the_grader_of_the_environment():
    played, plain = find_environment("agent:rulebook"), find_environment("rulebook")
    assert (played.dialect, played.model, played.wording, played.defaults) == (plain.dialect, plain.model, plain.wording, plain.defaults)
    env, own = made(world=3), make_environment(plain, {"world": 3})
    assert env.problem(Split.TEST, 5) == own.problem(Split.TEST, 5) and env.max_response_chars == own.max_response_chars
    check_environment(env, twin=made(world=3))


def test_another_program_is_another_agent_and_the_data_is_the_same(tmp_path: Path):
    script = tmp_path / "a.py"
    script.write_text("print(1)")
    one = DataIdentity.of(made(command=f"{sys.executable} {script}"))
    script.write_text("print(2)")
    two = DataIdentity.of(made(command=[sys.executable, str(script)]))
    assert one.compared == two.compared and one.every != two.every


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("agent:almanac", {}, "environments of one turn"),
        ("agent:rulebook", {"command": 3}, "command must be a list of texts"),
        ("agent:rulebook", {"command": "python '"}, "is none"),
        ("agent:rulebook", {"agent_completions": 0}, "agent_completions must be a whole number"),
        ("agent:rulebook", {"world": -1}, "world must be a whole number"),
    ],
)
def test_what_cannot_be_played_is_one_line(name: str, options: dict, said: str):
    with pytest.raises(UsageError, match=said):
        make_environment(find_environment(name), options)


@pytest.mark.parametrize(("options", "said"), [({}, "an agent needs its program"), ({"command": "no-such-program"}, "there is no program")])
def test_a_run_without_a_program_does_not_begin(options: dict, said: str):
    with pytest.raises(UsageError, match=said):
        made(**options).prepare()


def test_a_teacher_is_not_shown_conversations_that_it_cannot_be_shown(tmp_path: Path):
    config = resolve("distill", "agent:rulebook", SCRIPTED_SHAPE | {"env_options": {"command": sys.executable}})
    with pytest.raises(UsageError, match="an agent words its conversations itself"):
        runner.run(config, tmp_path / "run", engine=ScriptedEngine())


@pytest.mark.slow
def test_a_program_s_episodes_are_trained_on(finished: Path):
    run = RunDir(finished)
    rows = run.read_rollouts(2, RolloutRow.parse, None)
    assert len(rows) == 8 and all(len(row.turns) == 2 and row.segments == 2 for row in rows)
    assert {row.outcome for row in rows} <= {Outcome.CORRECT, Outcome.WRONG}
    assert all(row.submitted == max(row.turns, key=len) for row in rows)
    assert run.summary().n_items == 100


@pytest.mark.slow
def test_it_is_verified_and_shown_without_the_program(finished: Path, program: Path, capsys: pytest.CaptureFixture[str]):
    program.rename(program.with_suffix(".away"))
    try:
        assert invoke(["verify", str(finished), "--json", "--quiet"]) == 0
        assert json.loads(capsys.readouterr().out)["agrees"]
    finally:
        program.with_suffix(".away").rename(program)
    assert invoke(["show", str(finished), "--rollout", "0"]) == 0
    shown = capsys.readouterr().out
    assert "handed in by the agent" in shown and "2 segments, as the agent's conversations part" in shown


@pytest.mark.slow
def test_a_changed_submission_is_found(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    import shutil

    folder = Path(shutil.copytree(finished, tmp_path / "run"))
    path = folder / "rollouts/test_000002.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    right = next(place for place, row in enumerate(lines) if row["outcome"] == "correct")
    lines[right]["submitted"] = "answer ?"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert invoke(["verify", str(folder), "--quiet"]) == 1
    assert f"rollouts/test_000002.jsonl line {right + 1}" in capsys.readouterr().out
