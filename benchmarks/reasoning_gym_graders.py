"""Run reasoning-gym's graders confined: `python benchmarks/reasoning_gym_graders.py` (needs the package reasoning-gym).

Some of its graders evaluate what a model wrote, with eval, exec or sympy. Each is given its own right answer, if it has one, and texts
that never end, use up memory, or reach for files and processes, through `espl_bench.grading.confined`. Prints a line per grader: what
came of each, the longest call, and whether a file was written.
"""

import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))  # the confined process imports this file for `score`

DATASETS = (
    *("countdown", "puzzle24", "simple_integration", "intermediate_integration", "polynomial_multiplication", "polynomial_equations"),
    *("string_insertion", "spiral_matrix", "binary_matrix", "n_queens", "basic_arithmetic", "bitwise_arithmetic", "propositional_logic"),
    *("number_sorting", "simple_equations", "complex_arithmetic", "codeio", "string_manipulation", "palindrome_generation"),
)
TIMEOUT_S = 15.0


def score(payload: dict[str, Any]) -> float:
    """Grade with reasoning-gym; called in the confined process."""
    from reasoning_gym.factory import get_score_answer_fn  # pyright: ignore[reportMissingImports]

    return float(get_score_answer_fn(payload["dataset"])(payload["answer"], payload["entry"]))


def warm() -> None:
    """Import what the graders need, before the process is confined."""
    import reasoning_gym  # noqa: F401  # pyright: ignore[reportMissingImports]


def hostile(mark: Path) -> dict[str, str]:
    """Answers that mean harm."""
    shell = f"__import__('os').system('touch {mark}')"
    return {
        "tower": "9**9**9**9",
        "factorial": "factorial(factorial(10**7))",
        "loop": "[0 for _ in iter(int, 1)]",
        "memory": "'x' * 10**11",
        "shell": shell,
        "write": f"open('{mark}', 'w')",
        "exit": "exit()",
        "nested": "(" * 5000 + "1" + ")" * 5000,
        "prose": "I think it is 5 * 1 +",
    }


def main() -> None:
    """Grade, and print a table."""
    import reasoning_gym  # pyright: ignore[reportMissingImports]

    from espl_bench.grading.confined import ConfinedFunction

    mark = Path(tempfile.mkdtemp()) / "mark"
    with ConfinedFunction("reasoning_gym_graders:score", TIMEOUT_S, memory_mib=512) as confined:
        for name in DATASETS:
            try:
                entry = reasoning_gym.create_dataset(name, size=1, seed=0)[0]
            except (TypeError, ValueError) as error:
                print(f"{name:<28} skipped: {error}")
                continue
            right = confined({"dataset": name, "answer": entry["answer"], "entry": entry}) if entry["answer"] is not None else None
            longest, outcomes = 0.0, Counter[str]()
            for text in hostile(mark).values():
                began = time.monotonic()
                result = confined({"dataset": name, "answer": text, "entry": entry})
                longest = max(longest, time.monotonic() - began)
                outcomes[result.outcome.value] += 1
            told = ", ".join(f"{outcome} {number}" for outcome, number in sorted(outcomes.items()))
            own = "none" if right is None else right.value if not right.fault else right.fault
            print(f"{name:<28} own answer {own!s:<6} hostile: {told}; longest {longest:.1f} s; file written: {mark.exists()}")


if os.environ.get("PYTHONSAFEPATH") and __name__ == "reasoning_gym_graders":
    warm()
if __name__ == "__main__":
    main()
