"""Anybody's grader under the limits of the project's own: what it returns, and what it may not do."""

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from espl_bench.errors import UsageError
from espl_bench.grading.confined import ConfinedFunction
from espl_bench.types import Outcome

GRADERS = '''
import os, socket, subprocess

def score(payload):
    """Evaluate what a model wrote, as careless graders do."""
    return float(eval(payload["answer"]) == payload["gold"])

def echo(payload):
    return payload

def odd(payload):
    return {1, 2}
'''
HARM = {
    "endless": ("[0 for _ in iter(int, 1)]", Outcome.TIMEOUT),
    "power": ("9**9**9**9", Outcome.TIMEOUT),
    "memory": ("len('x' * 10**10)", Outcome.ERROR),
    "write": ("open('MARK', 'w')", Outcome.ERROR),
    "shell": ("os.system('touch MARK')", Outcome.ERROR),
    "process": ("subprocess.run(['touch', 'MARK'])", Outcome.ERROR),
    "network": ("socket.create_connection(('127.0.0.1', 9))", Outcome.ERROR),
    "exit": ("os._exit(0)", Outcome.ERROR),
    "quit": ("exit()", Outcome.ERROR),
    "read": ("open('/etc/passwd').read()", Outcome.ERROR),
    "nonsense": ("6 *", Outcome.ERROR),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("graders")
    (folder / "careless_graders.py").write_text(GRADERS)
    sys.path.append(str(folder))
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def score(home: Path) -> Iterator[ConfinedFunction]:
    with ConfinedFunction("careless_graders:score", timeout_s=4.5, size=1) as function:
        yield function


def test_a_value_comes_back(score: ConfinedFunction):
    assert score({"answer": "6 * 7", "gold": 42}).outcome is Outcome.CORRECT
    assert score({"answer": "6 * 6", "gold": 42}).outcome is Outcome.WRONG


@pytest.mark.parametrize("name", HARM)
def test_what_a_model_wrote_does_no_harm(name: str, home: Path, score: ConfinedFunction):
    mark = home / "mark"
    answer, outcome = HARM[name]
    result = score({"answer": answer.replace("MARK", str(mark)), "gold": 42})
    assert result.outcome is outcome, result
    assert result.fault and "\n" not in result.fault
    assert not mark.exists()
    assert score({"answer": "6 * 7", "gold": 42}).value == 1.0, "the next call is served"


def test_json_goes_in_and_out(home: Path):
    value: Any = {"a": [1, 2.5, None, True, "ü\ud800"]}
    with ConfinedFunction("careless_graders:echo", size=1) as echo:
        assert echo(value).value == value
        found: list[Any] = []
        threads = [threading.Thread(target=lambda n=n: found.append(echo(n).value == n)) for n in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [True] * 20
    with ConfinedFunction("careless_graders:odd", size=1) as odd:
        assert odd(None).outcome is Outcome.ERROR


@pytest.mark.parametrize("function", ["careless_graders", "careless_graders:", "os; import x:y", ":score"])
def test_a_function_that_is_named_badly(function: str):
    with pytest.raises(UsageError, match="module:function"):
        ConfinedFunction(function)


@pytest.mark.parametrize("function", ["careless_graders:missing", "no_such_module:score"])
def test_a_function_that_is_not_there(function: str, home: Path):
    with ConfinedFunction(function, size=1) as missing:
        result = missing({})
    assert result.outcome is Outcome.ERROR
    assert "did not start" in result.fault and ("missing" in result.fault or "no_such_module" in result.fault)
