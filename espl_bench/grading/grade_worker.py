r"""A grading process: ``python -m espl_bench.grading.grade_worker [module:function]``, started and used by process.py.

It imports and warms up math-verify once, or the module of somebody's own grader, then
forks a child that answers questions. The child carries the limits:

* CPU time: what an answer used is measured exactly when it is done. A timer of the kernel ends one that is never done, even within one
  long multiplication; it counts by the kernel's ticks, which on a busy machine miss some of the time or count too much of it, so it is
  set later than the limit and decides nothing about an answer that ends. Other work on the machine does not use the time up.
* Memory: allocations fail far above the limit; the child's peak is what counts.
* Everything else is forbidden (confinement.py).

When a child has ended, another is forked within milliseconds, warm and without any trace of earlier answers; so hanging answers
cost no more than their limit. When the other side of the pipe has gone, child and parent end.
"""

import gc
import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final, NoReturn

from espl_bench.grading.confinement import FORBIDDEN_EXIT, MemoryLimit, confine
from espl_bench.grading.rules import LONGEST_SHOWN
from espl_bench.grading.wire import FunctionQuestion, GraderFinding, GraderQuestion, GraderReply, Question
from espl_bench.utils.wire import WireError, receive, send

DONE_EXIT: Final = 0
"""The other side of the pipe has gone."""
RENEW_EXIT: Final = 85
"""The child asks to be replaced by a fresh one."""
RENEW: Final = "renew"
"""Key of a message that asks for a fresh child; it gets no reply."""
OUT_OF_CPU: Final = "it used up its CPU time"
TIMER_FACTOR: Final = 1.5
"""CPU limits after which the timer ends an answer: more than the kernel's ticks can be wrong by."""
WORN_SHARE: Final = 1 / 4
"""Share of an answer's memory that a child may retain from one answer to the next."""

_KEPT_OUT: Final = ("numpy", "scipy", "gmpy2")
"""Packages hidden from sympy, which uses them if installed: verdicts would depend on that, and numpy's threads do not survive a fork."""

Compare = Callable[[Any], GraderReply]


def main() -> None:
    """Answer until the other side has gone."""
    requests, replies = _take_pipes()
    try:
        compare = _load_function(sys.argv[1]) if len(sys.argv) > 1 else _load()
    except Exception as error:  # noqa: BLE001  # importing somebody's module may raise anything; it is told to the owner
        send(replies, {"fault": f"{type(error).__name__}: {error}"[:LONGEST_SHOWN]})
        return
    send(replies, {"fault": None})
    while (code := _run_child(requests, replies, compare)) != DONE_EXIT:
        if code != RENEW_EXIT:
            send(replies, {"reply": asdict(_obituary(code)), "number": None})


def _load() -> Compare:
    """Import and warm up math-verify. Raises ImportError."""
    for module in _KEPT_OUT:
        sys.modules[module] = None  # pyright: ignore[reportArgumentType]  (documented: makes its import fail)
    from espl_bench.grading.symbolic import compare, warm_up

    warm_up()
    gc.collect()
    gc.freeze()  # the children share this memory; the collector would touch, and so copy, all of it
    return compare


def _load_function(target: str) -> Compare:
    """Import ``module:function`` and wrap it. Raises whatever its module raises, AttributeError if it has no such function."""
    module, _, name = target.partition(":")
    function: Callable[[Any], Any] = getattr(importlib.import_module(module), name)

    def call(question: FunctionQuestion) -> GraderReply:
        value = function(question.payload)
        json.dumps(value)  # a value that is no data is the function's fault, and is reported as its exception
        return GraderReply(GraderFinding.ANSWERED, value=value)

    gc.collect()
    gc.freeze()
    return call


def _take_pipes() -> tuple[int, int]:
    """Move standard input and output to other descriptors, so that nothing printed gets into the pipes."""
    requests, replies = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    os.close(null)
    return requests, replies


def _run_child(requests: int, replies: int, compare: Compare) -> int:
    """Fork a child and wait for its end; return its exit status, or a signal's number, negated."""
    pid = os.fork()
    if pid == 0:
        _be_child(requests, replies, compare)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def _obituary(code: int) -> GraderReply:
    if code == -signal.SIGPROF:
        return GraderReply(GraderFinding.CPU, OUT_OF_CPU)
    if code == FORBIDDEN_EXIT:
        return GraderReply(GraderFinding.FORBIDDEN, "grading it led to a forbidden system call")
    ended = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
    return GraderReply(GraderFinding.DIED, f"the grading process {ended}")


def _be_child(requests: int, replies: int, compare: Compare) -> NoReturn:
    memory = MemoryLimit()
    confine()
    try:
        while (message := receive(requests)) is not None:
            if message.get(RENEW):
                os._exit(RENEW_EXIT)
            fields = message["question"]
            question: Question = FunctionQuestion.of(fields) if "payload" in fields else GraderQuestion.of(fields)
            reply = _answer(question, memory, compare)
            send(replies, {"reply": asdict(reply), "number": message["number"]})
            if memory.grown_mib() > question.memory_mib * WORN_SHARE:
                os._exit(RENEW_EXIT)
    except WireError:
        pass
    os._exit(DONE_EXIT)


def _answer(question: Question, memory: MemoryLimit, compare: Compare) -> GraderReply:
    """Compare, and turn every failure of math-verify into a reply."""
    memory.limit(question.memory_mib)
    began = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, question.cpu_s * TIMER_FACTOR)
    try:
        reply = compare(question)
    except MemoryError:
        return _out_of_memory(question)
    except (Exception, SystemExit) as error:  # noqa: BLE001  # sympy, antlr and somebody's function may raise anything; it is reported, not hidden
        reply = GraderReply(GraderFinding.RAISED, f"{type(error).__name__}: {error}"[:LONGEST_SHOWN])
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    if memory.grown_mib() > question.memory_mib:
        return _out_of_memory(question)
    if question.cpu_s and time.process_time() - began > question.cpu_s:
        return GraderReply(GraderFinding.CPU, OUT_OF_CPU)
    return reply


def _out_of_memory(question: Question) -> GraderReply:
    return GraderReply(GraderFinding.MEMORY, f"it took more than {question.memory_mib} MiB of memory")


if __name__ == "__main__":
    sys.exit(main())
