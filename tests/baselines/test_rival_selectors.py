"""Thompson sampling, Pareto fronts and moving averages: whom they prefer, by what they are told."""

from collections import Counter

from espl_baselines.selectors import MovingAverage, Pareto, Thompson, wins

from espl_bench.evolution.history import Earned, History
from espl_bench.evolution.selection import Selector
from espl_bench.seeding import rng_for
from espl_bench.types import ROOT_ORIGIN, Lineage, Rating, SystemPrompt

DRAWS = 3000


def prompts(*ratings: tuple[float, float]) -> tuple[SystemPrompt, ...]:
    return tuple(SystemPrompt(i, (f"p{i}",), Rating(*rating), Lineage(ROOT_ORIGIN)) for i, rating in enumerate(ratings))


def history(**means: dict[str, float]) -> History:
    return History({int(name[1:]): {problem: Earned(mean * 4, 4) for problem, mean in row.items()} for name, row in means.items()})


def first_picks(selector: Selector, window: tuple[SystemPrompt, ...], known: History) -> dict[int, float]:
    drawn = Counter(selector.select(window, known, 1, rng_for(seed, "selection"))[0].id for seed in range(DRAWS))
    return {prompt: count / DRAWS for prompt, count in drawn.items()}


def test_thompson_draws_a_prompt_as_often_as_it_is_likely_to_be_the_best():
    shares = first_picks(Thompson(), prompts((25, 3), (28, 4)), History())
    assert abs(shares[1] - 0.7257) < 0.03, "a normal of mean 3 and sd 5 is above 0"


def test_the_front_is_of_single_problems_and_without_the_dominated():
    window = prompts((25, 1), (25, 1), (25, 1), (25, 1))
    known = history(p0={"a": 1.0, "b": 0.0, "c": 1.0}, p1={"a": 0.5, "b": 1.0, "c": 0.5}, p2={"a": 0.5, "b": 0.0, "c": 1.0})
    assert wins(window, known) == {0: 2, 1: 1, 2: 0, 3: 0}, "2 is best on c, where 0 is as good"


def test_pareto_draws_in_proportion_to_the_problems_won():
    window = prompts((25, 1), (25, 1), (25, 1))
    known = history(p0={"a": 1.0, "b": 1.0, "c": 1.0, "d": 0.0}, p1={"a": 0.0, "b": 0.0, "c": 0.0, "d": 1.0}, p2={"a": 0.0, "b": 0.0})
    shares = first_picks(Pareto(), window, known)
    assert abs(shares[0] - 0.75) < 0.03 and set(shares) == {0, 1}


def test_a_moving_average_is_drawn_by_its_exponential():
    window = prompts((25, 1), (25, 1))
    shares = first_picks(MovingAverage(temperature=0.1), window, History({}, {0: 0.5, 1: 0.6}))
    assert abs(shares[1] - 0.7311) < 0.03


def test_a_newborn_has_its_parents_average():
    root, other = prompts((25, 1), (25, 1))
    child = SystemPrompt(2, ("c",), Rating(), Lineage("mutation", (1,), 3))
    shares = first_picks(MovingAverage(temperature=0.01), (root, other, child), History({}, {0: 0.2, 1: 0.6}))
    assert abs(shares[2] - 0.5) < 0.05 and 0 not in shares
