"""Episodes that an agent of somebody else plays: over real sockets, whatever the agent does, and with every token that was sampled."""

import asyncio
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import openai
import pytest
from checked import present
from rollout_fixtures import CHAT, ROOT, Says, problems, prompt, task
from scripted_engine import spell
from small_envs import Sums

from espl_bench.build import adapter_spec
from espl_bench.engines.hf.engine import HfEngine
from espl_bench.environment.agent_command import MAX_PRINTED, run_command
from espl_bench.environment.agent_env import AgentEnv, AgentTask
from espl_bench.environment.checker import check_environment
from espl_bench.environment.text_env import Verdict
from espl_bench.errors import EndpointError, EnvError
from espl_bench.evolution.operators.editor import transcript
from espl_bench.learning.datums import to_datums
from espl_bench.prompts.dialect import Dialect, Placement
from espl_bench.rollouts.agent_episode import _is_over
from espl_bench.rollouts.episode import Ending, hand_in_again
from espl_bench.rollouts.rollout import RolloutSpec, roll_out
from espl_bench.runs.rollout_rows import RolloutRow, rollout_rows
from espl_bench.types import Limit, Observation, Outcome, Problem, Split, Trajectory
from espl_bench.utils.jsonl import encode

Plays = Callable[[AgentTask], str | Awaitable[str]]
HANG_S = 60.0


class SumsByAgent(AgentEnv):
    """Sums that an agent works out."""

    sums = Sums()

    def size(self, split: Split) -> int:
        return self.sums.size(split)

    def problem(self, split: Split, index: int) -> Problem:
        return self.sums.problem(split, index)

    def grade(self, problem: Problem, response: str) -> Verdict:
        return self.sums.grade(problem, response)

    def play(self, task: AgentTask) -> str | Awaitable[str]:
        return asks_once(task)


def client_of(task: AgentTask) -> openai.OpenAI:
    return openai.OpenAI(base_url=task.base_url, api_key=task.api_key, timeout=HANG_S, max_retries=0)


def said(client: openai.OpenAI, *messages: dict) -> str:
    talk: list = list(messages)
    return client.chat.completions.create(model="policy", messages=talk).choices[0].message.content or ""


def user(text: str) -> dict:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict:
    return {"role": "assistant", "content": text}


def asks_once(task: AgentTask) -> str:
    with client_of(task) as client:
        return said(client, user(task.question))


def asks_twice(task: AgentTask) -> str:
    with client_of(task) as client:
        first = said(client, user(task.question))
        return said(client, user(task.question), assistant(first), user("are you sure ?"))


def played_by(plays: Plays, **attributes) -> type[SumsByAgent]:
    return type("Played", (SumsByAgent,), {"play": lambda self, task: plays(task), **attributes})


def rolled(plays: Plays, client=None, count: int = 1, group_size: int = 1, prompts=(ROOT,), **attributes) -> list[Trajectory]:
    made = played_by(plays, **attributes)
    groups = asyncio.run(roll_out(client or Says(), task(made), prompts, problems(made, count), group_size, "rollout", 0))
    return [trajectory for group in groups for trajectory in group.trajectories_G]


# What is kept


def test_an_agent_s_conversation_is_a_rollout_like_any_other():
    client = Says(("answer 3", "answer 4"))
    [trajectory] = rolled(asks_twice, client, prompts=(prompt(3, "dax max"),))
    assert (trajectory.outcome, trajectory.reward, trajectory.submitted) == (Outcome.CORRECT, 1.0, "answer 4")
    first, second = client.calls
    assert first[0].prompt_T == task(Sums).prompt_tokens(("dax max",), "0 + 4 = ?"), "the prompt as every other environment has it"
    assert second[0].prompt_T[: len(first[0].prompt_T)] == first[0].prompt_T
    [datum] = to_datums(trajectory, 1.0, 1.0)
    sampled = [token for token, own in zip(datum.tokens_T, datum.mask_T, strict=True) if own]
    assert sampled == [*spell(CHAT, "answer 3"), *spell(CHAT, "answer 4")]
    assert [turn.observations for turn in trajectory.turns] == [(), (Observation("are you sure ?"),)]


def test_the_first_request_is_that_of_an_environment_without_an_agent():
    plain, agents = Says(), Says()
    rolled(asks_once, agents, count=3, group_size=2)
    asyncio.run(roll_out(plain, task(Sums), [ROOT], problems(Sums, 3), 2, "rollout", 0))
    assert agents.calls == plain.calls


def test_agents_of_a_batch_share_calls_and_keep_their_places():
    client = Says(("answer PLACE", "answer PLACE"))
    played = rolled(asks_twice, client, count=3, group_size=2)
    assert [len(call) for call in client.calls] == [6, 6]
    assert [trajectory.submitted for trajectory in played] == [f"answer {place}" for place in range(6)]
    again = Says(("answer PLACE", "answer PLACE"))
    rolled(asks_twice, again, count=3, group_size=2)
    assert again.calls == client.calls


def test_agents_that_wait_for_one_another_are_under_way_together_up_to_the_bound():
    together = threading.Barrier(3, timeout=HANG_S)

    def meets(task: AgentTask) -> str:
        together.wait()
        return asks_once(task)

    assert {each.outcome for each in rolled(meets, count=3, group_size=2, episodes_at_once=3)} == {Outcome.CORRECT, Outcome.WRONG}


def test_conversations_that_part_are_sequences_of_their_own():
    def votes(task: AgentTask) -> str:
        with client_of(task) as client:
            return [said(client, user(task.question)) for _ in range(3)][-1]

    [trajectory] = rolled(votes, Says(("answer 3", "well", "answer 4")))
    assert [len(segment) for segment in trajectory.segments] == [1, 1, 1]
    assert len({datum.tokens_T for datum in to_datums(trajectory, 1.0, 1.0)}) == 3
    assert (trajectory.reward, trajectory.text) == (1.0, "answer 3\nwell\nanswer 4")


def test_coroutines_and_other_clients_are_agents_too():
    async def plays(task: AgentTask) -> str:
        async with httpx.AsyncClient(base_url=task.base_url, headers={"Authorization": f"Bearer {task.api_key}"}) as client:
            body = {"model": task.model, "messages": [{"role": "user", "content": task.question}]}
            answers = await asyncio.gather(*(client.post("/chat/completions", json=body, timeout=HANG_S) for _ in range(2)))
            return answers[-1].json()["choices"][0]["message"]["content"]

    [trajectory] = rolled(plays)
    assert trajectory.submitted == "answer 4" and len(trajectory.turns) == 2


# Whatever an agent does


def outcome_of(plays: Plays, client=None, **attributes) -> tuple[Outcome, str | None, Limit | None]:
    [trajectory] = rolled(plays, client, **attributes)
    return trajectory.outcome, trajectory.error, trajectory.limit


def test_an_agent_that_fails_is_an_error_in_one_line():
    def crashes(task: AgentTask) -> str:
        asks_once(task)
        raise ValueError("no\nway")

    def refuses(task: AgentTask) -> str:
        raise EnvError("the sandbox is down")

    def exits(task: AgentTask) -> str:
        sys.exit(3)

    assert outcome_of(crashes) == (Outcome.ERROR, "the agent failed: ValueError: no", None)
    assert outcome_of(refuses) == (Outcome.ERROR, "the sandbox is down", None)
    assert outcome_of(exits) == (Outcome.ERROR, "the agent failed: SystemExit: 3", None)
    assert outcome_of(lambda task: "answer 4") == (Outcome.ERROR, "the agent asked for no completion", None)


def test_an_agent_that_hands_in_no_text_is_an_error():
    def odd(task: AgentTask) -> Any:
        asks_once(task)
        return ["answer 4"]

    assert outcome_of(odd) == (Outcome.ERROR, "the agent handed in a list, not a text", None)


def test_a_text_that_no_file_can_hold_is_made_readable():
    def odd(task: AgentTask) -> str:
        return f"{asks_once(task)}\ud800"

    [trajectory] = rolled(odd)
    assert trajectory.submitted == "answer 4\ufffd"


@pytest.mark.parametrize(("served_s", "in_time"), [(1e9, True), (0.0, False)])
def test_the_time_of_an_agent_is_its_own_and_not_the_engine_s(served_s: float, in_time: bool):
    async def over() -> bool:
        session = SimpleNamespace(served_s=served_s, failed=asyncio.Event())
        done: Future[object] = Future()
        asyncio.get_running_loop().call_later(0.1, done.set_result, "answer 4")
        return await _is_over(done, session, 0.0)  # pyright: ignore[reportArgumentType]

    assert asyncio.run(over()) is in_time


@pytest.mark.parametrize("blocks", [True, False])
def test_an_agent_that_takes_too_long_is_a_timeout_and_samples_no_more(blocks: bool):
    ended = threading.Event()
    late: Future[Exception] = Future()

    def sleeps(task: AgentTask) -> str:
        assert ended.wait(HANG_S)
        try:
            return asks_once(task)
        except openai.APIError as error:
            late.set_result(error)
            raise

    async def naps(task: AgentTask) -> str:
        try:
            await asyncio.sleep(HANG_S)
        except asyncio.CancelledError as error:
            late.set_result(EnvError(str(error)))
            raise
        return "answer 4"

    outcome, error, _ = outcome_of(sleeps if blocks else naps, agent_seconds=0.3)
    assert (outcome, error) == (Outcome.TIMEOUT, "the agent took more than 0.3 s of its own")
    ended.set()
    assert isinstance(late.result(HANG_S), openai.APIError if blocks else EnvError)


def test_an_agent_that_meets_a_limit_and_fails_is_truncated_and_one_that_goes_on_is_graded():
    def greedy(task: AgentTask) -> str:
        with client_of(task) as client:
            while True:
                said(client, user(task.question))

    def modest(task: AgentTask) -> str:
        try:
            return greedy(task)
        except openai.BadRequestError:
            return "answer 4"

    assert outcome_of(greedy, agent_completions=3) == (Outcome.TRUNCATED, None, Limit.TURNS)
    assert outcome_of(modest, agent_completions=3) == (Outcome.CORRECT, None, None)


def test_an_agent_that_hands_in_what_was_cut_is_truncated():
    assert outcome_of(asks_once, Says(("well",), cut_turn=0)) == (Outcome.TRUNCATED, None, Limit.TURN)


def test_an_engine_that_fails_ends_the_run_at_once_whatever_agents_do():
    class Broken(Says):
        async def sample(self, requests):
            if len(self.calls) == 1:
                raise EndpointError("the endpoint is down")
            return await super().sample(requests)

    def stubborn(task: AgentTask) -> str:
        with client_of(task) as client:
            while True:
                try:
                    said(client, user(task.question))
                except openai.APIError:
                    time.sleep(0.05)

    began = time.monotonic()
    with pytest.raises(EndpointError, match="the endpoint is down"):
        rolled(stubborn, Broken(), count=2, group_size=2)
    assert time.monotonic() - began < HANG_S


# Programs

SCRIPT = """
import json, os, sys, urllib.request
question = sys.stdin.read()
body = {"model": os.environ["OPENAI_MODEL"], "messages": [{"role": "user", "content": question}]}
headers = {"Authorization": "Bearer " + os.environ["OPENAI_API_KEY"], "Content-Type": "application/json"}
request = urllib.request.Request(os.environ["OPENAI_BASE_URL"] + "/chat/completions", json.dumps(body).encode(), headers)
print(json.load(urllib.request.urlopen(request))["choices"][0]["message"]["content"])
"""


def program(tmp_path: Path, text: str) -> list[str]:
    script = tmp_path / "agent.py"
    script.write_text(text)
    return [sys.executable, str(script)]


def test_a_program_is_an_agent(tmp_path: Path):
    command = program(tmp_path, SCRIPT)
    played = rolled(lambda task: run_command(command, task), count=2)
    assert [(each.submitted, each.outcome) for each in played] == [("answer 4", Outcome.CORRECT), ("answer 4", Outcome.WRONG)]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("import sys; print('x' * 3); sys.exit('it broke')", "the agent ended with exit code 1: it broke"),
        (f"print('x' * {MAX_PRINTED + 1})", f"the agent printed more than {MAX_PRINTED:,} bytes"),
        ("import os; os.kill(os.getpid(), 9)", "the agent ended with exit code -9"),
    ],
)
def test_a_program_that_fails_is_an_error(text: str, error: str, tmp_path: Path):
    command = program(tmp_path, text)
    assert outcome_of(lambda task: run_command(command, task)) == (Outcome.ERROR, error, None)


def test_a_program_that_is_not_there_is_an_error():
    outcome, error, _ = outcome_of(lambda task: run_command(["no-such-agent"], task))
    assert outcome is Outcome.ERROR and present(error).startswith("the agent 'no-such-agent' cannot be started")


def test_a_program_that_takes_too_long_is_ended_with_what_it_started(tmp_path: Path):
    beat = tmp_path / "beat"
    child = f"import time, pathlib\nwhile True:\n    pathlib.Path({str(beat)!r}).write_text(str(time.time()))\n    time.sleep(0.05)"
    command = program(tmp_path, f"import subprocess, sys, time\nsubprocess.Popen([sys.executable, '-c', {child!r}])\ntime.sleep(600)")
    assert outcome_of(lambda task: run_command(command, task), agent_seconds=3.0)[0] is Outcome.TIMEOUT
    for _ in range(200):
        before = beat.read_text() if beat.exists() else ""
        time.sleep(0.2)
        if before == (beat.read_text() if beat.exists() else ""):
            return
    pytest.fail("its child goes on")


# Records


def test_a_row_holds_what_is_needed_to_grade_without_the_agent():
    def wordy(task: AgentTask) -> str:
        with client_of(task) as client:
            return said(client, {"role": "system", "content": "be brief"}, user(task.question)).upper().replace("ANSWER", "answer")

    groups = asyncio.run(roll_out(Says(), task(played_by(wordy)), [ROOT], problems(SumsByAgent, 2), 1, "rollout", 0))
    rows = [RolloutRow.parse(encode(row.encode())) for row in rollout_rows(groups)]
    assert [(row.submitted, row.turns) for row in rows] == [("answer 4", ("answer 4",))] * 2
    assert rows[0].opening == (Observation("be brief", "system"), Observation("0 + 4 = ?"))
    for row, group in zip(rows, groups, strict=True):
        recorded = Ending(row.reward, row.outcome, row.error, row.limit)
        again = hand_in_again(SumsByAgent(), group.problem, row.submitted, recorded, present(row.stop_reason))
        assert (again.reward, again.outcome) == (row.reward, row.outcome)
        forged = hand_in_again(SumsByAgent(), group.problem, "answer 9", recorded, present(row.stop_reason))
        assert (forged.reward, forged.outcome) == (0.0, Outcome.WRONG)
        missing = hand_in_again(SumsByAgent(), group.problem, None, recorded, present(row.stop_reason))
        assert missing.outcome is Outcome.ERROR


def test_a_row_of_an_environment_without_an_agent_is_as_it_was():
    groups = asyncio.run(roll_out(Says(), task(Sums), [ROOT], problems(Sums, 1), 1, "rollout", 0))
    [row] = rollout_rows(groups)
    assert not {"submitted", "opening"} & row.encode().keys()


def test_the_checker_grades_what_would_be_handed_in():
    check_environment(SumsByAgent(), twin=SumsByAgent())


def test_the_editor_reads_what_was_handed_in_where_that_is_not_what_was_said_last():
    def shouts(task: AgentTask) -> str:
        return asks_once(task).replace("answer", "so : answer")

    [plain], [shouted] = rolled(asks_once), rolled(shouts)
    assert (transcript(plain), transcript(shouted)) == ("answer 4", "answer 4\n[handed in: so : answer 4]")


# Training


def test_the_trainer_finds_the_log_probabilities_that_were_sampled(lab_model: Path, lab_config):
    """Conversations of several turns, of parallel branches, and cut by a text, under the weights as they are."""

    def plays(task: AgentTask) -> str:
        with client_of(task) as client:
            first = said(client, user(task.question))
            talk: list = [user(task.question)]
            cut = client.chat.completions.create(model="policy", messages=talk, stop=" answer").choices[0].message.content or ""
            second = said(client, user(task.question), assistant(first), user(task.question))
            return said(client, user(task.question), assistant(cut), user(second or "?"))

    engine = HfEngine.from_pretrained(lab_model, adapter_spec(lab_config))
    made = played_by(plays)
    dialect = Dialect.load("compact")
    spec = RolloutSpec(made, dialect, Placement.SYSTEM, engine.chat, temperature=0.8, top_p=1.0, max_tokens=40, run_seed=0)

    async def compared() -> list[float]:
        groups = await roll_out(await engine.current(), spec, [prompt(0, "dax max")], problems(made, 3), 2, "rollout", 0)
        data = [datum for group in groups for each in group.trajectories_G for datum in to_datums(each, 1.0, 0.8)]
        assert len(data) >= 3 * 6 and all(any(datum.mask_T) for datum in data)
        found = await engine.score(data, reference=False)
        sampled = [[value for value, own in zip(datum.logprobs_T, datum.mask_T, strict=True) if own] for datum in data]
        return [abs(one - two) for mine, theirs in zip(sampled, found, strict=True) for one, two in zip(mine, theirs, strict=True)]

    differences = asyncio.run(compared())
    assert len(differences) > 200 and max(differences) < 1e-4
    asyncio.run(engine.close())


@pytest.fixture
def lab_config(lab_model: Path):
    from loop_fixtures import make_config

    return make_config(lab_model)


def test_no_page_reaches_a_session_that_is_over():
    seen: list[AgentTask] = []

    def keeps(task: AgentTask) -> str:
        seen.append(task)
        return asks_once(task)

    rolled(keeps)
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"{seen[0].base_url}/models", timeout=HANG_S)
