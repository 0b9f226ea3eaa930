"""Whole runs on a real server, through the command line: to their end, and to the same end after whatever can go wrong."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tinker_server import KEY, SESSION_TIMEOUT_S, Server

from espl_bench.runs.run_dir import RunDir

SMALL = (
    *("--env", "rulebook", "--env-option", "world=3", "--engine", "tinker", "--steps", "6", "--num-prompts", "2", "--batch-size", "4"),
    *("--group-size", "4", "--eval-samples", "1", "--eval-every", "0", "--checkpoint-every", "2", "--editor-max-tokens", "96", "--quiet"),
)
PATIENCE_S = 600


def command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "espl_bench", *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "TINKER_API_KEY": KEY, "TINKER_TELEMETRY": "0", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


def finish(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command(arguments), env=environment(), capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert KEY not in done.stdout + done.stderr
    return done


def begin(server: Server, folder: Path, method: str, *options: str) -> subprocess.Popen[str]:
    arguments = ["run", "--method", method, *SMALL, "--base-url", server.url, "--out", str(folder), *options]
    return subprocess.Popen(command(arguments), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_step(folder: Path, step: int, process: subprocess.Popen[str]) -> None:
    """Until the row of a step is written."""
    rows = folder / "metrics.jsonl"
    until = time.monotonic() + PATIENCE_S
    while not (rows.exists() and rows.read_bytes().count(b"\n") >= step):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.1)


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def summary(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "summary.json").read_text())


def require_whole(folder: Path, unbroken: Path | None = None) -> None:
    """Six steps, nothing lost, nothing twice, no key in any file; and nearly the numbers of an unbroken run.

    Batches of another make-up round differently, so a token may fall otherwise: rewards are compared at the step before the break.
    """
    rows = metrics(folder)
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert all(abs(row["train"]["kl_sampler"]) < 1e-3 for row in rows if row["train"])
    ledger = summary(folder)["ledger"]
    assert ledger["rollouts"] == 6 * 2 * 4 * 4
    assert all(KEY.encode() not in path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert finish(["verify", str(folder)]).returncode == 0
    if unbroken is not None:
        assert [row["reward"] for row in rows[:2]] == pytest.approx([row["reward"] for row in metrics(unbroken)[:2]], abs=0.1)


@pytest.fixture(scope="module")
def unbroken(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An espl run that nothing happened to."""
    folder = tmp_path_factory.mktemp("runs") / "unbroken"
    process = begin(server, folder, "espl")
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    assert out.count("\n") == 1
    return folder


def test_espl_runs_to_its_end(unbroken: Path):
    require_whole(unbroken)
    result = summary(unbroken)
    assert (result["engine"], result["method"], result["steps"]) == ("tinker", "espl", 6)
    assert result["ledger"]["reflection_calls"] > 0
    assert result["ledger"]["train_tokens"] > 0
    provenance = json.loads((unbroken / "provenance.json").read_text())
    assert provenance["facts"]["models"]["policy"]["engine"] == "tinker"


def test_rl_only_and_evolution_only_run_to_their_ends(server: Server, tmp_path: Path):
    for method in ("rl_only", "evolution_only"):
        process = begin(server, tmp_path / method, method, "--steps", "2")
        _, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, err
        ledger = summary(tmp_path / method)["ledger"]
        assert (ledger["train_tokens"] > 0) == (method == "rl_only")


def test_a_killed_client_resumes(server: Server, unbroken: Path, tmp_path: Path):
    folder = tmp_path / "run"
    process = begin(server, folder, "espl")
    wait_for_step(folder, 3, process)
    process.kill()
    process.communicate()
    done = finish(["resume", str(folder), "--quiet"])
    assert done.returncode == 0, done.stderr
    require_whole(folder, unbroken)


def test_a_stopped_client_saves_and_resumes_after_a_restart_of_the_server(server: Server, unbroken: Path, tmp_path: Path):
    folder = tmp_path / "run"
    process = begin(server, folder, "espl")
    wait_for_step(folder, 3, process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert "espl-bench resume" in err
    commit = RunDir.open(folder).last_commit()
    assert commit is not None
    assert commit.step >= 3, "what was learned until the stop is saved"
    server.stop()
    done = finish(["resume", str(folder), "--quiet"])
    assert done.returncode == 1
    assert f"no Tinker service answers at {server.url}" in done.stderr
    server.start()
    done = finish(["resume", str(folder), "--quiet"])
    assert done.returncode == 0, done.stderr
    require_whole(folder, unbroken)


def test_a_server_that_dies_in_mid_step_ends_the_run_in_one_line(server: Server, unbroken: Path, tmp_path: Path):
    folder = tmp_path / "run"
    process = begin(server, folder, "espl", "--request-timeout", "12", "--request-tries", "60")
    wait_for_step(folder, 2, process)
    time.sleep(0.3)  # somewhere in the third
    server.kill()
    died = time.monotonic()
    try:
        _, err = process.communicate(timeout=PATIENCE_S)
    finally:
        server.start()
    assert process.returncode == 1
    assert time.monotonic() - died < 180
    assert err.count("\n") == 1, err
    assert server.url in err
    assert f"the last commit is kept; continue with: espl-bench resume {folder}" in err
    done = finish(["resume", str(folder), "--quiet"])
    assert done.returncode == 0, done.stderr
    require_whole(folder, unbroken)


def test_an_expired_session_ends_the_run_in_one_line(server: Server, unbroken: Path, tmp_path: Path):
    """A laptop that was asleep: no heartbeat for longer than the server waits, and then the client goes on."""
    folder = tmp_path / "run"
    process = begin(server, folder, "espl")
    wait_for_step(folder, 2, process)
    process.send_signal(signal.SIGSTOP)
    time.sleep(SESSION_TIMEOUT_S + 8)
    process.send_signal(signal.SIGCONT)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1, err
    assert err.count("\n") == 1, err
    assert f"the last commit is kept; continue with: espl-bench resume {folder}" in err
    done = finish(["resume", str(folder), "--quiet"])
    assert done.returncode == 0, done.stderr
    require_whole(folder, unbroken)


def test_a_budget_ends_the_run_and_more_of_it_goes_on(server: Server, tmp_path: Path):
    folder, prices = tmp_path / "run", tmp_path / "prices.toml"
    prices.write_text(f'[models."{server.model}"]\ninput = 1.0\noutput = 1.0\ntrain = 1.0\nsource = "a test"\ndate = "2026-11-25"\n')
    process = begin(server, folder, "rl_only", "--steps", "3", "--prices", str(prices), "--max-cost", "0.006")
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1, err
    assert "--max-cost MORE" in err
    done = finish(["resume", str(folder), "--quiet", "--prices", str(prices), "--max-cost", "100"])
    assert done.returncode == 0, done.stderr
    totals = summary(folder)["ledger"]
    tokens = sum(totals[name] for name in ("prompt_tokens", "generated_tokens", "eval_prompt_tokens", "eval_tokens", "train_tokens"))
    assert summary(folder)["cost_usd"] == pytest.approx(tokens / 1e6)


def test_a_rank_that_the_server_does_not_take_and_a_model_it_does_not_serve(server: Server, tmp_path: Path):
    process = begin(server, tmp_path / "rank", "rl_only", "--lora-rank", "64")
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert "making a LoRA training client of rank 64" in err
    assert err.count("\n") == 1, err
    done = finish(["run", *SMALL, "--model", "Qwen/Qwen3-8B", "--base-url", server.url, "--out", str(tmp_path / "model")])
    assert done.returncode == 2
    assert "unknown model at" in done.stderr
