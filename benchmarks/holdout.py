"""What holding out a validation slice costs: `python benchmarks/holdout.py [--rows 220000]`.

Prints seconds of the split for growing training sets of made-up problems of about 150 characters: of the wall and of the processor,
since another program may take half of the machine. The time grows with the number of rows and not with its square.
"""

import argparse
import time

from espl_envs.math.splits import MathRow, hold_out

from espl_bench.data.item_text import Item

PROBLEM = (
    "Let $x_{{{n}}}$ be a real number such that $\\dfrac{{x}}{{{n}}} + \\sqrt{{x + {n}}} = {n}$. "
    "Find the sum of all possible values of $x^2 - {n}$ in a triangle $ABC$ with integer sides."
)


def made_up(number: int) -> list[MathRow]:
    """Distinct problems."""
    return [MathRow("train", Item(PROBLEM.format(n=row), str(row), row)) for row in range(number)]


def main() -> None:
    """Print one line for each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=220_000)
    largest = parser.parse_args().rows
    print("    rows     held   wall s    cpu s")
    for number in (largest // 16, largest // 4, largest):
        rows = made_up(number)
        wall, cpu = time.perf_counter(), time.process_time()
        _, held = hold_out(rows, 5, "benchmark")
        print(f"{number:8d} {len(held):8d} {time.perf_counter() - wall:8.2f} {time.process_time() - cpu:8.2f}")


if __name__ == "__main__":
    main()
