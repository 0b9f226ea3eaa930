"""Cut trajectories where they part from others, and take as many as a micro-batch holds.

The rollouts of a group share their prompt, so a trajectory is cut in two: its *prefix* (the prompt without its last token) and
its *rest*: that last token, then everything before the last sampled token, which is predicted and need not be read. A
micro-batch reads each different prefix once, and a beginning that prefixes share once (`hf.reading.prefix_sharing`), then the
rests. Every token to be predicted follows one of a rest. On rollouts shorter than their prompt this is most of the work of a
training step saved.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from espl_bench.engines.hf.reading.prefix_sharing import SplitPrompt, Tokens, split_prefixes
from espl_bench.types import Datum


@dataclass(frozen=True, slots=True)
class SplitTrajectory:
    """A trajectory in three parts: a shared beginning and suffix of its prompt, and the rest."""

    prefix: SplitPrompt
    rest: Tokens
    datum: Datum

    @property
    def start(self) -> int:
        """Position of the rest's first token."""
        return len(self.prefix.shared) + len(self.prefix.suffix)

    @property
    def order(self) -> tuple[Any, ...]:
        """Sort key under which neighbours share their prefix or have similar lengths; total, as far as order matters."""
        shared, suffix = self.prefix
        return len(shared), shared, len(suffix), suffix, len(self.rest), self.rest, self.datum.advantage, self.datum.advantages_T

    def predicted(self, start: int, stop: int) -> Iterator[tuple[int, tuple[int, float, float, float]]]:
        """Yield the columns of the rest, within bounds, that predict a sampled token, and the token as `Targets.of` takes it."""
        datum = self.datum
        for t in range(start, min(stop, len(self.rest))):
            token = self.start + t + 1
            if datum.mask_T[token]:
                yield t, (datum.tokens_T[token], datum.logprobs_T[token], datum.advantage_at(token), datum.temperature)


def fill(
    splits: Iterable[SplitTrajectory], budget: Callable[[], int], cost: Callable[[Sequence[SplitTrajectory]], int]
) -> Iterator[list[SplitTrajectory]]:
    """Take trajectories in order, longest prompts first, until another would cost more than the budget."""
    batch: list[SplitTrajectory] = []
    most = budget()
    for split in sorted(splits, key=lambda split: split.order, reverse=True):
        if batch and cost([*batch, split]) > most:
            yield batch
            batch, most = [], budget()
        batch.append(split)
    if batch:
        yield batch


def whole_trajectories(data: Sequence[Datum]) -> Iterator[SplitTrajectory]:
    """Leave every trajectory whole: all prefixes are empty."""
    return (SplitTrajectory(SplitPrompt((), ()), datum.tokens_T[: _end(datum)], datum) for datum in data)


def split_trajectories(data: Sequence[Datum]) -> Iterator[SplitTrajectory]:
    """Cut every trajectory; the prefixes of all are considered together."""
    starts = [max(datum.mask_T.index(True) - 1, 0) for datum in data]
    prefixes = list(dict.fromkeys(datum.tokens_T[:start] for datum, start in zip(data, starts, strict=True)))
    cuts = dict(zip(prefixes, split_prefixes(prefixes), strict=True))
    return (
        SplitTrajectory(cuts[datum.tokens_T[:start]], datum.tokens_T[start : _end(datum)], datum)
        for datum, start in zip(data, starts, strict=True)
    )


def _end(datum: Datum) -> int:
    """Return the index of the last sampled token."""
    return len(datum.mask_T) - 1 - datum.mask_T[::-1].index(True)
