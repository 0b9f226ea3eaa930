"""Find the sets of reasoning-gym that keep the contract: `python benchmarks/reasoning_gym_sets.py [SET...]` (needs the package).

Each set is put to the rules of `espl-bench env check` in a process of its own, with the adapter's confined graders and default parameters.
A second process, with another hash seed, draws its items too: they must be the same, which instances of one process share and
so cannot show. Writes `envs/espl_envs/reasoning_gym/sets.json`: an empty text for a set that is served, else why it is not. Named sets are
tried again, and the others keep their lines.
"""

import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from multiprocessing.connection import Connection
from typing import Any

import reasoning_gym  # noqa: F401  # once, before the processes are forked
from espl_envs.reasoning_gym.env import serve
from espl_envs.reasoning_gym.sets import FAMILY, LIST
from reasoning_gym.factory import DATASETS

from espl_bench.environment.check_subject import Level, Subject
from espl_bench.environment.checker import examine
from espl_bench.errors import EsplError
from espl_bench.types import Split

SIZES = {Split.TRAIN: 256, Split.VALIDATION: 64, Split.TEST: 100}
SAMPLES = 8
"""Items of each split on which a grader is tried."""
DRAW_S = 30
"""Of processor time for the items of a set, which a run draws before anything else."""
CHECK_S = 300
"""The same for all rules on one set."""
PATIENCE = 10
"""By how much the clock may exceed processor time: on a busy machine a set is not slower than it is."""
OTHER_HASH_SEED = "7"
COMPOSITE = "composite"
"""Mixes sets by itself; `+` does that here."""


def identity(name: str) -> dict[str, str]:
    """Return the hashes of a set's items."""
    return dict(serve((name,), SIZES, 0, {}).items_identity())


def check(name: str) -> tuple[dict[str, str], list[str]]:
    """Return the hashes of a set's items, and what breaks the contract or keeps it from being checked."""
    make = partial(serve, (name,), SIZES, 0, {})
    subject = Subject(make(), make(), SAMPLES, make)
    found = [each.problem for each in examine(subject) if each.level is Level.FAULT or each.rule == "truth"]
    return identity(name), found


def forked(work: Callable[[str], Any], name: str, seconds: int) -> tuple[Any, str]:
    """Return what comes of a set in a process of its own, or why nothing does."""

    def call(pipe: Connection) -> None:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # some print
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        try:
            pipe.send((work(name), ""))
        except EsplError as error:
            pipe.send((None, str(error).partition("; ")[0]))
        except Exception as error:  # noqa: BLE001  # a set may raise anything; that is what is to be found out
            pipe.send((None, f"{type(error).__name__}: {error}"))

    here, there = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=call, args=(there,))
    process.start()
    there.close()
    slow = None, f"it is slow: {work.__name__} takes more than {seconds} s of processor time"
    try:
        return here.recv() if here.poll(PATIENCE * seconds) else slow
    except EOFError:
        process.join()
        return slow if process.exitcode == -signal.SIGXCPU else (None, "it ends its process")
    finally:
        process.kill()
        process.join()


def draw() -> None:
    """Answer each name on standard input with a line: the identity of that set, or why it has none."""
    for line in sys.stdin:
        print(json.dumps(forked(identity, line.strip(), DRAW_S)), flush=True)


def drawn_by(other: subprocess.Popen[str], name: str) -> tuple[Any, str]:
    """Let the other process draw."""
    assert other.stdin is not None and other.stdout is not None
    print(name, file=other.stdin, flush=True)
    drawn, fault = json.loads(next(line for line in other.stdout if line.startswith("[")))
    return drawn, fault


def refusal_of(name: str, other: subprocess.Popen[str]) -> str:
    """Return why a set is not served; empty if it is."""
    if name == COMPOSITE:
        return "several sets are named with + between them"
    drawn, fault = drawn_by(other, name)
    checked, fault = (None, fault) if fault else forked(check, name, CHECK_S)
    if checked is None:
        return fault
    own, broken = checked
    return next(iter(broken), "") if own == drawn else "its items are others in another process"


def write(verdicts: dict[str, str]) -> None:
    """Write the list."""
    made = {"made_by": "benchmarks/reasoning_gym_sets.py", "package": f"{FAMILY} {version(FAMILY)}", "sets": dict(sorted(verdicts.items()))}
    LIST.write_text(json.dumps(made, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def main(chosen: Sequence[str]) -> None:
    """Try the sets, and write the list after each."""
    verdicts: dict[str, str] = json.loads(LIST.read_text(encoding="utf-8"))["sets"] if chosen else {}
    env = {**os.environ, "PYTHONHASHSEED": OTHER_HASH_SEED}
    command = [sys.executable, __file__, "--draw"]
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        for name in chosen or sorted(DATASETS):
            verdicts[name] = " ".join(refusal_of(name, other).split())[:160]
            print(f"{name:<28} {verdicts[name] or 'served'}", flush=True)
            write(verdicts)
    print(f"{sum(not refusal for refusal in verdicts.values())} of {len(verdicts)} served")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--draw"]:
        draw()
    else:
        main(sys.argv[1:])
