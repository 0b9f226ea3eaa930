import math
import random

import pytest

from espl_bench.learning.advantages import ACROSS_PROMPTS, PER_PROMPT, Baseline, by_standard_deviation, compute_advantages
from espl_bench.types import Completion, Outcome, Problem, Split, StopReason, Trajectory, TrajectoryGroup, Turn


def problem(name: str) -> Problem:
    return Problem(id=name, split=Split.TRAIN, index=0, question="q", answer="a", gold="a")


def group(name: str, prompt_id: int, rewards: list[float], outcomes: dict[int, Outcome] | None = None) -> TrajectoryGroup:
    turn = Turn((1,), Completion((2,), (-0.5,), "x", StopReason.STOP))
    of = outcomes or {}
    return TrajectoryGroup(
        problem(name),
        prompt_id,
        tuple(
            Trajectory(problem(name), prompt_id, i, (turn,), reward, of.get(i, Outcome.CORRECT if reward else Outcome.WRONG))
            for i, reward in enumerate(rewards)
        ),
    )


def random_groups(seed: int) -> list[TrajectoryGroup]:
    rng = random.Random(seed)
    return [group(f"train/{p}", k, [rng.random() for _ in range(5)]) for k in (0, 3, 3) for p in range(4)]


@pytest.mark.parametrize("seed", range(5))
def test_per_prompt_advantages_sum_to_zero_in_each_slot(seed: int) -> None:
    groups_KP = random_groups(seed)
    scored = compute_advantages(groups_KP, PER_PROMPT)
    assert len(scored) == 60
    for start in range(0, 60, 5):
        assert abs(math.fsum(s.advantage for s in scored[start : start + 5])) < 1e-12


@pytest.mark.parametrize("seed", range(5))
def test_across_prompts_advantages_sum_to_zero_for_each_problem(seed: int) -> None:
    scored = compute_advantages(random_groups(seed), ACROSS_PROMPTS)
    assert len(scored) == 60
    for p in range(4):
        mine = [s.advantage for s in scored if s.trajectory.problem.id == f"train/{p}"]
        assert len(mine) == 15
        assert abs(math.fsum(mine)) < 1e-12


def test_baselines_are_the_means_that_their_names_say_without_division_by_std() -> None:
    groups_KP = [group("a", 0, [1.0, 0.0]), group("a", 1, [1.0, 1.0, 0.0, 1.0])]
    assert [s.advantage for s in compute_advantages(groups_KP, PER_PROMPT)] == [0.5, -0.5, 0.25, 0.25, -0.75, 0.25]
    third = pytest.approx(1 / 3)
    assert [s.advantage for s in compute_advantages(groups_KP, ACROSS_PROMPTS)] == [
        third, pytest.approx(-2 / 3), third, third, pytest.approx(-2 / 3), third,
    ]  # fmt: skip


def test_one_prompt_in_two_slots_has_two_baselines_or_one() -> None:
    groups_KP = [group("a", 7, [1.0, 1.0]), group("a", 7, [0.0, 0.0])]
    assert compute_advantages(groups_KP, PER_PROMPT) == []
    assert [s.advantage for s in compute_advantages(groups_KP, ACROSS_PROMPTS)] == [0.5, 0.5, -0.5, -0.5]


def test_flat_sets_are_skipped_and_only_they() -> None:
    groups_KP = [group("a", 0, [1.0, 1.0]), group("b", 0, [0.0, 1.0]), group("c", 0, [0.3, 0.3])]
    assert {s.trajectory.problem.id for s in compute_advantages(groups_KP, PER_PROMPT)} == {"b"}


@pytest.mark.parametrize("failure", [Outcome.ERROR, Outcome.TIMEOUT])
@pytest.mark.parametrize("baseline", [PER_PROMPT, ACROSS_PROMPTS])
def test_harness_failures_enter_neither_baseline_nor_training(failure: Outcome, baseline: Baseline) -> None:
    scored = compute_advantages([group("a", 0, [1.0, 0.0, 0.0], {2: failure})], baseline)
    assert [(s.trajectory.sample, s.advantage) for s in scored] == [(0, 0.5), (1, -0.5)]


def test_a_set_made_flat_by_a_failure_is_skipped() -> None:
    assert compute_advantages([group("a", 0, [1.0, 0.0], {1: Outcome.ERROR})], PER_PROMPT) == []
    assert compute_advantages([group("a", 0, [0.0], {0: Outcome.TIMEOUT})], PER_PROMPT) == []
    assert compute_advantages([], ACROSS_PROMPTS) == []


def test_truncated_and_unanswered_rollouts_are_the_policys_own_and_count() -> None:
    scored = compute_advantages([group("a", 0, [1.0, 0.0], {1: Outcome.TRUNCATED})], PER_PROMPT)
    assert [s.advantage for s in scored] == [0.5, -0.5]


def test_a_standard_deviation_of_one_set_is_divided_out() -> None:
    groups_KP = [group("a", 0, [1.0, 0.0, 0.0, 0.0]), group("b", 0, [1.0, 0.0])]
    scored = compute_advantages(groups_KP, PER_PROMPT, by_standard_deviation)
    for name in ("a", "b"):
        own = [s.advantage for s in scored if s.trajectory.problem.id == name]
        assert math.fsum(own) == pytest.approx(0) and math.fsum(value**2 for value in own) / len(own) == pytest.approx(1)


def test_a_mean_over_tokens_is_a_sum_with_smaller_advantages() -> None:
    groups_KP = [group("a", 0, [1.0, 0.0]), group("b", 0, [1.0, 1.0])]
    summed = compute_advantages(groups_KP)
    averaged = compute_advantages(groups_KP, reduction="token_mean")
    tokens = sum(s.trajectory.generated_tokens for s in summed)
    assert [s.advantage for s in averaged] == [s.advantage / tokens for s in summed] and tokens == 2
