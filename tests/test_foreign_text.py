"""Any text that a model, an endpoint or a page can write is survived by every function that reads one, in bounded time and memory."""

import json
import os
import time
import tracemalloc
from collections import Counter
from typing import Any

import pytest
from foreign_texts import ENDLESS, READERS, texts

from espl_bench.utils.foreign_text import MAX_DEPTH, ForeignJsonError, parse_json, readable
from espl_bench.utils.reasoning import strip_reasoning

CASES = 100_000 if os.environ.get("CI_LONG") else 10_000
"""Texts of the long reading: a tenth where time is short."""
SOME = 1_500
PARTS = frozenset(
    {"after thinking", "reasoning", "principle", "integer", "words", "item", *(name for name in READERS if name.startswith("extract"))}
)
"""Readers that return parts of what they are given."""


def try_readers(seed: int, count: int) -> Counter[str]:
    """Give every text to every reader; returns how many each has read."""
    tried: Counter[str] = Counter()
    for number, text in enumerate(texts(seed, count)):
        for name, reader in READERS.items():
            if number % reader.every == 0:
                said = reader(text)
                tried[name] += 1
                if name not in ("calls", "JSON"):  # which are ASCII by now
                    storable(name, said)
    return tried


def storable(name: str, said: object) -> None:
    """What a reader returns can be written to a file; parts of a text that is readable already are so themselves."""
    if isinstance(said, str) and name not in PARTS:
        said.encode()
    for each in said if isinstance(said, tuple | list) else ():
        storable(name, each)


def test_every_reader_survives_some_texts():
    tried = try_readers(seed=1, count=SOME)
    assert tried.keys() == READERS.keys() and min(tried.values()) >= SOME // 50


@pytest.mark.slow
def test_every_reader_survives_many_texts():
    tried = try_readers(seed=2, count=CASES)
    print(dict(tried))  # noqa: T201
    assert min(count * READERS[name].every for name, count in tried.items()) >= CASES


LONG = 20_000
TIMES = 8
SLACK_S = 0.25
SMALL_COST = frozenset({"prompt", "reflection", "tokens", "environment"})


def cpu_s(name: str, text: str) -> float:
    started = time.process_time()
    READERS[name](text)
    return time.process_time() - started


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(READERS.keys() - SMALL_COST))
def test_time_is_linear_in_the_text(name: str):
    for piece in ENDLESS:
        if cpu_s(name, piece * (LONG * TIMES // len(piece))) < SLACK_S:
            continue
        short, whole = (min(cpu_s(name, piece * (n // len(piece))) for _ in range(3)) for n in (LONG, LONG * TIMES))
        assert whole < 4 * TIMES * short + SLACK_S, f"{piece!r}: {TIMES} times the text; {TIMES**2} times the time would be quadratic"


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(READERS.keys() - SMALL_COST))
def test_memory_is_linear_in_the_text(name: str):
    for piece in ENDLESS:
        text = piece * (LONG // len(piece))
        READERS[name](text)
        tracemalloc.start()
        READERS[name](text)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 600 * len(text) + 2**20, repr(piece)


def test_a_hundred_thousand_thoughts_are_one_pass():
    """Counted, not timed: the parts that a search looks at do not overlap."""

    class Counting(str):
        looked = 0

        def find(self, sub: str, start: Any = 0, end: Any = None, /) -> int:
            found = str.find(self, sub, start)
            Counting.looked += (len(self) if found < 0 else found) - start
            return found

    for text in ("<think>" * 100_000, "<think>x</think>" * 50_000, "</think>" * 100_000, "<think>a" * 50_000 + "</think>"):
        Counting.looked = 0
        strip_reasoning(Counting(text))
        assert Counting.looked <= 3 * len(text)
    assert strip_reasoning("<think>" * 100_000) == "" and strip_reasoning("a<think>b</think>" * 9) == "a" * 9


def test_json_of_any_shape_is_bounded():
    for text in ("[" * 10**6, '{"a":' * 10**6, "[" * 500 + "]" * 500, '"\\ud800', b"\xff", "[1,]", "nul", ""):
        with pytest.raises(ForeignJsonError):
            parse_json(text)
    assert parse_json("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    assert parse_json('["\\ud800", "\\ud83d\\ude00", {"\\udfff": 1}]') == ["\ufffd", "😀", {"\ufffd": 1}]
    assert parse_json(f"[{'9' * 100_000}, 1e999]") == [float("inf"), float("inf")]
    assert readable("a\ud800b\udfffc") == "a\ufffdb\ufffdc" and json.dumps(readable("\ud83d\ude00")) == '"\\ufffd\\ufffd"'
