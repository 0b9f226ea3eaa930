"""What grading costs: `python benchmarks/grading.py [--data FOLDER]`.

Prints a table: integer answers a second in one thread, through a whole response; LaTeX answers a second through two warm
grading processes; how long such processes take to start; whether a busy machine changes an outcome; and how long a batch
takes of which 5 % hang. With a folder of problem files (math500.jsonl, hmmt_*.jsonl), also LaTeX answers of real problems:
each gold answer against itself in another spelling, and against its neighbour's.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from espl_bench.grading import COMPETITION_MATHS, VerifierPool, grade, grade_many
from espl_bench.types import Outcome

PROCESSES = 2
BUSY = 6
REASONING = "We expand the square, collect terms, and see that $x^2 - 3x + \\frac{7}{2} > 0$ for {all} $x$. " * 20
"""About 2,000 characters: a response of usual length before its answer."""

Pair = tuple[str, str]


def respond(answer: str) -> str:
    """A response that ends in an answer."""
    return f"{REASONING}\n\nTherefore the answer is $\\boxed{{{answer}}}$."


def formulas(number: int) -> Iterator[Pair]:
    """Gold answers and responses, all different, of which every other one is right."""
    for n in range(1, number + 1):
        off = n % 2
        kinds = (
            (f"\\frac{{{n}}}{{{n + 7}}}", f"\\dfrac{{{2 * n + off}}}{{{2 * n + 14}}}"),
            (f"{n}\\sqrt{{3}}", f"\\sqrt{{{3 * n * n + off}}}"),
            (f"({n}, \\frac{{\\pi}}{{{n + 1}}})", f"\\left( {n}, \\frac{{\\pi}}{{{n + 1 + off}}} \\right)"),
            (f"x^2 - {2 * n}x + {n * n}", f"(x - {n + off})^2"),
            (f"[0, {n})", f"0 \\le x < {n + off}"),
            (f"{n} + \\sqrt{{{n + 1}}}, {n} - \\sqrt{{{n + 1}}}", f"{n + off} \\pm \\sqrt{{{n + 1}}}"),
            (f"2^{{{n}}} \\cdot 3", f"3 \\cdot 2^{{{n + off}}}"),
            (f"\\text{{case {n} holds}}", f"\\text{{case {n + off} holds}}" if off else f"\\text{{case  {n} holds }}"),
        )
        gold, answer = kinds[n % len(kinds)]
        yield gold, respond(answer)


def towers(number: int) -> Iterator[Pair]:
    """Answers that never end, all different."""
    yield from (("\\frac{1}{2}", respond(f"{n + 2}^{{9^{{9^{{9^{{9}}}}}}}}")) for n in range(number))


def real(folder: Path) -> Iterator[Pair]:
    """Gold answers of real problems that are not integers, against another spelling and against the next one's answer."""
    golds = [
        json.loads(line)["answer"]
        for file in sorted([*folder.glob("math500.jsonl"), *folder.glob("hmmt_*.jsonl")])
        for line in file.read_text(encoding="utf-8").splitlines()
    ]
    golds = [gold for gold in golds if not gold.lstrip("-").isdecimal()]
    for gold, other in zip(golds, golds[1:] + golds[:1], strict=True):
        yield gold, respond(f"\\, {gold}")
        yield gold, respond(other)


def timed(pairs: Sequence[Pair], pool: VerifierPool) -> tuple[float, Counter[Outcome]]:
    """Seconds for a batch, and what came of it."""
    began = time.perf_counter()
    grades = grade_many(pairs, COMPETITION_MATHS, pool)
    return time.perf_counter() - began, Counter(found.outcome for found in grades)


def cpu_seconds(pool: VerifierPool) -> float:
    """CPU time that the pool's processes have used so far, which does not depend on what else the machine does. Linux only."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended since
            continue
        if int(fields[2]) in pool.pids():  # its process group
            ticks += sum(int(field) for field in fields[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def show_rate(name: str, pairs: Sequence[Pair], pool: VerifierPool) -> None:
    """Grade a batch and print how fast."""
    before = cpu_seconds(pool)
    seconds, outcomes = timed(pairs, pool)
    cpu_ms = 1000 * (cpu_seconds(pool) - before) / len(pairs)
    show(name, f"{len(pairs) / seconds:,.0f} /s", f"{cpu_ms:.1f} ms of CPU each; {told(outcomes)}")


def integer_rate(seconds: float = 2.0) -> float:
    """Boxed integers graded in a second by one thread."""
    pairs = [(str(n), respond(f"{n:,}" if n % 3 else f"{n + n % 2}")) for n in range(1000, 1200)]
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        for gold, response in pairs:
            grade(gold, response)
        done += len(pairs)
    return done / (time.perf_counter() - began)


def changed_by_load(pairs: Sequence[Pair], pool: VerifierPool) -> int:
    """How many outcomes differ when `BUSY` other processes want the machine."""
    quiet = [found.outcome for found in grade_many(pairs, COMPETITION_MATHS, pool)]
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(BUSY)]
    try:
        busy = [found.outcome for found in grade_many(pairs, COMPETITION_MATHS, pool)]
    finally:
        for other in others:
            other.kill()
            other.wait()
    return sum(one is not two for one, two in zip(quiet, busy, strict=True))


def show(name: str, figure: str, note: str = "") -> None:
    """One line of the table."""
    print(f"{name:<52} {figure:>12}  {note}")


def told(outcomes: Counter[Outcome]) -> str:
    """The counts, in a few words."""
    return ", ".join(f"{outcome} {number}" for outcome, number in sorted(outcomes.items()))


def main() -> None:
    """Parse the command line, measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--data", type=Path, help="folder of problem files")
    parser.add_argument("--answers", type=int, default=400, help="LaTeX answers of a batch")
    options = parser.parse_args()

    show("integer answers, one thread, through grade()", f"{integer_rate():,.0f} /s", f"responses of {len(respond('1234')):,} characters")
    with VerifierPool(PROCESSES) as pool:
        began = time.perf_counter()
        grade_many([("\\frac{1}{2}", respond(f"\\frac{{{n}}}{{3}}")) for n in range(PROCESSES)], COMPETITION_MATHS, pool)
        show(f"start of {PROCESSES} grading processes", f"{time.perf_counter() - began:.1f} s", "once")
        timed(list(formulas(100)), pool)

        show_rate(f"LaTeX answers, {PROCESSES} warm processes", list(formulas(options.answers)), pool)
        batch = list(formulas(options.answers))
        if options.data:
            show_rate("LaTeX answers of real problems", list(real(options.data)), pool)
            batch.extend(real(options.data))
        show(f"outcomes that {BUSY} busy processes change", f"{changed_by_load(batch, pool)}", f"of {len(batch)}")

        for number in (options.answers // 4, options.answers // 2):
            hanging = list(towers(number // 20))
            easy = list(formulas(number - len(hanging)))
            rest, _ = timed(easy, pool)
            mixed = [pair for place, pair in enumerate(easy) for pair in ([hanging.pop()] if hanging and place % 19 == 7 else []) + [pair]]
            seconds, outcomes = timed(mixed, pool)
            bound = 2 * COMPETITION_MATHS.timeout_s + rest
            note = f"bound {bound:.1f} s; rest alone {rest:.1f} s; {told(outcomes)}"
            show(f"{len(mixed)} answers of which 5 % hang", f"{seconds:.1f} s", note)


if __name__ == "__main__":
    main()
