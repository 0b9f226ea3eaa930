import pytest

from espl_bench.errors import UsageError
from espl_bench.learning.datums import to_datums
from espl_bench.types import Completion, Outcome, Problem, Split, StopReason, Trajectory, Turn

PROBLEM = Problem(id="train/0", split=Split.TRAIN, index=0, question="q", answer="a", gold="a")


def trajectory(*turns: Turn) -> Trajectory:
    return Trajectory(PROBLEM, 0, 0, turns, 1.0, Outcome.CORRECT)


def turn(observation_T: tuple[int, ...], tokens_T: tuple[int, ...], logprobs_T: tuple[float, ...]) -> Turn:
    return Turn(observation_T, Completion(tokens_T, logprobs_T, "", StopReason.STOP))


def test_turns_are_joined_in_order_and_only_sampled_tokens_are_masked_in() -> None:
    [datum] = to_datums(trajectory(turn((5, 6, 7), (8, 1), (-0.1, -0.2)), turn((9,), (10, 11, 1), (-0.3, -0.4, -0.5))), 0.25, 0.7)
    assert datum.tokens_T == (5, 6, 7, 8, 1, 9, 10, 11, 1)
    assert datum.mask_T == (False, False, False, True, True, False, True, True, True)
    assert datum.logprobs_T == (0.0, 0.0, 0.0, -0.1, -0.2, 0.0, -0.3, -0.4, -0.5)
    assert (datum.advantage, datum.temperature) == (0.25, 0.7)


def test_an_empty_completion_leaves_nothing_to_train_on() -> None:
    [datum] = to_datums(trajectory(turn((5, 6), (), ())), 1.0, 1.0)
    assert datum.tokens_T == (5, 6)
    assert not any(datum.mask_T)


def test_greedy_rollouts_are_refused_in_one_line() -> None:
    with pytest.raises(UsageError, match="temperature above 0") as caught:
        to_datums(trajectory(turn((5,), (1,), (-0.1,))), 1.0, 0.0)
    assert "\n" not in str(caught.value)
