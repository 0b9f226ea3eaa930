"""Whole runs in a fraction of a second, and what the tests read from their folders."""

import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import trueskill
from scripted_engine import Call

from espl_bench import build, registry, runner
from espl_bench.build import GivenObjects
from espl_bench.config.resolve import resolve
from espl_bench.config.run_config import RunConfig
from espl_bench.evolution.schedule import Halves, Progress, Prompts, find_schedule
from espl_bench.method import Method, Shown, find_method
from espl_bench.runs.checkpoints import newest
from espl_bench.runs.run_dir import Log, RunDir
from espl_bench.utils.jsonl import decode

SHAPE = {
    "steps": 4,
    "num_prompts": 3,
    "batch_size": 4,
    "group_size": 4,
    "max_tokens": 40,
    "editor_max_tokens": 128,
    "eval_samples": 1,
    "eval_every": 0,
    "checkpoint_every": 2,
    "lora_rank": 4,
}
"""For the lab model."""

SCRIPTED_SHAPE = SHAPE | {"model": "scripted", "lr": 0.1}


def make_config(model: str | Path, method: str = "espl", **choices: Any) -> RunConfig:
    return resolve(method, "rulebook", SHAPE | {"model": str(model)} | choices)


def make_scripted_config(method: str = "espl", **choices: Any) -> RunConfig:
    return resolve(method, "rulebook", SCRIPTED_SHAPE | choices)


def with_method(config: RunConfig, method: Method) -> RunConfig:
    return RunConfig.model_validate(config.model_copy(update={"method": method}).model_dump())


def run(config: RunConfig, folder: Path, engine=None):
    """A run with the engine of the configuration, or with this one."""
    return runner.run(config, folder, engine=engine)


def open_run(config: RunConfig, engine):
    return build.open_run(config, given=GivenObjects(engine=engine))


def rows(folder: Path, log: Log):
    return RunDir(folder).read_log(log, decode)


def events(folder: Path, kind: str):
    return [row for row in rows(folder, Log.POPULATION) if row["event"] == kind]


def last_commit(folder: Path):
    found = newest(folder / "checkpoints")
    assert found is not None
    return found


def adapter(folder: Path) -> bytes:
    return (last_commit(folder).folder / "adapter_model.safetensors").read_bytes()


def all_methods() -> list[str]:
    return registry.names(registry.METHODS)


def loop_methods() -> list[str]:
    """Those that the one loop runs."""
    return [name for name in all_methods() if find_method(name).optimizer is None]


def breeding_steps(config: RunConfig) -> list[int]:
    """Iterations, counted from 1, in which words learn."""
    if not config.method.operators:
        return []
    return [step for step in range(1, config.iterations + 1) if halves_of(config, step).words]


def halves_of(config: RunConfig, step: int) -> Halves:
    """What learns in an iteration, counted from 1."""
    return find_schedule(config.method.schedule)(Progress(step - 1, config.iterations, 0, 0), config.method.schedule_period)


def splits_by_question(env) -> dict:
    """Question → split, for telling apart what an engine was asked."""
    from espl_bench.types import Split

    return {env.problem(split, index).question: split for split in Split for index in range(env.size(split))}


class RecordingEngine:
    """Another engine, and all that passed through it."""

    def __init__(self, engine):
        self.engine = engine
        self.chat = engine.chat
        self.isolates_snapshots = engine.isolates_snapshots
        self.batches_continuously = engine.batches_continuously
        self.calls = []
        self.trained = []

    async def current(self):
        return RecordingClient(await self.engine.current(), "current", self.calls)

    async def reference(self):
        return RecordingClient(await self.engine.reference(), "reference", self.calls)

    async def train_step(self, data, loss, adam):
        self.trained.append(tuple(data))
        return await self.engine.train_step(data, loss, adam)

    async def save(self, folder):
        await self.engine.save(folder)

    async def load(self, folder):
        await self.engine.load(folder)

    async def close(self):
        await self.engine.close()


class RecordingClient:
    def __init__(self, client, weights, calls):
        self.client, self.weights, self.calls = client, weights, calls

    async def sample(self, requests):
        completions = await self.client.sample(requests)
        self.calls.append(Call(self.weights, 0.0, tuple(requests), tuple(completions)))
        return completions


def check_population(folder: Path) -> None:
    """Replay population.jsonl by the paper's formulas, with the package's own TrueSkill, up to the last commit."""
    config = RunDir(folder).config()
    oracle = trueskill.TrueSkill(mu=25, sigma=25 / 3, beta=25 / 6, tau=25 / 300, draw_probability=0.1)
    ratings, living, batch, matches = {}, [], {}, Counter()
    for row in rows(folder, Log.POPULATION):
        if row["event"] == "rated":
            batch = {int(prompt): mean for prompt, mean in row["means"].items()}
            assert batch.keys() <= set(living), "only the living are rolled out"
            assert batch == pytest.approx(_means(folder, row["step"]))
            if config.method.operators and len(batch) > 1:
                matches.update(batch.keys())
                ratings |= _rated(oracle, ratings, batch, config.evolution.tie)
            rated = set() if halves_of(config, row["step"]).prompts is Prompts.ROOT else batch.keys()
            assert {int(prompt): tuple(pair) for prompt, pair in row["ratings"].items()} == {
                prompt: pytest.approx(ratings[prompt], rel=1e-9) for prompt in rated
            }
        elif row["event"] == "born":
            prompt, parents = row["id"], row["parents"]
            assert prompt == len(ratings), "ids count the births"
            assert all(parent < prompt and parent in batch for parent in parents), "parents are of the batch"
            ratings[prompt] = (row["mu"], row["sigma"])
            assert ratings[prompt] == pytest.approx(
                _newborn(row["origin"], [ratings[parent] for parent in parents], config.evolution.sigma_growth)
            )
            living = [*living, prompt][-config.method.population_size :]
    if living and (steps := rows(folder, Log.METRICS)):
        best = max(living, key=lambda prompt: ratings[prompt][0] - 2 * ratings[prompt][1])
        assert steps[-1]["shown"] == {Shown.BEST: best, Shown.NEWEST: living[-1], Shown.ROOT: 0}[config.method.shown]
    members = last_commit(folder).population["members"]
    assert [member["id"] for member in members] == living
    for member in members:
        assert (member["rating"]["mu"], member["rating"]["sigma"]) == pytest.approx(ratings[member["id"]], rel=1e-9)
        assert member["matches"] == matches[member["id"]]


def check_mutations(folder: Path) -> None:
    """Iterations that breed mutate once. A child is rejected for want of contrast exactly where its parent's stored rollouts have none.

    Of methods with another operator in its place, nothing is checked here.
    """
    if "mutation" not in RunDir(folder).config().method.operators:
        return
    proposed = [row for kind in ("born", "rejected") for row in events(folder, kind) if row["origin"] == "mutation"]
    assert sorted(row["step"] for row in proposed) == breeding_steps(RunDir(folder).config())
    for row in proposed:
        assert (row.get("reason") == "no_contrast") != _has_contrast(folder, row["step"], *row["parents"])


def _has_contrast(folder: Path, step: int, prompt: int) -> bool:
    """Whether some problem was answered both rightly and otherwise."""
    outcomes: dict[str, set[bool]] = {}
    for row in RunDir(folder).read_rollouts(step, decode):
        if row["prompt_id"] == prompt and row["outcome"] not in ("error", "timeout"):
            outcomes.setdefault(row["problem_id"], set()).add(row["outcome"] == "correct")
    return {True, False} in outcomes.values()


def _means(folder: Path, step: int) -> dict[int, float]:
    """Prompt → mean over all its rollouts of a step, whatever the number of slots it filled."""
    rewards: dict[int, list[float]] = {}
    for row in RunDir(folder).read_rollouts(step, decode):
        if row["outcome"] not in ("error", "timeout"):
            rewards.setdefault(row["prompt_id"], []).append(row["reward"])
    return {prompt: sum(values) / len(values) for prompt, values in rewards.items()}


def _rated(oracle, ratings, means, tie):
    order = sorted(means, key=lambda prompt: (-means[prompt], prompt))
    ranks, best = [], math.inf
    for place, prompt in enumerate(order):
        if best - means[prompt] > tie + 1e-9:
            best = means[prompt]
            ranks.append(place)
        else:
            ranks.append(ranks[-1])
    updated = oracle.rate([(oracle.create_rating(*ratings[prompt]),) for prompt in order], ranks=ranks)
    return {prompt: (team[0].mu, team[0].sigma) for prompt, team in zip(order, updated, strict=True)}


def _newborn(origin, parents, growth):
    if origin == "root":
        return (25.0, 25.0 / 3)
    if origin == "mutation":
        [(mu, sigma)] = parents
        return (mu, math.sqrt(sigma**2 + growth**2))
    weights = [sigma**-2 for _, sigma in parents]
    mean = sum(mu * weight for (mu, _), weight in zip(parents, weights, strict=True)) / sum(weights)
    return (mean, math.sqrt(1 / sum(weights) + growth**2))
