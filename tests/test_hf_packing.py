import random

import pytest
import torch

from espl_bench.engines.hf_packing import micro_batches
from espl_bench.types import Datum

CPU = torch.device("cpu")


def datum(prompt: tuple[int, ...], said: tuple[int, ...], advantage: float = 1.0) -> Datum:
    return Datum(prompt + said, (False,) * len(prompt) + (True,) * len(said), (0.0,) * len(prompt) + (-0.5,) * len(said), advantage, 0.7)


def ragged(seed: int) -> list[Datum]:
    rng = random.Random(seed)
    prompts = [tuple(rng.randrange(5, 95) for _ in range(rng.randint(1, 30))) for _ in range(6)]
    return [
        datum(prompt, tuple(rng.randrange(5, 95) for _ in range(rng.randint(1, 12))), rng.random()) for prompt in prompts for _ in range(4)
    ]


def test_a_group_is_one_prefix_and_its_rests() -> None:
    [batch] = micro_batches([datum((5, 6, 7), (8, 9)), datum((5, 6, 7), (10,), -1.0)], 1000, share_prompts=True, device=CPU)
    assert batch.prefix_UP.tolist() == [[5, 6]]
    assert batch.index_B.tolist() == [0, 0]
    assert batch.rest_BT.tolist() == [[7, 8, 9], [7, 10, 0]]
    assert batch.seen_BL.tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]]
    assert batch.position_BT.tolist() == [[2, 3, 4]] * 2
    assert batch.keep_S.tolist() == [0, 1]
    assert list(zip(batch.row_N.tolist(), batch.column_N.tolist(), batch.target_N.tolist(), strict=True)) == [
        (0, 0, 8),
        (0, 1, 9),
        (1, 0, 10),
    ]
    assert batch.advantage_N.tolist() == [1.0, 1.0, -1.0]


def test_logits_are_kept_only_where_some_row_is_to_be_predicted() -> None:
    later = Datum((5, 6, 7, 8, 9), (False, True, False, False, True), (0.0, -0.1, 0.0, 0.0, -0.2), 1.0, 1.0)
    [batch] = micro_batches([later], 1000, share_prompts=False, device=CPU)
    assert batch.prefix_UP.shape == (1, 0)
    assert batch.keep_S.tolist() == [0, 3]
    assert batch.column_N.tolist() == [0, 1]
    assert batch.target_N.tolist() == [6, 9]
    assert batch.sampler_N.tolist() == pytest.approx([-0.1, -0.2])


@pytest.mark.parametrize("share_prompts", [True, False])
@pytest.mark.parametrize("budget", [1, 60, 200, 10_000])
def test_every_trajectory_is_packed_once_within_the_budget(share_prompts: bool, budget: int) -> None:
    data = ragged(budget)
    batches = list(micro_batches(data, budget, share_prompts=share_prompts, device=CPU))
    found = []
    for batch in batches:
        assert len(batch.index_B) == 1 or batch.prefix_UP.numel() + batch.rest_BT.numel() <= budget
        for b, u in enumerate(batch.index_B.tolist()):
            prefix_P, seen_L = batch.prefix_UP[u], batch.seen_BL[b].bool()
            whole_L = torch.cat([prefix_P, batch.rest_BT[b]])[seen_L]
            position = int(seen_L[: len(prefix_P)].sum())
            assert batch.position_BT[b, 0] == position
            found.append(tuple(whole_L.tolist()))
    assert sorted(found) == sorted(datum.tokens_T for datum in data)
    targets = [target for batch in batches for target in batch.target_N.tolist()]
    assert len(targets) == sum(sum(datum.mask_T) for datum in data)
    if budget == 10_000:
        assert len(batches) == 1


def test_the_order_of_the_data_changes_nothing() -> None:
    data = ragged(0)
    ours = list(micro_batches(data, 100, share_prompts=True, device=CPU))
    theirs = list(micro_batches(random.Random(1).sample(data, len(data)), 100, share_prompts=True, device=CPU))
    assert all(torch.equal(a.rest_BT, b.rest_BT) for a, b in zip(ours, theirs, strict=True))
