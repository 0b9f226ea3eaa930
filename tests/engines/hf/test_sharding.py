"""A trainer over two devices, here two processes on the CPU, beside one in this process: the same steps, checkpoints and scores."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from engine_calls import wait
from engines_fixtures import make_model
from safetensors.torch import load_file

from espl_bench.engines.adapter_spec import AdapterSpec
from espl_bench.engines.engine import AdamParams
from espl_bench.engines.hf.learner import Learner
from espl_bench.engines.hf.opening import open_learner
from espl_bench.engines.hf.sharding import rank_processes
from espl_bench.engines.hf.sharding.rank_processes import RankProcesses
from espl_bench.engines.hf.sharding.sharded_learner import ShardedLearner
from espl_bench.errors import CheckpointError, DeviceMemoryError, EngineError, ModelError, UsageError
from espl_bench.learning.losses import default_loss
from espl_bench.types import Datum

LOSS = default_loss("importance_sampling")
ADAM = AdamParams(lr=0.01)
SPEC = AdapterSpec(rank=4, alpha=8.0, seed=0, token_budget=100)
SUPPORT = Path(__file__).parents[2] / "support"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def ranks(folder: Path) -> Iterator[RankProcesses]:
    """Two processes for all tests of this file: starting them takes seconds."""
    started = RankProcesses(str(folder), SPEC, ["cpu", "cpu"])
    yield started
    started.close()


@pytest.fixture
def one(folder: Path) -> Learner:
    learner = open_learner(str(folder), replace(SPEC, device="cpu")).learner
    assert isinstance(learner, Learner)
    return learner


@pytest.fixture
def two(ranks: RankProcesses, one: Learner, tmp_path: Path) -> ShardedLearner:
    """Both processes as they were started: with the adapter that the seed names, and a fresh optimiser."""
    learner = ShardedLearner(ranks)
    (tmp_path / "fresh").mkdir()
    wait(one.save(tmp_path / "fresh"))
    wait(learner.load(tmp_path / "fresh"))
    return learner


def rollouts(count: int = 17) -> list[Datum]:
    """Rollouts of very different lengths, three to a prompt."""
    rng = random.Random(0)
    prompts = [tuple(rng.randrange(5, 95) for _ in range(rng.randint(3, 9))) for _ in range(count // 3 + 1)]
    return [rollout(rng, prompts[index // 3]) for index in range(count)]


def rollout(rng: random.Random, prompt: tuple[int, ...]) -> Datum:
    sampled = tuple(rng.randrange(5, 95) for _ in range(rng.randint(2, 40)))
    mask = (False,) * len(prompt) + (True,) * len(sampled)
    return Datum((*prompt, *sampled), mask, tuple(-3.0 * each for each in mask), rng.choice((1.0, -0.5)), 0.8)


def train(learner: Learner | ShardedLearner, data: list[Datum], adam: AdamParams = ADAM) -> dict[str, float]:
    return dict(wait(learner.train_step(data, LOSS, adam)))


def saved(learner: Learner | ShardedLearner, folder: Path) -> dict[str, torch.Tensor]:
    folder.mkdir()
    wait(learner.save(folder))
    return load_file(folder / "adapter_model.safetensors")


def distance(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> float:
    """Difference of two adapters, as a part of their size."""
    assert ours.keys() == theirs.keys()
    a, b = (torch.cat([tensors[name].flatten() for name in sorted(tensors)]) for tensors in (ours, theirs))
    return float((a - b).norm() / a.norm())


def test_several_steps_are_those_of_one_process(one: Learner, two: ShardedLearner, tmp_path: Path) -> None:
    for count in (17, 16, 5, 1):  # micro-batches for both processes, or one more for the first, or for the first alone
        ours, theirs = train(one, rollouts(count)), train(two, rollouts(count))
        assert list(ours) == list(theirs)
        assert theirs == pytest.approx(ours, rel=1e-5, abs=1e-6)
    assert distance(saved(one, tmp_path / "one"), saved(two, tmp_path / "two")) < 1e-5


def test_it_begins_with_the_adapter_of_the_seed(
    one: Learner, two: ShardedLearner, ranks: RankProcesses, folder: Path, tmp_path: Path
) -> None:
    alone = open_learner(str(folder), replace(SPEC, device="cpu"))
    assert (ranks.greeting.eos_ids, ranks.greeting.dtype, ranks.greeting.use) == (alone.eos_ids, alone.dtype, alone.use)
    assert distance(saved(one, tmp_path / "one"), saved(two, tmp_path / "two")) == 0.0


def test_without_data_nothing_is_trained(one: Learner, two: ShardedLearner) -> None:
    assert train(two, []) == train(one, [])


def test_a_step_that_is_not_finite_changes_nothing(two: ShardedLearner, tmp_path: Path) -> None:
    before = saved(two, tmp_path / "before")
    broken = replace(rollouts(1)[0], advantage=float("nan"))
    assert train(two, [*rollouts(9), broken])["skipped_steps"] == 1.0
    assert distance(before, saved(two, tmp_path / "after")) == 0.0


@pytest.mark.parametrize("count", [0, 1, 5])
def test_scores_and_divergences_are_those_of_one_process(one: Learner, two: ShardedLearner, count: int) -> None:
    for learner in (one, two):
        train(learner, rollouts())
    data = rollouts(count)
    others = [
        replace(each, tokens_T=(7, *each.tokens_T), mask_T=(False, *each.mask_T), logprobs_T=(0.0, *each.logprobs_T)) for each in data
    ]
    reads: tuple[Callable[[Any], Any], ...] = (
        lambda learner: learner.score(data, reference=False),
        lambda learner: learner.score(data, reference=True),
        lambda learner: learner.divergence(data, others),
    )
    for read in reads:
        ours, theirs = wait(read(one)), wait(read(two))
        assert [len(row) for row in ours] == [len(row) for row in theirs]
        assert [value for row in theirs for value in row] == pytest.approx([value for row in ours for value in row], rel=1e-4, abs=1e-4)


def test_checkpoints_go_from_one_to_two_and_back(one: Learner, two: ShardedLearner, folder: Path, tmp_path: Path) -> None:
    for _ in range(2):
        train(one, rollouts())
    saved(one, tmp_path / "one")
    wait(two.load(tmp_path / "one"))
    assert (train(two, rollouts())["loss"]) == pytest.approx(train(one, rollouts())["loss"], rel=1e-5)
    saved(two, tmp_path / "two")
    back = open_learner(str(folder), replace(SPEC, device="cpu")).learner
    wait(back.load(tmp_path / "two"))
    assert dict(wait(back.train_step(rollouts(), LOSS, ADAM))) == pytest.approx(train(two, rollouts()), rel=1e-5, abs=1e-6)
    for name in ("adapter_config.json", "adapter_model.safetensors", "optimizer.safetensors"):
        assert (tmp_path / "two" / name).is_file()


def test_weights_alone_are_loaded_with_a_fresh_optimiser(one: Learner, two: ShardedLearner, tmp_path: Path) -> None:
    train(two, rollouts())
    saved(two, tmp_path / "two")
    for learner in (one, two):
        wait(learner.load_weights(tmp_path / "two"))
    assert train(two, rollouts()) == pytest.approx(train(one, rollouts()), rel=1e-5, abs=1e-6)


def test_a_damaged_checkpoint_is_refused_and_training_goes_on(two: ShardedLearner, tmp_path: Path) -> None:
    saved(two, tmp_path / "two")
    (tmp_path / "two" / "adapter_model.safetensors").write_bytes(b"no")
    with pytest.raises(CheckpointError, match="is damaged"):
        wait(two.load(tmp_path / "two"))
    assert train(two, rollouts())["skipped_steps"] == 0.0


def test_the_processes_listen_on_the_loopback_device_only(ranks: RankProcesses) -> None:
    listening = [
        connection.laddr.ip
        for process in ranks.processes
        for connection in psutil.Process(process.pid).net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening and set(listening) == {"127.0.0.1"}


@pytest.mark.parametrize(
    ("devices", "words"),
    [
        ("cpu,meta", "mixes kinds of devices"),
        ("meta,meta", "several devices must be CUDA's"),
        ("cpu,nowhere", "device 'nowhere' cannot be used"),
    ],
)
def test_devices_that_cannot_train_together_are_refused(folder: Path, devices: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        open_learner(str(folder), replace(SPEC, device=devices))


def test_a_base_in_4_bits_is_not_divided(folder: Path) -> None:
    with pytest.raises(UsageError, match="--train-quantization nf4 needs one device"):
        open_learner(str(folder), replace(SPEC, device="cpu,cpu", quantization="nf4"))


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not exist"):
        open_learner(str(tmp_path / "none"), replace(SPEC, device="cpu,cpu"))


def gone(pids: list[int], seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.slow
def test_a_killed_process_is_one_line_and_takes_the_others_along(folder: Path) -> None:
    ranks = RankProcesses(str(folder), SPEC, ["cpu", "cpu"])
    learner, pids = ShardedLearner(ranks), [process.pid for process in ranks.processes]
    os.kill(pids[1], signal.SIGKILL)
    with pytest.raises(EngineError, match=r"process for cpu \(rank 1\) has ended \(signal 9, .*\); .* resume the run") as refusal:
        train(learner, rollouts())
    assert "\n" not in str(refusal.value) and gone(pids)
    with pytest.raises(EngineError, match="rank 1"):
        train(learner, rollouts())
    log = Path(str(refusal.value).split("is in ")[1].split(";")[0])
    assert log.is_file(), "the message names it"
    learner.close()
    log.unlink()


@pytest.mark.slow
def test_a_device_without_memory_is_one_line_though_the_other_waits_for_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank_processes, "PROGRAM", "rank_short_of_memory")
    ranks = RankProcesses(str(folder), SPEC, ["cpu", "cpu"])
    pids = [process.pid for process in ranks.processes]
    with pytest.raises(DeviceMemoryError, match="the training step does not fit into the memory of cpu; lower --token-budget"):
        train(ShardedLearner(ranks), rollouts())
    assert gone(pids)
    ranks.close()


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
def test_nothing_is_left_of_a_parent_that_ends(folder: Path, ending: signal.Signals, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(tmp_path)}
    command = [sys.executable, str(SUPPORT / "parent_of_ranks.py"), str(folder)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(number) for number in parent.stdout.readline().split()]
        assert os.getpgid(parent.pid) not in pids[2:], "Ctrl-C at a terminal does not reach them"
        parent.send_signal(ending)
        parent.wait()
    assert gone(pids[:2])
    if ending is signal.SIGINT:
        assert not [path for path in tmp_path.iterdir() if path.is_dir()]
