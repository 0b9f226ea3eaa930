"""A tiny run with a known state at every step, for the tests of run directories.

The "weights" are a hash chain: step n's can only be had from those of step n - 1, so a resume that loads the wrong
checkpoint is found out by every row that follows.
"""

import hashlib
from pathlib import Path

from espl_bench.accounting.usage import LedgerTotals
from espl_bench.config.run_config import RunConfig
from espl_bench.evolution.population import Population
from espl_bench.method import ESPL
from espl_bench.runs.logs import Log
from espl_bench.runs.run_dir import RunDir
from espl_bench.types import Split
from espl_bench.utils.jsonl import decode, encode

EVERY = 3
"""Steps between commits."""
EVALUATED = 2
"""Steps between evaluations, each of the state as it was committed or not."""


def make_config(**changes):
    return RunConfig(**({"method": ESPL, "env": "rulebook", "model": "lab", "steps": 20} | changes))


def make_ledger(step=0):
    names = (name for name in LedgerTotals.model_fields if not name.endswith("_s"))
    return LedgerTotals(**dict.fromkeys(names, step), wall_s=step / 3, device_s=step / 7)


def weights_at(step):
    weights = b"start"
    for number in range(1, step + 1):
        weights = next_weights(weights, number)
    return weights


def next_weights(weights, step):
    return hashlib.sha256(weights + bytes([step % 256])).digest()


def population_at(step):
    return Population.start((f"step {step}", "naïve √2"), 3).to_json()


def rows_at(step, weights):
    """The rows of one step: (log, row)."""
    name = weights.hex()
    yield Log.POPULATION, {"event": "rated", "step": step, "weights": name}
    yield Log.METRICS, {"step": step, "weights": name, "reward": step / 7}
    yield Log.TIMING, {"step": step, "seconds": step * 0.1}
    if step % 2 == 0:
        yield Log.EVALUATIONS, {"step": step, "score": step / 11, "split": "test"}


def rollouts_at(step, weights):
    return [{"sample": sample, "text": f"{weights.hex()} “{sample}”"} for sample in range(4)]


def saver(weights):
    async def save(folder):
        (folder / "adapter.bin").write_bytes(weights)
        with (folder / "optimizer.bin").open("wb") as file:
            for piece in range(8):
                file.write(weights * 50 + bytes([piece]))
        (folder / "adapter_config.json").write_text("{}")

    return save


def start(path: Path, **changes) -> RunDir:
    return RunDir.create(path, make_config(**changes), {"argv": ["espl-bench"]})


async def commit(run, step, weights):
    await run.commit(step, population_at(step), make_ledger(step), saver(weights))


async def advance(run, steps, on_step=lambda step: None):
    """What the loop does: go on from the last commit up to `steps`, committing every `EVERY` and at the end."""
    found = run.last_commit()
    if found is None:
        run.restart()
        step, weights = 0, weights_at(0)
        await commit(run, 0, weights)
    else:
        run.rewind(found)
        step, weights = found.step, (found.folder / "adapter.bin").read_bytes()
    while step < steps:
        if step % EVALUATED == 0:
            run.write_rollouts(step, rollouts_at(step, weights), Split.TEST)
        step += 1
        weights = next_weights(weights, step)
        run.write_rollouts(step, rollouts_at(step, weights))
        for log, row in rows_at(step, weights):
            run.append(log, row)
        if step % EVERY == 0 or step == steps:
            await commit(run, step, weights)
        on_step(step)


def expected_logs(steps):
    """The bytes of each log after `steps` unbroken steps."""
    logs = dict.fromkeys(Log, b"")
    for step in range(1, steps + 1):
        for log, row in rows_at(step, weights_at(step)):
            logs[log] += encode(row)
    return logs


def found_logs(path):
    return {log: log.path(path).read_bytes() for log in Log}


def snapshot(path):
    """Every file but the lock, by name."""
    files = (file for file in path.rglob("*") if file.is_file() and file.name != ".lock")
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in files}


def check_committed(path):
    """A run killed at any moment: verify its last commit, rewind to it, and check every byte. Returns its step or None."""
    run = RunDir.open(path)
    found = run.last_commit()
    run.restart() if found is None else run.rewind(found)
    step = 0 if found is None else found.step
    assert found_logs(path) == expected_logs(step)
    assert run.rollout_steps() == list(range(1, step + 1))
    for number in run.rollout_steps():
        assert run.read_rollouts(number, decode) == rollouts_at(number, weights_at(number))
    assert run.rollout_steps(Split.TEST) == list(range(0, step, EVALUATED)), "a state is evaluated after its commit"
    for number in run.rollout_steps(Split.TEST):
        assert run.read_rollouts(number, decode, Split.TEST) == rollouts_at(number, weights_at(number))
    if found is not None:
        assert (found.folder / "adapter.bin").read_bytes() == weights_at(step)
        assert found.population == population_at(step)
        assert found.ledger == make_ledger(step)
    leftovers = [file.name for file in path.rglob(".part-*")]
    assert not leftovers
    return None if found is None else step
