"""What is wrong before anything starts is one line, soon, without the key in it. No server is needed."""

import json
import os
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

pytest.importorskip("tinker")

from tinker_server import free_port

from espl_bench.cli.app import invoke
from espl_bench.engines.tinker.service import HEALTH_S, Service, ServiceAccess, find_access
from espl_bench.errors import EndpointError, EngineError, UsageError
from espl_bench.utils import key_names
from espl_bench.utils.redaction import MASK

RUN = ["run", "--env", "rulebook", "--engine", "tinker", "--out"]


class Elsewhere(BaseHTTPRequestHandler):
    """Serve a web server that is not a Tinker service; below /silent it never answers."""

    def do_GET(self) -> None:
        if self.path.startswith("/silent"):
            time.sleep(2 * HEALTH_S)
        self.send_response(404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def elsewhere() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Elsewhere)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_a_key_must_be_there_and_look_like_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("TINKER_API_KEY", raising=False)
    with pytest.raises(UsageError, match="needs a key in TINKER_API_KEY, which is not set"):
        find_access(None, None, 1, 1)
    monkeypatch.setenv("OTHER", "sk-something")
    with pytest.raises(UsageError, match="OTHER is not on the list of variables that hold keys"):
        find_access(None, "OTHER", 1, 1)
    monkeypatch.setattr(key_names, "_allowed", {"OTHER"})
    for wrong in ("sk-something", "tml-with blank", "tml-\u00e9"):
        monkeypatch.setenv("OTHER", wrong)
        with pytest.raises(UsageError, match="the value of OTHER cannot be a Tinker key") as raised:
            find_access(None, "OTHER", 1, 1)
        assert wrong not in str(raised.value)


def test_the_address_is_the_options_or_the_variables_or_the_hosted_service(key: str, monkeypatch: pytest.MonkeyPatch):
    assert find_access(None, None, 2, 3).base_url == "https://tinker.thinkingmachines.dev/services/tinker-prod"
    monkeypatch.setenv("TINKER_BASE_URL", "http://127.0.0.1:1/")
    assert find_access(None, None, 2, 3).base_url == "http://127.0.0.1:1"
    access = find_access("http://127.0.0.1:2", None, 2, 3)
    assert (access.base_url, access.away_s, access.idle_s) == ("http://127.0.0.1:2", 2, 6)
    assert key not in repr(access)


@pytest.mark.parametrize(("path", "says"), [("", "answers 404"), ("/silent", "no Tinker service answers")])
def test_a_run_begins_only_at_a_service(elsewhere: str, path: str, says: str, key: str, tmp_path, capsys: pytest.CaptureFixture[str]):
    """The silent one answers 404 after twice the time that it has: it is not waited for."""
    assert invoke([*RUN, str(tmp_path / "run"), "--base-url", elsewhere + path]) == 1
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
    assert key not in said
    assert not (tmp_path / "run").exists()


def test_a_dead_address_is_told_of_at_once(key: str):
    service = Service(find_access(f"http://127.0.0.1:{free_port()}", None, 1, 1))
    began = time.monotonic()
    with pytest.raises(EndpointError, match="no Tinker service answers at http://127"):
        service.require_healthy()
    assert time.monotonic() - began < HEALTH_S


def test_the_key_is_blanked_out_of_what_a_service_says(key: str):
    access = find_access("http://127.0.0.1:1", None, 1, 1)
    assert access.words(ValueError(f"bad key\n{key}!")) == f"ValueError: bad key {MASK}!"
    assert len(access.words(ValueError("x" * 1000))) <= 300


def test_a_service_that_goes_away_is_not_waited_for_long(key: str):
    """The request never ends and nothing answers at the address."""
    import asyncio
    from concurrent.futures import Future

    class Promise:
        def future(self) -> Future[int]:
            return Future()

    access = find_access(f"http://127.0.0.1:{free_port()}", None, 1, 100)
    with pytest.raises(EngineError, match=r"out of reach for \d+ s while it was sampling"):
        asyncio.run(Service(access).result(Promise(), "sampling"))


def test_a_service_that_answers_nothing_is_given_up(elsewhere: str, key: str, monkeypatch: pytest.MonkeyPatch):
    import asyncio
    from concurrent.futures import Future

    class Promise:
        def future(self) -> Future[int]:
            return Future()

    async def there(*_: object) -> bool:
        return True

    monkeypatch.setattr(Service, "_is_reachable", there)
    access = ServiceAccess(elsewhere, find_access(elsewhere, None, 1, 1).key, "TINKER_API_KEY", away_s=60, idle_s=4)
    with pytest.raises(EngineError, match="answered no request"):
        asyncio.run(Service(access).result(Promise(), "training"))


def test_options_that_cannot_be(capsys: pytest.CaptureFixture[str], key: str):
    cases = {
        "--lora-alpha=8": "--lora-alpha is decided by the service with --engine tinker",
        "--token-budget=8": "--token-budget is decided by the service",
        "--base-url=ftp://x": "is not an http or https address",
        "--base-url=http://u:p@x": "put the key into the environment",
    }
    for option, says in cases.items():
        assert invoke([*RUN, "nowhere", option]) == 2
        assert says in capsys.readouterr().err
    assert invoke(["run", "--env", "rulebook", "--base-url", "http://127.0.0.1:1", "--out", "nowhere", "--engine", "hf"]) == 2
    assert "add --engine openai or tinker" in capsys.readouterr().err


def test_a_dry_run_needs_no_key_and_no_network(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("TINKER_API_KEY", raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    options = ["--engine", "tinker", "--preset", "paper", "--model", "deepseek-ai/DeepSeek-V3.1", "--env", "beyondaime"]
    monkeypatch.setenv("ESPL_BENCH_DATA", os.devnull + "/nothing")
    assert invoke(["run", *options, "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["steps"], plan["rollouts"], plan["eval_rollouts"]) == (90, 90 * 150, 1000)
    assert plan["endpoints"]["training_requests"] == 180


def test_the_search_experiment_is_planned_without_its_data_too(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Its questions are a selection, of a size that its description says."""
    monkeypatch.setenv("ESPL_BENCH_DATA", os.devnull + "/nothing")
    options = ["--engine", "tinker", "--preset", "paper", "--model", "openai/gpt-oss-120b", "--env", "nq-hotpotqa", "--eval-every", "0"]
    assert invoke(["run", *options, "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["items"] == {"train": 196, "validation": 64, "test": 64} and plan["items_are_described"]
    assert (plan["steps"], plan["rollouts"], plan["eval_rollouts"]) == (196, 196 * 150, 2 * 64 * 10)
    assert plan["max_generated_tokens"] == 196 * 150 * 24_000, "an episode's own limit is below eight turns"
    assert plan["endpoints"]["requests"] == 8 * (196 * 150 + 1280) + plan["max_reflection_calls"]
