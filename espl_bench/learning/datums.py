"""Turn trajectories into training data: token sequences with a mask, exactly the ids that were seen and sampled.

Nothing is tokenised here. A trajectory with the turns (O1, A1), (O2, A2) becomes the sequence O1 A1 O2 A2 with the mask
0 1 0 1: the loss sees what the policy sampled, and never the prompt, the user or a tool. If a chat template could not
extend the earlier text, the trajectory has segments, each a sequence of its own: the loss is a sum over tokens, so every sampled
token counts once in any case.
"""

from collections.abc import Sequence
from itertools import chain, repeat

from espl_bench.errors import UsageError
from espl_bench.types import Datum, Trajectory, Turn


def to_datums(trajectory: Trajectory, advantage: float, temperature: float) -> tuple[Datum, ...]:
    """Convert one trajectory: one datum for each of its segments.

    Args:
        trajectory: the rollout; the turns of a segment are joined in order.
        advantage: weight of every sampled token.
        temperature: the sampling temperature; the trainer divides its logits by it.

    Raises:
        UsageError: the temperature is not above 0. A greedy rollout has no probability for a ratio.
    """
    if temperature <= 0:
        raise UsageError(f"training needs a sampling temperature above 0, not {temperature}; set it to e.g. 1.0")
    return tuple(joined(segment, advantage, temperature) for segment in trajectory.segments)


def joined(turns: Sequence[Turn], advantage: float, temperature: float) -> Datum:
    """Convert the turns of one segment."""
    return Datum(
        tokens_T=tuple(chain.from_iterable((*turn.observation_T, *turn.completion.tokens_T) for turn in turns)),
        mask_T=tuple(
            chain.from_iterable((*repeat(False, len(turn.observation_T)), *repeat(True, len(turn.completion.tokens_T))) for turn in turns)
        ),
        logprobs_T=tuple(chain.from_iterable((*repeat(0.0, len(turn.observation_T)), *turn.completion.logprobs_T) for turn in turns)),
        advantage=advantage,
        temperature=temperature,
    )
