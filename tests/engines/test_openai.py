"""Runs against a real endpoint on the loopback, whole and broken: the result is the same, or the run ends to be resumed.

With ESPL_BENCH_TEST_BASE_URL another endpoint that serves a laboratory model takes the place of the one in this process. It must
honour seeds; what only the latter can show (the embedded engine's own draws, what it was asked) is then skipped.
"""

import asyncio
import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
from checked import present
from endpoint_server import FAULTS, Handler, Served, breaking, serve, server_error, serving, too_many
from loop_fixtures import SHAPE, events, make_config, rows, run
from patience import PATIENCE_S
from small_envs import AskTwice

from espl_bench import runner
from espl_bench.accounting.cost_tracker import Budget, BudgetSpentError, ModelRole
from espl_bench.accounting.response_cache import ResponseCache
from espl_bench.cli.app import invoke
from espl_bench.config.contacts import contacts_of
from espl_bench.config.resolve import resolve
from espl_bench.engines.openai import endpoint
from espl_bench.engines.openai.engine import OpenAIEngine, ResponseForm, TextChat
from espl_bench.errors import EndpointError, RunDirError, UsageError
from espl_bench.prompts.dialect import Dialect, Placement
from espl_bench.rollouts.rollout import RolloutSpec, roll_out
from espl_bench.runs.consent import Consent
from espl_bench.runs.run_dir import Log, RunDir
from espl_bench.types import ROOT_ORIGIN, Completion, Lineage, Message, Rating, SampleRequest, Split, StopReason, SystemPrompt, Usage
from espl_bench.utils import key_names
from espl_bench.utils.jsonl import decode

BASE_URL = os.environ.get("ESPL_BENCH_TEST_BASE_URL")
KEY = "sk-test-" + "0123456789abcdef" * 2
own_endpoint = pytest.mark.skipif(BASE_URL is not None, reason="needs the endpoint of this process")
TIMEOUT_S = 300.0
"""Longer than any answer takes, on a busy machine too."""
SOON_S = 5.0
"""Shorter than an answer that drips."""
SHORT = {"steps": 2, "eval_samples": 1, "checkpoint_every": 10}
QUICK = SHORT | {"request_timeout": TIMEOUT_S}


@pytest.fixture(scope="module")
def served(lab_model: Path) -> Iterator[Served]:
    if BASE_URL is not None:
        model = httpx2.get(f"{BASE_URL}/models").json()["data"][0]["id"]
        yield Served(BASE_URL, model)
        return
    with serve(lab_model) as found:
        yield found


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "FIRST_WAIT_S", 0.02)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def config(served: Served, method: str = "reflection_only", base_url: str | None = None, **choices):
    named = {"engine": "openai", "base_url": base_url or served.base_url}
    return make_config(served.model, method, **QUICK | named | choices)


def outcome(folder: Path) -> dict:
    """All that a run found, without seconds and prices, without the address it was found at, and without tokens one by one."""
    found = json.loads((folder / "summary.json").read_text())
    for name in ("wall_s", "device_s"):
        found["ledger"].pop(name)
    for point in found["curve"]:
        point["spent"].pop("seconds")
        point["spent"].pop("cost_usd")
    for name in ("run_id", "engine", "model"):
        found.pop(name)
    logs = {log.value: rows(folder, log) for log in (Log.METRICS, Log.POPULATION, Log.EVALUATIONS)}
    rollouts = [RunDir(folder).read_rollouts(step, decode) for step in RunDir(folder).rollout_steps()]
    unread = {"lengths", "surprisals"}  # an endpoint that is asked for text says nothing of its tokens
    worded = [[{name: value for name, value in row.items() if name not in unread} for row in step] for step in rollouts]
    return {"summary": found, "rollouts": worded, **logs}


def whatever_engine(found: dict) -> dict:
    """The same without what names engines and their models."""
    return {**found, "summary": {name: value for name, value in found["summary"].items() if name not in ("choices", "bound")}}


@pytest.fixture(scope="module")
def whole(served: Served, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What a run finds at the unbroken endpoint."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    run(config(served), folder)
    return outcome(folder)


@own_endpoint
def test_an_endpoint_that_honours_seeds_finds_what_the_embedded_engine_finds(served: Served, whole: dict, lab_model: Path, tmp_path: Path):
    run(make_config(lab_model, "reflection_only", **SHORT), tmp_path / "hf")
    embedded = outcome(tmp_path / "hf")
    assert whatever_engine(embedded) == whatever_engine(whole), "texts, grades, prompts, and every token count of the ledger"
    assert whole["summary"]["ledger"]["reflection_calls"] > 0
    assert whole["summary"]["ledger"]["eval_prompt_tokens"] > 0


@pytest.mark.parametrize("name", FAULTS)
def test_a_run_through_faults_ends_as_without(name: str, served: Served, whole: dict, tmp_path: Path):
    every = 40 if name == "slow" else 5
    with breaking(served.base_url, FAULTS[name], lambda number: number % every == 1) as proxy:
        soon = {"request_timeout": SOON_S, "request_tries": 100} if name == "slow" else {}
        run(config(served, base_url=proxy.base_url, **soon), tmp_path)
    assert proxy.faults >= 3
    assert outcome(tmp_path) == whole
    assert len(list((tmp_path / "answers").glob("*"))) == 1, "answers of the last commit only"


@pytest.mark.parametrize("fault", [too_many, server_error])
def test_a_request_that_fails_for_good_ends_the_run_resumably(fault, served: Served, whole: dict, tmp_path: Path):
    with breaking(served.base_url, fault, lambda number: number >= 30) as proxy:
        asked = config(served, base_url=proxy.base_url, request_tries=2)
        with pytest.raises(EndpointError) as ended:
            run(asked, tmp_path)
    assert re.search(
        rf"^{proxy.base_url} did not answer after 2 tries, the last: status {429 if fault is too_many else 500}.*; "
        rf"every answer is kept; continue with: espl-bench resume {tmp_path}$",
        str(ended.value),
    )
    assert not (tmp_path / "summary.json").exists()
    resumed_elsewhere(tmp_path, proxy.base_url, served.base_url)
    before = len(served.seen)
    with pytest.raises(UsageError, match=r"was not put there by you on this machine.*--contact="):
        runner.resume(tmp_path)
    consent = Consent.to(contacts_of(RunDir.open(tmp_path).config()))
    with pytest.raises(UsageError, match=r"base_url .* -> "):
        runner.resume(tmp_path, consent=consent)
    runner.resume(tmp_path, allow_changed=["config"], consent=consent)
    found = outcome(tmp_path)
    assert ["base_url" in change for change in found["summary"].pop("allowed_changes")] == [True]
    assert found == whole
    if BASE_URL is None:
        paid = whole["summary"]["ledger"]
        requests = paid["rollouts"] + paid["eval_rollouts"] + paid["reflection_calls"]
        assert len(served.seen) - before == requests - 30, "what was answered is not asked again"


def resumed_elsewhere(folder: Path, before: str, after: str) -> None:
    """The endpoint comes back at another port, as no endpoint of a user would."""
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text.replace(before, after))


def test_killed_it_goes_on_where_it_was_and_pays_nothing_twice(served: Served, whole: dict, tmp_path: Path):
    folder = tmp_path / "run"
    options = [f"--{name.replace('_', '-')}={value}" for name, value in (SHAPE | QUICK).items()]
    named = ["--method=reflection_only", "--engine=openai", f"--base-url={served.base_url}", f"--model={served.model}", f"--out={folder}"]
    process = subprocess.Popen([sys.executable, "-m", "espl_bench", "run", "--quiet", *named, *options], env=os.environ)
    answers = folder / "answers/step_000000.jsonl"
    while process.poll() is None and not (answers.exists() and answers.read_bytes().count(b"\n") >= 20):
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(PATIENCE_S)
    assert not (folder / "summary.json").exists()
    kept = answers.read_bytes().count(b"\n")
    with answers.open("ab") as file:
        file.write(b'{"key": "torn')
    before = len(served.seen)
    assert invoke(["resume", str(folder), "--quiet"]) == 0
    assert outcome(folder) == whole
    ledger = whole["summary"]["ledger"]
    if BASE_URL is None:
        assert len(served.seen) - before == ledger["rollouts"] + ledger["eval_rollouts"] + ledger["reflection_calls"] - kept


def write_prices(path: Path, model: str) -> Path:
    path.write_text(f'[models."{model}"]\ninput = 1000.0\noutput = 2000.0\nsource = "test"\ndate = "2026-11-25"\n')
    return path


@pytest.mark.parametrize("limit", ["tokens", "cost"])
def test_a_spent_budget_ends_the_run_cleanly_and_a_larger_one_goes_on(limit: str, served: Served, whole: dict, tmp_path: Path):
    prices = write_prices(tmp_path / "prices.toml", served.model)
    budget = Budget(max_tokens=2000, prices=prices) if limit == "tokens" else Budget(max_cost=2.0, prices=prices)
    folder = tmp_path / "run"
    asked = config(served, concurrency=4)
    with pytest.raises(BudgetSpentError, match=rf"spent.*every answer is kept; continue with: espl-bench resume {folder} --max-.* MORE"):
        runner.run(asked, folder, budget=budget)
    lines = [json.loads(line) for line in next((folder / "answers").iterdir()).read_text().splitlines()]
    tokens = [line["prompt_tokens"] + line["sampled_tokens"] for line in lines]
    cost = [(line["prompt_tokens"] * 1000 + line["sampled_tokens"] * 2000) / 1e6 for line in lines]
    spent, most = (tokens, 2000) if limit == "tokens" else (cost, 2.0)
    assert most <= sum(spent) < most + 4 * max(spent), "over by no more than what was in flight"
    with pytest.raises(BudgetSpentError):
        runner.resume(folder, budget=budget)
    assert [json.loads(line) for line in next((folder / "answers").iterdir()).read_text().splitlines()] == lines, "nothing was asked"
    summary = runner.resume(folder, budget=Budget(prices=prices))
    ledger = summary.ledger
    read = ledger.prompt_tokens + ledger.eval_prompt_tokens + ledger.reflection_prompt_tokens
    wrote = ledger.generated_tokens + ledger.eval_tokens + ledger.reflection_tokens
    assert summary.cost_usd == pytest.approx((read * 1000 + wrote * 2000) / 1e6)
    found = outcome(folder)
    found["summary"]["cost_usd"] = None
    assert found == whole


@own_endpoint
def test_the_key_is_sent_and_written_nowhere(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("MY_KEY", KEY)
    monkeypatch.setattr(served, "key", KEY)
    options = [f"--{name.replace('_', '-')}={value}" for name, value in (SHAPE | QUICK).items()]
    named = ["--engine=openai", f"--model={served.model}", "--method=reflection_only", "--api-key-env=MY_KEY", *options]
    assert invoke(["run", *named, f"--base-url={served.base_url}", f"--out={tmp_path / 'good'}"]) == 0
    with breaking(served.base_url, server_error, lambda number: number > 9) as proxy:
        broken = ["run", *named, f"--base-url={proxy.base_url}", "--request-tries=2", f"--out={tmp_path / 'broken'}"]
        assert invoke(broken) == 1
    monkeypatch.setattr(served, "key", "another")  # the endpoint's 401 quotes the key that was sent
    assert invoke(["run", *named, f"--base-url={served.base_url}", f"--out={tmp_path / 'refused'}"]) == 1
    out, err = capfd.readouterr()
    assert "refuses the key in MY_KEY (status 401: Incorrect API key provided: Bearer ***)" in err
    assert not (tmp_path / "refused").exists()
    assert "Traceback" not in err
    assert KEY not in out + err
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


@own_endpoint
@pytest.mark.parametrize("key", ["e", "0", "so"])
def test_a_key_that_is_part_of_other_words_changes_nothing(
    key: str, served: Served, whole: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    monkeypatch.setattr(served, "key", key)
    run(config(served), tmp_path)
    assert outcome(tmp_path) == whole
    monkeypatch.setattr(served, "key", "another")
    with pytest.raises(EndpointError, match=re.escape("Incorrect API key provided: Bearer ***); set the right one, or name another")):
        OpenAIEngine.at(served.base_url, served.model, None, TIMEOUT_S, 1)


@own_endpoint
def test_an_answer_that_quotes_the_key_is_refused_and_not_stored(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A mask would change what the model said, and without one the key would lie in the run."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    def quoting(handler, answer: bytes) -> None:
        said = json.loads(answer)
        said["choices"][0]["message"]["content"] += f" (debug: Bearer {KEY})"
        handler.reply(200, json.dumps(said).encode())

    quoted = pytest.raises(EndpointError, match="quotes the key in OPENAI_API_KEY in an answer")
    with breaking(served.base_url, quoting, lambda number: number == 30) as proxy, quoted as refusal:
        run(config(served, base_url=proxy.base_url), tmp_path)
    assert KEY not in str(refusal.value)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]


@pytest.mark.parametrize("value", ["sk two words", "sk-schlüssel", "line\nbreak"])
def test_what_cannot_be_a_key_is_refused_unseen(value: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MY_KEY", value)
    key_names.allow(["MY_KEY"])
    with pytest.raises(UsageError, match="cannot be a key") as refusal:
        endpoint.read_key("MY_KEY")
    assert value.split()[0] not in str(refusal.value)


@own_endpoint
def test_a_form_is_learned_from_refusals(served: Served, whole: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(served, "forms", {"max_tokens", "top_p"})
    run(config(served), tmp_path)
    assert outcome(tmp_path) == whole
    assert "max_completion_tokens" in served.seen[-1] and "top_p" not in served.seen[-1]
    monkeypatch.setattr(served, "forms", {"temperature"})
    engine = OpenAIEngine.at(served.base_url, served.model, None, TIMEOUT_S, 1)
    with pytest.raises(EndpointError, match="Unsupported parameter: 'temperature'"):
        asyncio.run(engine.sample([request()]))


def request(**changes) -> SampleRequest:
    asked = {"prompt_T": (), "seed": 3, "max_tokens": 4, "temperature": 1.0, "messages": (Message("user", "3 8 dax 5 2 = ?"),)}
    return SampleRequest(**asked | changes)


def test_a_form_says_what_is_asked_for():
    body = ResponseForm().body("m", request(top_p=0.5))
    assert body == {
        "model": "m",
        "messages": [{"role": "user", "content": "3 8 dax 5 2 = ?"}],
        "max_tokens": 4,
        "temperature": 1.0,
        "top_p": 0.5,
        "seed": 3,
    }


@own_endpoint
def test_several_turns_are_sent_as_they_were_said(served: Served):
    engine = OpenAIEngine.at(served.base_url, served.model, None, TIMEOUT_S, 1)
    task = RolloutSpec(AskTwice, Dialect.load("compact"), Placement.SYSTEM, TextChat(), 1.0, 1.0, 40, 0)
    root = SystemPrompt(0, (), Rating(), Lineage(ROOT_ORIGIN))
    problems = [AskTwice().problem(Split.TRAIN, index) for index in range(2)]
    served.seen.clear()
    groups = asyncio.run(roll_out(engine, task, [root], problems, 4, "rollout", 0))
    second = [asked["messages"] for asked in served.seen if len(asked["messages"]) > 2]
    assert len(second) == sum(len(t.turns) == 2 for group in groups for t in group.trajectories_G) >= 1
    said = {turns[0].completion.text for group in groups for trajectory in group.trajectories_G if (turns := trajectory.turns)}
    for *opening, spoken, answer in second:
        assert {tuple(message.items()) for message in opening} <= {tuple(m.items()) for asked in served.seen for m in asked["messages"][:2]}
        assert spoken["role"] == "assistant" and spoken["content"] in said
        assert answer["role"] == "user"
    assert all(
        t.generated_tokens == sum(present(turn.completion.usage).sampled for turn in t.turns) for g in groups for t in g.trajectories_G
    )


@own_endpoint
@pytest.mark.parametrize(("policy", "editor"), [("hf", "openai"), ("openai", "hf")])
def test_policy_and_editor_may_be_of_different_engines(policy: str, editor: str, served: Served, lab_model: Path, tmp_path: Path):
    served.seen.clear()
    models = {"hf": str(lab_model), "openai": served.model}
    names = {"model": models[policy], "engine": policy, "editor_model": models[editor], "editor_engine": editor, "request_timeout": 120.0}
    address = {"base_url": served.base_url} if policy == "openai" else {"editor_base_url": served.base_url}
    method = "espl" if policy == "hf" else "evolution_only"
    asked = resolve(method, "rulebook", SHAPE | QUICK | names | address)
    summary = run(asked, tmp_path)
    reflections = [asked for asked in served.seen if asked["messages"][0]["content"].split()[0] in ("summarise", "critique", "aggregate")]
    ledger = summary.ledger
    assert ledger.reflection_calls > 0
    assert ledger.reflection_tokens > 0
    assert len(served.seen) == (ledger.reflection_calls if editor == "openai" else ledger.rollouts + ledger.eval_rollouts)
    assert bool(reflections) == (editor == "openai")
    facts = json.loads((tmp_path / "provenance.json").read_text())["facts"]["models"]
    assert {role: fact["engine"] for role, fact in facts.items()} == {"policy": policy, "editor": editor}
    asked_at = {role: fact["base_url"] for role, fact in facts.items() if fact["engine"] == "openai"}
    assert asked_at == {"policy" if policy == "openai" else "editor": served.base_url}
    assert summary.editor_model == (served.model if editor == "openai" else lab_model.name)
    assert events(tmp_path, "born")


@own_endpoint
def test_an_editor_of_the_same_weights_changes_nothing(lab_model: Path, served: Served, tmp_path: Path):
    run(make_config(lab_model, "espl", **SHORT), tmp_path / "own")
    other = {"editor_model": served.model, "editor_engine": "openai", "editor_base_url": served.base_url}
    run(make_config(lab_model, "espl", **QUICK, **other), tmp_path / "other")
    own, found = outcome(tmp_path / "own"), outcome(tmp_path / "other")
    assert found["summary"].pop("editor_model") == served.model
    assert own["summary"].pop("editor_model") is None
    assert whatever_engine(own) == whatever_engine(found)


@pytest.mark.parametrize(
    ("method", "choices", "words"),
    [
        ("espl", {}, "espl trains weights, and engine openai cannot; use engine hf, or a method that freezes"),
        ("rl_only", {}, "rl_only trains weights"),
        ("base", {"model": None}, "engine openai needs model, the name under which the endpoint serves it"),
        ("base", {"base_url": None}, "engine openai needs base_url, e.g. http://127.0.0.1:8000/v1"),
        ("base", {"base_url": "ftp://x"}, "is not an http or https address"),
        ("base", {"base_url": "http://me:secret@x/v1"}, "base_url holds more than an address, and is written to disk"),
        ("base", {"editor_model": "m"}, "base writes no reflections"),
        ("base", {"editor_engine": "hf"}, "editor_engine is about another editor"),
        ("evolution_only", {"editor_model": "m", "editor": "current"}, "editor current means the policy's own weights"),
        ("base", {"engine": "hf", "base_url": None, "concurrency": 4}, "concurrency is for an endpoint; add engine openai or tinker"),
        ("base", {"engine": "hf"}, "base_url is for an endpoint; add engine openai"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(method: str, choices: dict, words: str):
    asked = {"engine": "openai", "model": "m", "base_url": "http://127.0.0.1:9/v1"} | choices
    with pytest.raises(UsageError) as refusal:
        resolve(method, "rulebook", asked)
    assert words in str(refusal.value)
    assert "secret" not in str(refusal.value) and "\n" not in str(refusal.value)


def test_budgets_without_endpoint_or_price_are_refused(served: Served, lab_model: Path, tmp_path: Path):
    with pytest.raises(UsageError, match="this run uses none; leave them out"):
        runner.run(make_config(lab_model, "base"), tmp_path / "a", budget=Budget(max_tokens=9))
    with pytest.raises(UsageError, match=f"--max-cost needs a price for {served.model}; put it into a file and pass that with --prices"):
        runner.run(config(served, "base"), tmp_path / "b", budget=Budget(max_cost=1.0))
    assert not list(tmp_path.iterdir())


def test_a_model_that_is_not_served_is_refused_before_the_folder_is_made(served: Served, tmp_path: Path):
    with pytest.raises(UsageError, match=f"unknown model at {served.base_url} '{served.model}x'; did you mean '{served.model}'"):
        run(config(replace(served, model=f"{served.model}x")), tmp_path / "run")
    with pytest.raises(EndpointError, match=r"http://127\.0\.0\.1:9/v1 did not answer after its only try, the last: ConnectError"):
        run(config(served, base_url="http://127.0.0.1:9/v1", request_tries=1), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_long_retry_after_ends_the_run_and_a_date_is_understood(served: Served):
    def tomorrow(handler, answer):
        handler.refuse(429, "tomorrow", retry_after="90000")

    with breaking(served.base_url, tomorrow, lambda number: True) as proxy:
        engine = OpenAIEngine.at(proxy.base_url, served.model, None, 5.0, 3)
        with pytest.raises(EndpointError, match=r"asks to come back in 90000 s \(status 429: tomorrow\)"):
            asyncio.run(engine.sample([request()]))
        assert proxy.faults == 1
    assert endpoint._retry_after_s("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert endpoint._retry_after_s("Fri, 01 Jan 2100 00:00:00 GMT") > 1e9
    assert endpoint._retry_after_s("soon") == 0


def test_retry_after_is_waited_for(served: Served):
    with breaking(served.base_url, too_many, lambda number: number == 0) as proxy:
        engine = OpenAIEngine.at(proxy.base_url, served.model, None, 5.0, 3)
        began = time.monotonic()
        [completion] = asyncio.run(engine.sample([request()]))
    assert time.monotonic() - began >= 0.2
    assert completion.stop_reason in StopReason and completion.tokens_T == () == completion.logprobs_T


def test_no_more_requests_are_in_flight_than_allowed(served: Served, tmp_path: Path):
    flying, most = 0, 0

    def held(handler, answer):
        nonlocal flying, most
        flying += 1
        most = max(most, flying)
        time.sleep(0.4)  # longer than a request takes to arrive on a busy machine
        flying -= 1
        handler.reply(200, answer)

    with breaking(served.base_url, held, lambda number: True) as proxy:
        run(config(served, "base", base_url=proxy.base_url, concurrency=3), tmp_path)
    assert 2 <= most <= 3


def test_a_dry_run_prints_requests_and_price_and_asks_nothing(served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    prices = write_prices(tmp_path / "prices.toml", served.model)
    before = len(served.seen)
    options = ["--engine=openai", f"--model={served.model}", f"--base-url={served.base_url}", "--steps=3", f"--prices={prices}"]
    assert invoke(["run", "--dry-run", "--method=evolution_only", *options, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    bill = record["endpoints"]
    assert bill["requests"] == record["rollouts"] + record["eval_rollouts"] + record["max_reflection_calls"]
    assert bill["max_cost_usd"] == pytest.approx((bill["prompt_tokens"] * 1000 + bill["max_sampled_tokens"] * 2000) / 1e6)
    assert invoke(["run", "--dry-run", "--method=evolution_only", *options]) == 0
    assert "USD" in capsys.readouterr().out
    assert len(served.seen) == before


@own_endpoint
def test_an_endpoint_that_does_not_count_is_refused_at_once(served: Served):
    def uncounted(handler, answer):
        handler.reply(200, json.dumps(json.loads(answer) | {"usage": None}).encode())

    with breaking(served.base_url, uncounted, lambda number: True) as proxy:
        engine = OpenAIEngine.at(proxy.base_url, served.model, None, 5.0, 3)
        with pytest.raises(EndpointError, match="does not report token usage"):
            asyncio.run(engine.sample([request()]))
        assert proxy.faults == 1


@pytest.mark.parametrize("row", ["{}", '{"key": "k", "role": "nobody"}', '{"key": "k", "role": "policy", "text": "t"}'])
def test_a_kept_answer_that_is_none_is_one_line_with_the_remedy(row: str, tmp_path: Path):
    (tmp_path / "answers").mkdir()
    file = tmp_path / "answers/step_000003.jsonl"
    file.write_text(row + "\n")
    with pytest.raises(RunDirError) as refused:
        ResponseCache().open(tmp_path, 3)
    assert str(refused.value) == f"{file} holds a row that is not a response; remove the file, and its requests are sent again"


@pytest.mark.parametrize("encoding", ["gzip", "br"])
def test_an_answer_is_bounded_after_decoding(encoding: str, lab_model: Path, tmp_path: Path):
    """A few hundred kilobytes that stand for a quarter of a gigabyte, or an encoding that nobody asked for."""
    bomb = gzip.compress(bytes(2**28), 9)

    class Bomb(Handler):
        def do_GET(self) -> None:
            self.refuse(404, "lists nothing")

        def do_POST(self) -> None:
            self.body()
            self.send_response(200)
            self.send_header("Content-Encoding", encoding)
            self.send_header("Content-Length", str(len(bomb)))
            self.end_headers()
            self.wfile.write(bomb)

    with serving(Bomb) as base_url, pytest.raises(EndpointError, match="more than 16 MiB" if encoding == "gzip" else "not asked for"):
        run(make_config("m", "reflection_only", engine="openai", base_url=base_url, request_tries=1), tmp_path / "run")


HOSTILE = "\ud800 \x00 \x1b]52;c;eA==\x07 <|im_end|> \udfff" + "<think>" * 2_000 + "[" * 5_000 + '{"op":"add","principle":"\ud800"}'


def said_by_a_stranger(handler: Handler, answer: bytes) -> None:
    """The endpoint's own answer, and after it what no encoding can write."""
    reply = json.loads(answer)
    reply["choices"][0]["message"]["content"] += HOSTILE
    handler.reply(200, json.dumps(reply).encode())


@own_endpoint
def test_no_text_of_a_model_ends_a_run_or_its_resume(served: Served, tmp_path: Path):
    folder = tmp_path / "run"
    with breaking(served.base_url, said_by_a_stranger, lambda number: number % 3 == 1) as proxy:
        run(config(served, base_url=proxy.base_url, max_tokens=16), folder)
    assert proxy.faults > 10 and RunDir(folder).summary().steps == 2
    assert "\ufffd" in "".join(turn for row in RunDir(folder).read_rollouts(1, decode) for turn in row["turns"])
    for path in folder.rglob("*.jsonl"):
        path.read_text(encoding="utf-8")
        assert "\\ud800" not in path.read_text()


@own_endpoint
def test_a_recorded_answer_that_no_encoding_can_write_is_read_again(tmp_path: Path):
    cache = ResponseCache()
    cache.open(tmp_path, 0)
    cache.put("k", ModelRole.POLICY, Completion((), (), f"before {HOSTILE}", StopReason.STOP, Usage(1, 1)))
    cache.open(tmp_path, 0)
    [text] = [present(cache.pop("k")).text]
    assert text.startswith("before \ufffd \x00") and text.encode()


@own_endpoint
@pytest.mark.parametrize(
    "header",
    [
        "Fri, 37777777777777777777777777777771 Dec 9999 23:59:59 GMT",
        "9" * 5_000,
        "-1",
        "1e9",
        "\x80",
        "Thu, 01 Jan 1970 00:00:00 +9999",
        ".",
    ],
)
def test_an_odd_retry_after_is_no_reason_to_end_with_a_traceback(header: str, served: Served):
    def busy(handler: Handler, answer: bytes) -> None:
        handler.reply(429, b"{}", {"retry-after": header})

    with breaking(served.base_url, busy, lambda number: True) as proxy:
        engine = OpenAIEngine.at(proxy.base_url, served.model, None, TIMEOUT_S, 2)
        with pytest.raises(EndpointError, match=r"did not answer after 2 tries|asks to come back"):
            asyncio.run(engine.sample([SampleRequest((), 0, 4, 1.0, messages=(Message("user", "a"),))]))
