"""Check a registered environment in a process of its own, so that one that hangs, exits or crashes is a finding and no more.

Nothing that the process tries may take longer than a stated time. A rule that does is a finding, and the rules after it are tried in a new
process.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

from espl_bench.environment.catalogue import require_environment
from espl_bench.environment.check_subject import MAX_ITEMS, Finding, Level
from espl_bench.environment.checker import RULES, SAMPLES
from espl_bench.environment.pulse import Pulse
from espl_bench.errors import EsplError, UsageError
from espl_bench.utils.wire import WireError, WireTimeoutError, receive

LOOK_S: Final = 0.2
"""Seconds between two looks at a silent process."""
DEADLINE_S: Final = 60.0
"""Seconds that making an instance, an item or a grade may take, unless another time is asked for."""


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """What is checked, and how much of it."""

    env: str
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    samples: int = SAMPLES
    items: int = MAX_ITEMS
    deadline_s: float = DEADLINE_S


@dataclass
class CheckReport:
    """What a check found."""

    request: CheckRequest
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """About the environment: class, items, turns, concurrency."""
    findings: list[Finding] = field(default_factory=list[Finding])

    @property
    def faults(self) -> list[Finding]:
        """Findings that break the contract."""
        return [finding for finding in self.findings if finding.level is Level.FAULT]

    def record(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        broken = {finding.rule for finding in self.faults}
        return {
            "env": self.request.env,
            "options": dict(self.request.options),
            **self.facts,
            "kept": not self.faults,
            "rules": [{"rule": rule.name, "requires": rule.requires, "kept": rule.name not in broken} for rule in RULES],
            "findings": [
                {"rule": each.rule, "level": each.level.value, "problem": each.problem, "remedy": each.remedy} for each in self.findings
            ],
        }


def check_apart(request: CheckRequest, progress: Callable[[str], None] = lambda rule: None) -> CheckReport:
    """Check an environment; `progress` is told each rule as it begins.

    Raises:
        UsageError: there is no such environment, or it does not take the options.
        EsplError: it cannot be made, e.g. because its data are missing.
    """
    require_environment(request.env)
    report = CheckReport(request)
    waiting = [rule.name for rule in RULES]
    while waiting:
        waiting = waiting[_try(report, waiting, progress) :]
    return report


def _try(report: CheckReport, rules: Sequence[str], progress: Callable[[str], None]) -> int:
    """Try rules in one process; return how many are settled, at least one."""
    begun: list[str] = []
    with _process(report.request, rules) as (process, replies, pulse):
        try:
            for message in _messages(replies, pulse, report.request.deadline_s):
                if "refused" in message:
                    raise (UsageError if message["usage"] else EsplError)(message["refused"])
                report.facts = message.get("facts", report.facts)
                if "rule" in message:
                    begun.append(message["rule"])
                    progress(message["rule"])
                if "problem" in message:
                    report.findings.append(Finding(begun[-1], message["problem"], message["remedy"], Level(message["level"])))
                if "done" in message:
                    return len(rules)
            fault = f"the process ends with status {process.wait(report.request.deadline_s)} at {pulse.read()[1]}"
            remedy = "call neither exit nor code that can crash"
        except (WireTimeoutError, subprocess.TimeoutExpired):  # the second for one that has only closed its files
            fault = f"{pulse.read()[1]} does not end within {report.request.deadline_s:g} s"
            remedy = "bound what a grader computes, and every wait; --deadline allows more"
        except WireError as error:
            fault, remedy = f"{pulse.read()[1]} breaks the connection ({error})", "leave open files that are not yours alone"
    if not begun:
        raise UsageError(f"environment '{report.request.env}' cannot be made: {fault}; {remedy}")
    report.findings.append(Finding(begun[-1], fault, remedy))
    return len(begun)


def _messages(replies: int, pulse: Pulse, deadline_s: float) -> Iterator[dict[str, Any]]:
    """Yield messages until the process has gone. Raises WireTimeoutError once it has begun nothing new for the stated time."""
    last, since = pulse.read()[0], time.monotonic()
    while True:
        try:
            message = receive(replies, time.monotonic() + LOOK_S)
        except WireTimeoutError:
            count = pulse.read()[0]
            if count != last:
                last, since = count, time.monotonic()
            elif time.monotonic() - since > deadline_s:
                raise
            continue
        if message is None:
            return
        since = time.monotonic()
        yield message


@contextmanager
def _process(request: CheckRequest, rules: Sequence[str]) -> Generator[tuple[subprocess.Popen[bytes], int, Pulse]]:
    """Start a checking process; end it and its children in the end."""
    pulse = Pulse.make()
    replies, sending = os.pipe()
    asked = {"env": request.env, "options": dict(request.options), "samples": request.samples, "items": request.items, "rules": list(rules)}
    process = subprocess.Popen(
        [sys.executable, "-m", "espl_bench.environment.check_worker", str(sending), str(pulse.descriptor)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(sending, pulse.descriptor),
        env=os.environ | {"PYTHONPATH": os.pathsep.join(os.path.abspath(folder) for folder in sys.path if folder)},
        start_new_session=True,
    )
    os.close(sending)
    try:
        assert process.stdin is not None
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps(asked).encode())
        with suppress(BrokenPipeError):
            process.stdin.close()
        yield process, replies, pulse
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(replies)
        pulse.close()
