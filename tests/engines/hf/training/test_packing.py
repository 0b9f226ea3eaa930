import random
from typing import cast

import pytest
import torch

from espl_bench.engines.hf.training.micro_batch import Packing
from espl_bench.engines.hf.training.packing import LevelBatch, reading_whole, sharing_prompts
from espl_bench.types import Datum

CPU = torch.device("cpu")


def datum(prompt: tuple[int, ...], said: tuple[int, ...], advantage: float = 1.0) -> Datum:
    return Datum(prompt + said, (False,) * len(prompt) + (True,) * len(said), (0.0,) * len(prompt) + (-0.5,) * len(said), advantage, 0.7)


def ragged(seed: int) -> list[Datum]:
    """Few beginnings, more prompts, and rollouts of very different lengths."""
    rng = random.Random(seed)
    stems = [tuple(rng.randrange(5, 95) for _ in range(rng.randint(1, 40))) for _ in range(2)]
    prompts = [rng.choice(stems) + tuple(rng.randrange(5, 95) for _ in range(rng.randint(0, 9))) for _ in range(6)]
    return [
        datum(prompt, tuple(rng.randrange(5, 95) for _ in range(rng.choice((1, 3, 4, 20)))), rng.random())
        for prompt in prompts
        for _ in range(4)
    ]


def padded_tokens(batch: LevelBatch) -> int:
    return sum(level.ids_RT.numel() for level in (*batch.prompts, *(chunk.level for chunk in batch.chunks)))


def trajectories(batch: LevelBatch) -> dict[tuple[int, ...], int]:
    """Every row that no row continues, put together from its levels, and the position of its last token."""
    rows: list[tuple[tuple[int, ...], int]] = [((), 0)]
    ends: dict[tuple[int, ...], int] = {}
    for place, level in enumerate((*batch.prompts, *(chunk.level for chunk in batch.chunks))):
        index = level.index_R.tolist() if place else [0] * len(level.index_R)
        ends |= {rows[row][0]: rows[row][1] for row in set(range(len(rows))) - set(index)}
        seen = [mask.bool() for mask in level.seen_RT]
        rows = [
            (rows[before][0] + tuple(ids[mask].tolist()), positions[mask].tolist()[-1] if mask.any() else rows[before][1])
            for before, ids, positions, mask in zip(index, level.ids_RT, level.position_RT, seen, strict=True)
        ]
    return ends | dict(rows)


def test_a_group_is_one_prefix_and_its_rests() -> None:
    [batch] = sharing_prompts([datum((5, 6, 7), (8, 9)), datum((5, 6, 7), (10,), -1.0)], lambda: 1000, CPU)
    [prompts], [chunk] = batch.prompts, batch.chunks
    assert prompts.ids_RT.tolist() == [[5, 6]]
    assert chunk.level.index_R.tolist() == [0, 0]
    assert chunk.level.ids_RT.tolist() == [[7, 8], [7, 0]]
    assert chunk.level.seen_RT.tolist() == [[1, 1], [1, 0]]
    assert chunk.level.position_RT[0].tolist() == [2, 3]
    assert isinstance(chunk.level.keep, torch.Tensor)
    assert chunk.level.keep.tolist() == [0, 1]
    assert list(zip(chunk.row_N.tolist(), chunk.column_N.tolist(), chunk.targets.target_N.tolist(), strict=True)) == [
        (0, 0, 8),
        (0, 1, 9),
        (1, 0, 10),
    ]
    assert chunk.targets.advantage_N.tolist() == [1.0, 1.0, -1.0]


def test_logits_are_kept_only_where_some_row_is_to_be_predicted() -> None:
    later = Datum((5, 6, 7, 8, 9, 3), (False, True, False, False, True, False), (0.0, -0.1, 0.0, 0.0, -0.2, 0.0), 1.0, 1.0)
    [batch] = reading_whole([later], lambda: 1000, CPU)
    [chunk] = batch.chunks
    assert batch.prompts == ()
    assert chunk.level.ids_RT.tolist() == [[5, 6, 7, 8]]
    assert isinstance(chunk.level.keep, torch.Tensor)
    assert chunk.level.keep.tolist() == [0, 3]
    assert chunk.column_N.tolist() == [0, 1]
    assert chunk.targets.target_N.tolist() == [6, 9]
    assert chunk.targets.sampler_N.tolist() == pytest.approx([-0.1, -0.2])


def test_few_long_rests_are_read_apart_from_the_many_short_ones() -> None:
    short = [datum((5, 6), (8, place)) for place in range(10, 16)]
    long = datum((5, 6), tuple(range(20, 40)))
    [batch] = sharing_prompts([*short, long], lambda: 1000, CPU)
    first, second = batch.chunks
    assert first.level.ids_RT.shape == (7, 2)
    assert second.level.ids_RT.shape == (1, 18)
    assert second.level.position_RT.tolist() == [list(range(3, 21))]
    assert second.targets.target_N.tolist() == list(range(22, 40))


@pytest.mark.parametrize("pack", [sharing_prompts, reading_whole])
@pytest.mark.parametrize("budget", [1, 60, 200, 10_000])
def test_every_trajectory_is_packed_once_within_the_budget(pack: Packing, budget: int) -> None:
    data = ragged(budget)
    batches = cast(list[LevelBatch], list(pack(data, lambda: budget, CPU)))
    found: dict[tuple[int, ...], int] = {}
    for batch in batches:
        assert len(batch.chunks[0].level.index_R) == 1 or padded_tokens(batch) <= budget
        found |= trajectories(batch)
    assert found == {datum.tokens_T[:-1]: len(datum.tokens_T) - 2 for datum in data}
    predicted = [
        (target, advantage)
        for batch in batches
        for target, advantage in zip(batch.targets.target_N, batch.targets.advantage_N, strict=True)
    ]
    said = [(token, datum.advantage) for datum in data for token, mask in zip(datum.tokens_T, datum.mask_T, strict=True) if mask]
    assert sorted(target.item() for target, _ in predicted) == sorted(token for token, _ in said)
    assert sum(advantage.item() for _, advantage in predicted) == pytest.approx(sum(advantage for _, advantage in said))
    if budget == 10_000:
        assert len(batches) == 1


def test_trajectories_that_are_read_whole_are_one_level_however_long_they_are() -> None:
    """The second level would read the first through a cache: gradient checkpointing has none, nor do models that must not use theirs."""
    data = [*(datum((5, 6, 7), (9,)) for _ in range(8)), datum((5, 6, 8), tuple(range(20, 90)))]
    [shared], [whole] = sharing_prompts(data, lambda: 1_000, CPU), reading_whole(data, lambda: 1_000, CPU)
    assert (len(shared.chunks), len(whole.chunks), whole.prompts) == (2, 1, ())


def test_the_order_of_the_data_changes_nothing() -> None:
    data = ragged(0)
    ours = list(sharing_prompts(data, lambda: 100, CPU))
    theirs = list(sharing_prompts(random.Random(1).sample(data, len(data)), lambda: 100, CPU))
    for a, b in zip(ours, theirs, strict=True):
        assert all(torch.equal(c.level.ids_RT, d.level.ids_RT) for c, d in zip(a.chunks, b.chunks, strict=True))
