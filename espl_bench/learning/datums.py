"""Trajectories to data: one token sequence with a mask, exactly the ids that were seen and sampled.

Nothing is tokenised here. A trajectory with the turns (O1, A1), (O2, A2) becomes the sequence O1 A1 O2 A2 with the mask
0 1 0 1: the loss sees what the policy sampled, and never the prompt, the user or a tool.
"""

from itertools import chain, repeat

from espl_bench.errors import UsageError
from espl_bench.types import Datum, Trajectory


def to_datum(trajectory: Trajectory, advantage: float, temperature: float) -> Datum:
    """One trajectory as the trainer sees it.

    Args:
        trajectory: the rollout; its turns are joined in order.
        advantage: what every sampled token of it is weighted with.
        temperature: what it was sampled at; the trainer divides its logits by it.

    Raises:
        UsageError: the temperature is not above 0. A greedy rollout has no probability to take a ratio of.
    """
    if temperature <= 0:
        raise UsageError(f"training needs a sampling temperature above 0, not {temperature}; set it to e.g. 1.0")
    turns = trajectory.turns
    return Datum(
        tokens_T=tuple(chain.from_iterable((*turn.observation_T, *turn.completion.tokens_T) for turn in turns)),
        mask_T=tuple(
            chain.from_iterable((*repeat(False, len(turn.observation_T)), *repeat(True, len(turn.completion.tokens_T))) for turn in turns)
        ),
        logprobs_T=tuple(chain.from_iterable((*repeat(0.0, len(turn.observation_T)), *turn.completion.logprobs_T) for turn in turns)),
        advantage=advantage,
        temperature=temperature,
    )
