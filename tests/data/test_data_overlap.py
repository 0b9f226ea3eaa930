"""Problems that two collections share: exactly, in other typography, and not merely in stock phrases."""

import json
import random
import string
import time

from data_fixtures import TEST_DATA, needs_test_data

from espl_bench.data.overlap import Text, overlaps, repetitions

STOCK_PHRASE = "where $m$ and $n$ are relatively prime positive integers. Find $m+n$."


def texts(*given: str, name: str = "t") -> list[Text]:
    return [Text(f"{name}{place}", text) for place, text in enumerate(given)]


def found(pairs) -> list[tuple[str, str, bool]]:
    return [(pair.first.id, pair.second.id, pair.exact) for pair in pairs]


SQUARE = "Let $ABCD$ be a square, and let $l$ be a line passing through the midpoint of segment $AB$ that intersects segment $BC$. Find it."
SQUARE_SPACED = (
    r"Let $A B C D$ be a square, and let $\ell$ be a line passing through the midpoint of segment $\overline{A B}$ that"
    r" intersects segment $\overline{B C}$. Find it."
)


def test_the_same_problem_is_found_whatever_its_dress():
    mine = texts("How many  digits has $2^{10}$?", SQUARE, "Something else altogether, of no interest here at all to anybody.")
    theirs = texts(SQUARE_SPACED, "how many digits has $2^{10}$", name="u")
    assert found(overlaps(mine, theirs)) == [("t0", "u1", True), ("t1", "u0", False)]
    assert overlaps(mine, theirs)[1].containment > 0.6


def test_a_problem_inside_a_longer_one_is_nearly_the_same():
    longer = f"{SQUARE} The answer is in the form of a fraction in lowest terms, and its numerator is asked for, as a positive integer."
    [pair] = overlaps(texts(SQUARE), texts(longer))
    assert not pair.exact and pair.containment > 0.9 and pair.jaccard < 0.7


def test_stock_phrases_make_no_pair():
    rng = random.Random(0)
    many = texts(*(f"{' '.join(rng.choices(string.ascii_lowercase, k=9))} {STOCK_PHRASE}" for _ in range(40)))
    assert overlaps(many[:20], many[20:]) == [] and repetitions(many) == []


def test_repetitions_are_counted_once():
    assert found(repetitions(texts("one and one", SQUARE, "One and one.", SQUARE_SPACED, "one and one"))) == [
        *[("t0", "t2", True), ("t0", "t4", True), ("t2", "t4", True)],
        ("t1", "t3", False),
    ]


def test_nothing_is_like_nothing():
    assert overlaps([], texts("a")) == overlaps(texts("a"), []) == repetitions([]) == []


def test_the_time_grows_with_the_texts():
    rng = random.Random(0)
    vocabulary = ["".join(rng.choices(string.ascii_lowercase, k=6)) for _ in range(3000)]
    many = texts(*(" ".join(rng.choices(vocabulary, k=60)) for _ in range(17_000)))
    few = texts(*(" ".join(rng.choices(vocabulary, k=60)) for _ in range(590)), *(text.text.upper() for text in many[:10]), name="u")
    assert [pair.first.id for pair in overlaps(many, few)] == [f"t{place}" for place in range(10)]
    quarter, whole = (min(cpu_seconds(many[: len(many) // parts], few[: len(few) // parts]) for _ in range(2)) for parts in (4, 1))
    assert whole < 12 * quarter + 0.1, "four times the texts; every pair of them would be sixteen times the time"


def cpu_seconds(many: list[Text], few: list[Text]) -> float:
    started = time.process_time()
    overlaps(many, few)
    return time.process_time() - started


def real(name: str) -> list[Text]:
    lines = (TEST_DATA / f"{name}.jsonl").read_text().splitlines()
    return [Text(row["id"], row["problem"]) for row in map(json.loads, lines)]


@needs_test_data
def test_known_overlaps_of_public_sets_are_found():
    sample, pairs = real("dapo_math_17k_sample"), {}
    for name in (
        "aime_2022_2024",
        "math500",
        "amc12_2022_2023",
        "hmmt_feb_2024",
        "hmmt_feb_2025",
        "aime_2025",
        "hmmt_nov_2025",
        "beyondaime",
    ):
        pairs[name] = {(pair.first.id, pair.second.id) for pair in overlaps(sample, real(name))}
    assert pairs["aime_2022_2024"] == {
        *[("dapo-06335", "aime-2022-II-3"), ("dapo-06344", "aime-2022-II-8"), ("dapo-06352", "aime-2022-I-12")],
        *[("dapo-06361", "aime-2023-II-2"), ("dapo-06372", "aime-2023-II-9"), ("dapo-06380", "aime-2023-II-13")],
        ("dapo-06385", "aime-2023-II-15"),
    }
    assert pairs["math500"] == {
        *[("dapo-05742", "test/intermediate_algebra/582.json"), ("dapo-09454", "test/precalculus/285.json")],
        ("dapo-16667", "test/algebra/1282.json"),
    }
    assert pairs["amc12_2022_2023"] >= {("dapo-14851", "amc-2022-12B-7"), ("dapo-15896", "amc-2023-12A-22")}
    assert pairs["hmmt_feb_2024"] == {("dapo-07537", "hmmt-feb-2024-8"), ("dapo-03451", "hmmt-feb-2024-24")}
    assert not any(pairs[name] for name in ("hmmt_feb_2025", "aime_2025", "hmmt_nov_2025", "beyondaime"))


@needs_test_data
def test_the_evaluation_sets_share_nothing():
    names = ("aime_2022_2024", "aime_2025", "beyondaime", "hmmt_feb_2024", "hmmt_feb_2025", "hmmt_nov_2025", "amc12_2022_2023", "math500")
    sets = {name: real(name) for name in names}
    assert not [(a, b) for a in names for b in names if a < b and any(pair.exact for pair in overlaps(sets[a], sets[b]))]
