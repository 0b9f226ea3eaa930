"""The client of OpenEnv servers: frames, sessions, and whatever a server may do instead of answering."""

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from espl_envs.openenv.client import MAX_FRAME, FullError, OpenEnvSession, address_of
from espl_envs.openenv.env import _QUESTIONS, APART, OpenEnvEnv
from tiny_qwen import make_tiny_qwen

from espl_bench.cli.app import invoke
from espl_bench.config.resolve import resolve
from espl_bench.environment.checker import check_environment
from espl_bench.errors import EnvError, UsageError
from espl_bench.rollouts.episode import Ending, answer, begin
from espl_bench.runner import run
from espl_bench.types import Limit, Outcome, Split, StopReason

websockets = pytest.importorskip("websockets.sync.server")


class Adder:
    """A sound server: add 1 to the seed, in three steps at most."""

    def __init__(self, places: int = 8, consolation: float = 0.25) -> None:
        self.places, self.consolation, self.open, self.seeds = places, consolation, 0, []

    def __call__(self, connection: Any) -> None:
        self.open += 1
        try:
            if self.open > self.places:
                return connection.send(frame("error", {"code": "CAPACITY_REACHED", "message": f"{self.places} sessions"}))
            seed = steps = 0
            for message in connection:
                asked = json.loads(message)
                if asked["type"] == "close":
                    return None
                if asked["type"] == "reset":
                    seed, steps = asked["data"]["seed"], 0
                    self.seeds.append(seed)
                    connection.send(observed(f"{seed} + 1 = ?"))
                elif asked["type"] == "state":
                    connection.send(frame("state", {"step_count": steps}))
                else:
                    steps += 1
                    right = asked["data"]["message"] == f"answer {seed + 1}"
                    connection.send(observed("no", 1.0 if right else self.consolation, right or steps >= 3))
        finally:
            self.open -= 1


def frame(kind: str, data: Any) -> str:
    return json.dumps({"type": kind, "data": data})


def observed(text: str, reward: Any = None, done: bool = False) -> str:
    return frame("observation", {"observation": {"text": text}, "reward": reward, "done": done})


@contextmanager
def served(behave: Callable[[Any], None], port: int = 0) -> Iterator[str]:
    with websockets.serve(behave, "127.0.0.1", port, compression=None) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()


@pytest.fixture(autouse=True)
def nothing_known() -> None:
    _QUESTIONS.clear()


def env_at(url: str, **options: Any) -> OpenEnvEnv:
    return OpenEnvEnv(url, **{"observation": "text", "timeout": 20.0, "train": 4, "validation": 2, "test": 3, **options})


def test_an_episode_is_the_server_s():
    adder = Adder()
    with served(adder) as url:
        env = env_at(url)
        problem = env.problem(Split.TEST, 1)
        assert problem.question == f"{2 * APART + 1} + 1 = ?" and begin(env, problem) == problem.question
        reply = answer(env, "<think>hm</think>answer 3", StopReason.STOP)
        assert not isinstance(reply, Ending) and (reply.observations[0].text, reply.reward) == ("no", 0.25)
        ending = answer(env, f"answer {2 * APART + 2}", StopReason.STOP)
        assert isinstance(ending, Ending) and (ending.reward, ending.outcome) == (1.0, Outcome.CORRECT)
        begin(env, problem)
        assert [type(answer(env, "?", StopReason.STOP)) for _ in range(3)][-1] is Ending
        for _ in range(200):
            if adder.open == 0:
                break
            time.sleep(0.05)
        assert adder.open == 0, "a session is held only while an episode is under way"


@pytest.mark.parametrize("sessions", [1, 2, 8])
def test_the_contract_holds_within_the_sessions_that_a_server_offers(sessions: int):
    with served(Adder(sessions, consolation=0.0)) as url:
        made = [env_at(url, sessions=sessions) for _ in range(2)]
        check_environment(made[0], twin=made[1])
        assert [env._session for env in made] == [None, None], "a session is held only while an episode is under way"


@pytest.mark.slow
def test_a_strangers_run_is_read_only_where_the_user_confirms_its_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    adder, model = Adder(), make_tiny_qwen(tmp_path / "model", ["0 + 1 = ? answer 1"])
    with served(adder) as url:
        options = {"url": url, "observation": "text", "train": 4, "validation": 2, "test": 3}
        choices = {"model": str(model), "env_options": options, "max_tokens": 4, "eval_samples": 1}
        run(resolve("base", "openenv", choices), tmp_path / "own")
        copied = str(shutil.copytree(tmp_path / "own", tmp_path / "copied"))
        _QUESTIONS.clear()
        adder.seeds.clear()
        for command in ("verify", "contamination", f"export --out {tmp_path / 'out'}", f"results add --results {tmp_path / 'results'}"):
            assert invoke([*command.split(), copied]) != 0
            assert f"the environment's url at {url}; if you mean that: espl-bench verify" in capsys.readouterr().err
        assert adder.seeds == [], "nothing was connected to"
        assert invoke(["verify", copied, f"--contact={url}"]) == 0 and adder.seeds
        assert invoke(["verify", copied]) == 0, "what was confirmed is remembered"


def test_turns_are_bounded():
    with served(Adder()) as url:
        env = env_at(url, max_turns=2)
        begin(env, env.problem(Split.TRAIN, 0))
        answer(env, "?", StopReason.STOP)
        ending = answer(env, "?", StopReason.STOP)
        assert isinstance(ending, Ending) and (ending.outcome, ending.limit) == (Outcome.TRUNCATED, Limit.TURNS)


def test_a_server_that_is_not_there_is_named_with_the_remedy():
    with pytest.raises(EnvError, match=r"no OpenEnv server answers at ws://127\.0\.0\.1:9/ws .*--env-option url="):
        env_at("http://127.0.0.1:9", timeout=0.2).problem(Split.TEST, 0)


def test_a_check_of_a_server_that_says_nothing_waits_for_it_once(capsys: pytest.CaptureFixture[str]):
    begun: list[Any] = []

    def silent(connection: Any) -> None:
        begun.append(connection)
        connection.recv()
        connection.recv()

    with served(silent) as url:
        assert invoke(["env", "check", "openenv", f"--env-option=url={url}", "--env-option=timeout=1"]) == 1
        said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and "--env-option timeout=" in said.err
    assert len(begun) == 1, "a rule after the other waited for it"


def test_a_full_server_is_waited_for():
    with served(Adder(places=1)) as url:
        held, waiting, hurried = env_at(url), env_at(url), env_at(url, timeout=0.3)
        problem = held.problem(Split.TRAIN, 0)
        begin(held, problem)
        with pytest.raises(FullError, match="CAPACITY_REACHED"):
            hurried.reset(options={"index": 0})
        threading.Timer(0.5, held.close).start()
        assert begin(waiting, problem) == problem.question
        waiting.close()


def test_a_server_that_restarts_is_waited_for():
    with served(Adder()) as url:
        port = int(url.rpartition(":")[2])
    late = threading.Event()

    def again() -> None:
        time.sleep(0.6)
        with served(Adder(), port):
            late.wait(60)

    thread = threading.Thread(target=again, daemon=True)
    thread.start()
    env = env_at(url)
    assert begin(env, env.problem(Split.TRAIN, 0)) == "0 + 1 = ?"
    env.close()
    late.set()
    thread.join(60)


HOSTILE: dict[str, Callable[[Any], Any]] = {
    "nothing": lambda connection: time.sleep(2),
    "the end": lambda connection: connection.close(),
    "no JSON": lambda connection: connection.send("x"),
    "bytes": lambda connection: connection.send(b"\xff"),
    "brackets": lambda connection: connection.send("[" * 1000),
    "a list": lambda connection: connection.send("[]"),
    "another frame": lambda connection: connection.send(frame("state", {})),
    "no observation": lambda connection: connection.send(frame("observation", {"observation": 3})),
    "an odd reward": lambda connection: connection.send(observed("x", "much")),
    "an endless reward": lambda connection: connection.send('{"type":"observation","data":{"observation":{},"reward":1e999,"done":true}}'),
    "too much": lambda connection: connection.send(observed("x" * (MAX_FRAME + 1))),
    "an error": lambda connection: connection.send(frame("error", {"code": "EXECUTION_ERROR", "message": "it\nbroke"})),
    "an error without words": lambda connection: connection.send(frame("error", None)),
}


@pytest.mark.parametrize("does", HOSTILE)
def test_whatever_a_server_does_is_an_error_of_the_episode(does: str):
    def behave(connection: Any) -> None:
        for message in connection:
            if json.loads(message)["type"] == "reset":
                connection.send(observed("go"))
            elif json.loads(message)["type"] == "step":
                return HOSTILE[does](connection)

    with served(behave) as url:
        env = env_at(url, timeout=1.0)
        begin(env, env.problem(Split.TRAIN, 0))
        ending = answer(env, "x", StopReason.STOP)
        assert isinstance(ending, Ending) and ending.outcome is Outcome.ERROR and "\n" not in (ending.error or "\n")


def test_an_item_that_is_another_the_second_time_is_an_error():
    said: list[int] = []

    def behave(connection: Any) -> None:
        for message in connection:
            if json.loads(message)["type"] == "reset":
                said.append(1)
                connection.send(observed(f"number {len(said)}"))

    with served(behave) as url, pytest.raises(EnvError, match="the same every time"):
        env_at(url).reset(options={"index": 0})


def test_the_state_can_be_asked_for():
    with served(Adder()) as url:
        session, _ = OpenEnvSession.begun(address_of(url), 20.0, 5)
        session.step({"message": "?"})
        assert session.state() == {"step_count": 1}
        session.close()


@pytest.mark.parametrize(
    "options", [{"url": "here"}, {"url": "ftp://x"}, {"url": "http://"}, {"sessions": 0}, {"max_turns": "3"}, {"timeout": 0}, {"test": 0}]
)
def test_options_that_make_no_sense_are_one_line(options: dict[str, Any]):
    with pytest.raises(UsageError, match="openenv: "):
        OpenEnvEnv(**{"url": "http://127.0.0.1:1", **options})


def test_addresses_are_those_of_the_socket():
    assert [address_of(url) for url in ("http://h:1", "https://h/env/", "ws://h:1/ws")] == ["ws://h:1/ws", "wss://h/env/ws", "ws://h:1/ws"]
