"""`espl-bench env check`: a process of its own, in which hanging, exiting and crashing environments are findings."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from patience import PATIENCE_S

from espl_bench.cli.app import invoke
from espl_bench.environment.checker import RULES
from espl_bench.environment.pulse import Pulse

SUPPORT = Path(__file__).parents[1] / "support"
NAMES = ("EVALUATES", "NEVER_RETURNS", "EXITS", "SLOW", "GOLDLESS", "BREAKS", "SOUND")
Check = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """The command where a stranger's package with faulty environments is installed."""
    info = tmp_path / "faulty-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 1.0\n")
    points = "\n".join(f"{name.lower()} = faulty_envs:{name}" for name in NAMES)
    (info / "entry_points.txt").write_text(f"[espl_bench.envs]\n{points}\n")
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(SUPPORT), *filter(None, sys.path)])}

    def call(*arguments: str, code: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "espl_bench", "env", "check", *arguments]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
        assert done.returncode == code, done.stderr + done.stdout
        return done

    return call


@pytest.mark.slow
def test_a_sound_environment_passes_and_the_record_names_every_rule(check: Check):
    record = json.loads(check("sound", "--json", code=0).stdout)
    assert record["kept"] and not record["findings"] and record["items"] == {"train": 20, "validation": 20, "test": 20}
    assert [rule["rule"] for rule in record["rules"]] == [rule.name for rule in RULES]
    assert all(rule["kept"] and rule["requires"] for rule in record["rules"])


@pytest.mark.slow
def test_a_fault_is_one_line_with_its_remedy_and_an_exit_code(check: Check):
    lines = check("evaluates", "--quiet", code=1).stdout.splitlines()
    assert any(line.startswith("fault  injection: the response ") and "was run as code; never evaluate" in line for line in lines)
    assert lines[-1].startswith("evaluates breaks the contract: ")


@pytest.mark.slow
def test_a_grader_that_hangs_is_a_finding_and_the_other_rules_are_tried(check: Check):
    record = json.loads(check("never_returns", "--deadline=2", "--samples=3", "--json", code=1).stdout)
    [hanging] = record["findings"]
    assert hanging["rule"] == "injection" and "'answer 9**9**9**9**9' to train/0 does not end within 2 s" in hanging["problem"]
    assert "bound what a grader computes" in hanging["remedy"]


@pytest.mark.slow
def test_a_grader_that_ends_its_process_is_a_finding(check: Check):
    record = json.loads(check("exits", "--json", code=1).stdout)
    [ended] = record["findings"]
    assert ended["rule"] == "noise" and "the process ends with status 3 at the response '[[[[(((('" in ended["problem"]


@pytest.mark.slow
def test_what_is_slow_or_cannot_be_checked_is_noted_and_no_fault(check: Check):
    slow = json.loads(check("slow", "--json", code=0).stdout)
    assert [(note["rule"], note["level"]) for note in slow["findings"]] == [("speed", "note")]
    goldless = json.loads(check("goldless", "--json", code=0).stdout)
    assert [note["rule"] for note in goldless["findings"]] == ["truth"] and "no gold response" in goldless["findings"][0]["problem"]


@pytest.mark.slow
def test_an_environment_that_cannot_be_made_is_one_line(check: Check):
    failed = check("breaks", code=2)
    expected = "environment 'BreaksWhenMade' cannot be made by faulty_envs:BreaksWhenMade (AssertionError: size must); check --env-option"
    assert failed.stderr.splitlines() == [f"espl-bench: {expected}"]
    assert json.loads(check("breaks", "--env-option=size=9", "--json", code=0).stdout)["options"] == {"size": 9}


def test_an_unknown_environment_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]):
    assert invoke(["env", "check", "ruleboook"]) == 2
    assert "did you mean 'rulebook'?" in capsys.readouterr().err


def test_a_pulse_is_read_as_it_was_written():
    pulse = Pulse.make()
    assert pulse.read() == (0, "")
    pulse.beat("item 3 of ünder")
    pulse.beat("x" * 5000)
    pulse.beat("short")
    assert pulse.read() == (3, "short")
    pulse.close()
