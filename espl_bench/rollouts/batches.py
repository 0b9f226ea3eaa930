"""Choose the training problems of an iteration: epochs of a shuffled training split, the same for every method of a seed."""

from espl_bench.environment.text_env import TextEnv
from espl_bench.seeding import rng_for
from espl_bench.types import Problem, Split


def training_batch(env: TextEnv, run_seed: int, step: int, size: int) -> tuple[Problem, ...]:
    """Return the problems of one step. A batch larger than the split is the whole split; epochs do not overlap in a batch."""
    total = env.size(Split.TRAIN)
    size = min(size, total)
    per_epoch = total // size
    epoch, batch = divmod(step, per_epoch)
    order = _order(env, run_seed, epoch)
    return tuple(env.problem(Split.TRAIN, index) for index in order[batch * size : (batch + 1) * size])


def _order(env: TextEnv, run_seed: int, epoch: int) -> list[int]:
    """Shuffle the training split; parts are shuffled one by one and merged, so that every stretch has each part in its share."""
    parts = env.parts(Split.TRAIN)
    if not parts:
        return rng_for(run_seed, "epoch", epoch).permutation(env.size(Split.TRAIN)).tolist()
    placed: list[tuple[float, int, int]] = []
    for number, (name, items) in enumerate(parts.items()):
        order = rng_for(run_seed, "epoch", epoch, "part", name).permutation(len(items)).tolist()
        placed += [((place + 0.5) / len(items), number, items[own]) for place, own in enumerate(order)]
    return [index for *_, index in sorted(placed)]


def whole_split(env: TextEnv, split: Split) -> tuple[Problem, ...]:
    """Return all items of a split, in order."""
    return tuple(env.problem(split, index) for index in range(env.size(split)))
