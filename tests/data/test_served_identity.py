import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from espl_bench.data.served_identity import served_identity
from espl_bench.types import Problem, Split


@dataclass(frozen=True)
class Tagged(Problem):
    tags: frozenset[str] = frozenset()
    weights: tuple[float, ...] = ()


def item(index: int) -> Tagged:
    names = frozenset(("easy", "short", "new")[: index % 4])
    return Tagged(f"test/{index}", Split.TEST, index, f"q {index}", str(index), gold=f"a {index}", tags=names, weights=(index / 7,))


def identity(items: Callable[[int], Problem] = item, size: int = 10, most: int = 100) -> str:
    return served_identity(size, items, most)


def changed(**fields: object) -> Callable[[int], Problem]:
    return lambda index: replace(item(index), **fields) if index == 6 else item(index)


@pytest.mark.parametrize(
    "fields",
    [
        {"question": "q  6"},
        {"answer": "7"},
        {"gold": "a 7"},
        {"id": "test/7"},
        {"tags": frozenset({"hard"})},
        {"weights": (0.8571428571428572,)},
    ],
)
def test_a_change_of_anything_that_one_item_holds_changes_it(fields: dict[str, object]):
    assert identity(changed(**fields)) != identity()


def test_order_and_number_of_items_count():
    assert identity(lambda index: item(9 - index)) != identity()
    assert identity(size=9) != identity()


def test_it_is_the_same_in_another_process_whatever_the_order_of_sets():
    code = "import test_served_identity as t; print(t.identity())"
    for seed in ("1", "2", "3"):
        command = [sys.executable, "-c", code]
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, cwd=__file__.rpartition("/")[0], env={"PYTHONHASHSEED": seed}
        )
        assert done.stdout.strip() == identity()


def test_a_split_without_end_is_sampled_and_says_so():
    asked: list[int] = []

    def endless(index: int) -> Problem:
        asked.append(index)
        return item(index)

    found = served_identity(10**12, endless, 50)
    assert found.startswith(f"50 of {10**12} items: ")
    assert len(asked) == 50 and asked == sorted(set(asked)) and (asked[0], asked[-1]) == (0, 10**12 - 1)
    assert served_identity(10**12, endless, 50) == found
    assert served_identity(10**12 - 1, endless, 50) != found
