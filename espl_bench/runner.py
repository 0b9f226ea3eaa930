"""Runs from outside: start one, resume one, and write its summary. The loop itself is in loop.py."""

import asyncio
import hashlib
from pathlib import Path
from typing import Any

from espl_bench.config import RunConfig
from espl_bench.dialect import Dialect
from espl_bench.engines.opening import open_engine
from espl_bench.engines.protocol import LossSpec
from espl_bench.env import TextEnv
from espl_bench.errors import RunDirError, UsageError
from espl_bench.evaluate import Evaluation
from espl_bench.learning.losses import default_loss
from espl_bench.ledger import Ledger
from espl_bench.loop import Bench, State, examine, learn
from espl_bench.operators.proposal import Limits
from espl_bench.population import Population
from espl_bench.provenance import collect
from espl_bench.records import Recorder
from espl_bench.registry import find_environment, make_environment
from espl_bench.reporter import Reporter
from espl_bench.rollout import Task
from espl_bench.run_dir import DATA_FACTS, IDENTITY, Log, RunDir
from espl_bench.stats import mean_interval
from espl_bench.stopping import listening
from espl_bench.summary import CurvePoint, Spent, Summary
from espl_bench.types import Split


def run(config: RunConfig, folder: Path, reporter: Reporter) -> Summary:
    """Start a run in `folder` and bring it to its end. Raises EsplError; Interrupted after a stop by signal."""
    bench = open_bench(config)  # before the folder is made: what cannot be loaded leaves nothing behind
    run_dir = RunDir.create(folder, config, collect(config.model, facts=data_facts(bench.env)))
    with run_dir.lock():
        population = Population.start(config.root_principles, config.method.population_size)
        recorder = Recorder(run_dir, bench.ledger, reporter)
        recorder.root(population.members[0])
        return asyncio.run(_finish(bench, State(0, population), recorder))


def resume(folder: Path, reporter: Reporter, wanted: RunConfig | None = None) -> Summary:
    """Go on where a run was left, to the same end as an unbroken one.

    With `wanted`, refuses (UsageError, the difference named) unless it is the run's own configuration.
    """
    run_dir = RunDir.open(folder)
    if wanted is not None:
        run_dir.refuse_changes(wanted)
    with run_dir.lock():
        bench = open_bench(run_dir.config())
        run_dir.refuse_other_data(bench.env.data_identity())
        commit = run_dir.last_commit()
        if commit is None:
            run_dir.restart()
            population = Population.start(bench.config.root_principles, bench.config.method.population_size)
            recorder = Recorder(run_dir, bench.ledger, reporter)
            recorder.root(population.members[0])
            return asyncio.run(_finish(bench, State(0, population), recorder))
        run_dir.rewind(commit)
        bench.ledger.restore(commit.ledger)
        recorder = Recorder(run_dir, bench.ledger, reporter)
        asyncio.run(bench.engine.load(commit.folder))
        return asyncio.run(_finish(bench, State(commit.step, Population.from_json(commit.population)), recorder))


def open_bench(config: RunConfig) -> Bench:
    """Load everything a run needs. Raises EsplError in one line for what cannot be used."""
    spec = find_environment(config.env)
    env = make_environment(spec, config.env_options)
    if Split.TRAIN not in env.splits and not config.method.is_static:
        raise UsageError(f"environment '{config.env}' is for evaluation only, and {config.method.name} learns; use --method base")
    dialect = Dialect.load(config.dialect)
    engine = open_engine(config)
    task = Task(
        make_env=lambda: make_environment(spec, config.env_options),
        dialect=dialect,
        placement=config.placement,
        chat=engine.chat,
        temperature=config.temperature,
        top_p=config.top_p,
        max_tokens=config.max_tokens,
        run_seed=config.seed,
    )
    task.prompt_tokens(config.root_principles, env.problem(env.splits[0], 0).question)  # a template that fails, fails now
    limits = Limits(config.max_edits, config.max_principle_words, config.group_size, config.sigma_growth)
    return Bench(config, env, task, engine, Ledger(), _loss(config), limits)


def data_facts(env: TextEnv) -> dict[str, Any]:
    """What provenance keeps of an environment's data; empty for one that makes its items itself."""
    identity = dict(env.data_identity())
    return {DATA_FACTS: {**env.data_facts(), IDENTITY: identity}} if identity else {}


def _loss(config: RunConfig) -> LossSpec:
    spec = default_loss(config.loss)
    low = spec.clip_low if config.clip_low is None else config.clip_low
    high = spec.clip_high if config.clip_high is None else config.clip_high
    return LossSpec(config.loss, low, high)


async def _finish(bench: Bench, state: State, recorder: Recorder) -> Summary:
    """Learn to the end, evaluate, summarise."""
    recorder.reporter.started(bench.config, recorder.folder, state.step)
    with listening() as stop:
        state = await learn(bench, state, recorder, stop)
    validated = Split.VALIDATION in bench.env.splits
    validation = await examine(bench, state, Split.VALIDATION, recorder) if validated else None
    test = await examine(bench, state, Split.TEST, recorder)
    summary = summarise(bench, state, validation, test, recorder.run_dir)
    recorder.run_dir.write_summary(summary)
    recorder.reporter.finished(summary, recorder.folder)
    await bench.engine.close()
    return summary


def summarise(bench: Bench, state: State, validation: Evaluation | None, test: Evaluation, run_dir: RunDir) -> Summary:
    """The run's result."""
    config = bench.config
    return Summary(
        run_id=run_id(config),
        method=config.method.name,
        env=config.env,
        env_options=config.env_options,
        model=Path(config.model).name if Path(config.model).is_dir() else config.model,
        engine=config.engine,
        seed=config.seed,
        steps=state.step,
        score=test.score,
        k=config.eval_samples,
        n_items=len(test.scores_IG),
        ci95=mean_interval([test.item_scores]),
        validation_score=validation.score if validation else None,
        outcomes=_rates(test),
        sample_scores=test.scores_IG,
        ledger=bench.ledger.totals(),
        curve=learning_curve(run_dir),
        shown_prompt=config.method.shown_prompt(state.population).principles,
        data_identity=dict(bench.env.data_identity()),
    )


def learning_curve(run_dir: RunDir) -> tuple[CurvePoint, ...]:
    """Every evaluation with what learning had cost until then; its seconds are those of the iterations before it."""
    seconds = {row["step"]: row["seconds"] for row in run_dir.read_log(Log.TIMING)}
    evaluations = run_dir.read_log(Log.EVALUATIONS)
    if any("spent" not in row for row in evaluations):
        raise RunDirError(f"{run_dir.path} was begun by a version that did not log what evaluations had cost; start it again")
    return tuple(
        CurvePoint(
            step=row["step"],
            split=row["split"],
            score=row["score"],
            spent=Spent(**row["spent"], seconds=sum(seconds[step] for step in range(1, row["step"] + 1))),
        )
        for row in evaluations
    )


def _rates(evaluation: Evaluation) -> dict[str, float]:
    return {outcome.value: rate for outcome, rate in evaluation.outcomes.items()}


def run_id(config: RunConfig) -> str:
    """Names a configuration: method, environment, seed, and eight digits of its hash."""
    digest = hashlib.sha256(config.model_dump_json().encode()).hexdigest()[:8]
    return f"{config.env}-{config.method.name}-s{config.seed}-{digest}"
