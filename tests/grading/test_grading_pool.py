"""Grading processes are shared, replaced, and never outlive their owner; the load of the machine decides nothing."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from grading_fixtures import SHORT
from patience import PATIENCE_S

from espl_bench.grading import GradingRules, VerifierPool, grade, grade_answer, grade_many, shared_pool
from espl_bench.grading.process import GradingProcess
from espl_bench.grading.wire import GraderQuestion, GraderReply
from espl_bench.types import Outcome
from espl_bench.utils.wire import WireError, receive, send

TOWER = "9^{9^{9^{9^9}}}"
UNHURRIED = GradingRules(timeout_s=PATIENCE_S)
"""For an answer that something else ends: its own limits are no part of the test."""
linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def members(group: int) -> list[int]:
    """The living processes of a process group."""
    found: list[int] = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, pgrp = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(pgrp) == group and state != "Z":
            found.append(int(stat.parent.name))
    return found


def eventually(true: Callable[[], bool], seconds: float = 15.0) -> bool:
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.05)
    return true()


@pytest.fixture(scope="module")
def one_process() -> Iterator[VerifierPool]:
    with VerifierPool(1) as pool:
        yield pool


@pytest.fixture
def lone_process(one_process: VerifierPool) -> VerifierPool:
    """A pool of one process that has just graded something. A test may spoil it: it is replaced."""
    assert grade("1/2", "\\boxed{0.5}", SHORT, one_process).outcome is Outcome.CORRECT
    return one_process


def test_many_threads_share_a_pool(pool: VerifierPool):
    async def ask() -> list[Outcome]:
        work = [asyncio.to_thread(grade, f"{n}/7", f"\\boxed{{\\frac{{{n + n % 2}}}{{7}}}}", SHORT, pool) for n in range(1, 60)]
        return [found.outcome for found in await asyncio.gather(*work)]

    outcomes = asyncio.run(ask())
    assert outcomes == [Outcome.WRONG if n % 2 else Outcome.CORRECT for n in range(1, 60)]
    assert len(pool.pids()) <= pool.size


def test_a_batch_is_graded_in_order_and_equal_answers_once(pool: VerifierPool, monkeypatch: pytest.MonkeyPatch):
    asked: list[str] = []
    original = VerifierPool.ask

    def recorded(self: VerifierPool, question: GraderQuestion, limit_s: float) -> GraderReply:
        asked.append(question.answer)
        return original(self, question, limit_s)

    monkeypatch.setattr(VerifierPool, "ask", recorded)
    answers = ["0.5", "7", "\\frac{2}{4}", "0.5", "", "0.5"] * 20
    grades = grade_many([("1/2", f"\\boxed{{{answer}}}") for answer in answers], SHORT, pool)
    expected = [Outcome.CORRECT, Outcome.WRONG, Outcome.CORRECT, Outcome.CORRECT, Outcome.NO_ANSWER, Outcome.CORRECT]
    assert [found.outcome for found in grades] == expected * 20
    assert sorted(asked) == sorted({"0.5", "7", "\\frac{2}{4}"})


def test_an_interrupted_attempt_is_repeated_once_and_alone(pool: VerifierPool, monkeypatch: pytest.MonkeyPatch):
    lock = threading.Lock()
    running: list[str] = []
    repeated: list[str] = []
    crowds: list[list[str]] = []
    original = GradingProcess.ask

    def watched(self: GradingProcess, question: GraderQuestion, limit_s: float, fresh: bool) -> GraderReply:
        with lock:
            running.append(question.answer)
            crowds.extend(list(running) for _ in range(len(repeated) > 0))
            if fresh:
                repeated.append(question.answer)
                assert running == [question.answer], "nothing else is being graded"
        try:
            return original(self, question, limit_s, fresh)
        finally:
            with lock:
                if fresh:
                    assert running == [question.answer]
                running.remove(question.answer)

    monkeypatch.setattr(GradingProcess, "ask", watched)
    towers = [f"{n}^{{9^{{9^{{9^9}}}}}}" for n in (2, 3, 5)]
    answers = [answer for n in range(30) for answer in ([towers[n // 10]] if n % 10 == 0 else []) + [f"\\frac{{{n}}}{{31}}"]]
    grades = grade_many([("1/31", f"\\boxed{{{answer}}}") for answer in answers], SHORT, pool)
    by_answer = dict(zip(answers, (found.outcome for found in grades), strict=True))
    assert [by_answer[tower] for tower in towers] == [Outcome.TIMEOUT] * 3
    assert sorted(repeated) == sorted(towers)
    assert all(by_answer[f"\\frac{{{n}}}{{31}}"] is (Outcome.CORRECT if n == 1 else Outcome.WRONG) for n in range(30))


@linux
def test_a_starved_process_makes_no_timeout(lone_process: VerifierPool):
    """It runs out of wall clock without having computed anything; the second attempt decides."""
    (starved,) = lone_process.pids()
    os.killpg(starved, signal.SIGSTOP)
    found = grade("1/2", "\\boxed{\\frac{2}{4}}", GradingRules(timeout_s=2.0), lone_process)
    assert found.outcome is Outcome.CORRECT
    assert starved not in lone_process.pids()
    assert members(starved) == []


def test_another_load_does_not_change_a_verdict(lone_process: VerifierPool):
    """Four busy processes leave this one a part of a core; its CPU time is its own."""
    hog = "import time\nend = time.monotonic() + 20\nwhile time.monotonic() < end: pass"
    hogs = [subprocess.Popen([sys.executable, "-c", hog]) for _ in range(4)]
    try:
        rules = GradingRules()
        assert grade("\\sec^2(y)", "\\boxed{\\tan^2(y)+1}", rules, lone_process).outcome is Outcome.CORRECT
    finally:
        for each in hogs:
            each.kill()
            each.wait()


def test_a_process_that_was_killed_is_replaced(lone_process: VerifierPool):
    (killed,) = lone_process.pids()
    os.killpg(killed, signal.SIGKILL)
    time.sleep(0.1)
    assert grade("1/3", "\\boxed{\\frac{2}{6}}", SHORT, lone_process).outcome is Outcome.CORRECT
    assert killed not in lone_process.pids()


@linux
def test_a_child_that_was_killed_between_answers_is_replaced(lone_process: VerifierPool):
    (owner,) = lone_process.pids()
    (child,) = [pid for pid in members(owner) if pid != owner]
    os.kill(child, signal.SIGKILL)
    time.sleep(0.1)
    for n in range(1, 5):
        assert grade("1/3", f"\\boxed{{\\frac{{{n}}}{{3}}}}", SHORT, lone_process).outcome is (Outcome.CORRECT if n == 1 else Outcome.WRONG)
    assert lone_process.pids() == (owner,), "the warm process stays"


@linux
def test_a_process_that_dies_while_it_grades_is_an_error(lone_process: VerifierPool):
    (owner,) = lone_process.pids()
    stop = threading.Event()

    def kill_children() -> None:
        while not stop.wait(0.02):
            for pid in members(owner):
                if pid != owner:
                    os.kill(pid, signal.SIGSEGV)

    killer = threading.Thread(target=kill_children)
    killer.start()
    try:
        found = grade("1/3", f"\\boxed{{{TOWER}}}", UNHURRIED, lone_process)
    finally:
        stop.set()
        killer.join()
    assert (found.outcome, found.detail) == (Outcome.ERROR, "the grading process was ended by SIGSEGV")


def test_a_process_that_cannot_start_is_an_error_and_not_a_wrong_answer(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with VerifierPool(1) as pool:
        found = grade_answer("1/2", "0.5", SHORT, pool)
    assert found.outcome is Outcome.ERROR
    assert "did not start" in found.detail


def test_a_closed_pool_grades_nothing():
    pool = VerifierPool(1)
    pool.close()
    found = grade("1/2", "\\boxed{\\frac{3}{6}}", SHORT, pool)
    assert (found.outcome, found.detail) == (Outcome.ERROR, "the grading pool is closed")
    assert pool.pids() == ()


def test_integers_start_no_process():
    with VerifierPool(1) as pool:
        assert grade("033", "\\boxed{33}", SHORT, pool).outcome is Outcome.CORRECT
        assert pool.pids() == ()


OWNER = """
import sys, threading, time
from espl_bench.grading import GradingRules, grade, shared_pool
grade("1/2", "\\\\boxed{{0.5}}")
if {busy}:
    threading.Thread(target=grade, args=("1/2", "\\\\boxed{{9^{{9^{{9^9}}}}}}", GradingRules(timeout_s=8.0)), daemon=True).start()
    time.sleep(0.3)
print(*shared_pool().pids(), flush=True)
sys.stdin.read()
"""


@linux
@pytest.mark.parametrize(("busy", "end"), [(False, signal.SIGKILL), (True, signal.SIGKILL), (True, None)])
def test_grading_processes_end_with_their_owner(busy: bool, end: signal.Signals | None):
    owner = subprocess.Popen([sys.executable, "-c", OWNER.format(busy=busy)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert owner.stdin is not None and owner.stdout is not None
    groups = [int(pid) for pid in owner.stdout.readline().split()]
    assert groups and all(members(group) for group in groups)
    if end:
        owner.send_signal(end)
    else:
        owner.stdin.close()
    owner.wait()
    assert eventually(lambda: not any(members(group) for group in groups))
    owner.stdout.close()
    owner.stdin.close()


FORKED = """
import os, sys, signal
from espl_bench.grading import grade, shared_pool
found = grade("1/2", "\\\\boxed{0.5}")
assert found.outcome == "correct", found
(parents,) = shared_pool().pids()
child = os.fork()
if child == 0:
    assert shared_pool().pids() == ()
    assert grade("1/3", "\\\\boxed{\\\\frac{2}{6}}").outcome == "correct"
    (own,) = shared_pool().pids()
    assert own != parents
    os.kill(parents, 0)
    shared_pool().close()
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert grade("1/3", "\\\\boxed{\\\\frac{2}{6}}").outcome == "correct"
assert shared_pool().pids() == (parents,)
"""


def test_a_forked_child_has_a_pool_of_its_own():
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr


def test_there_is_one_shared_pool():
    assert shared_pool() is shared_pool()


def test_messages_survive_the_wire():
    read, write = os.pipe()
    message: dict[str, Any] = {"text": "\ud800\x00\u202e\n" * 1000, "number": 7}
    writer = threading.Thread(target=send, args=(write, message))
    writer.start()
    assert receive(read) == message
    writer.join()
    os.write(write, b"\x00\x00\x00\x05{")
    os.close(write)
    with pytest.raises(WireError, match="ends within a message"):
        receive(read)
    assert receive(read) is None
    os.close(read)
