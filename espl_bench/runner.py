"""Runs from outside: start one, resume one, and write its summary. The loop itself is in loop.py."""

import asyncio
import hashlib
import shlex
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from espl_bench.accounting.budget import Budget, BudgetSpent, Purse, Role, open_purse, paid_sources
from espl_bench.accounting.budgeted_client import Till
from espl_bench.accounting.ledger import Ledger
from espl_bench.analysis.contamination import Quotations, short_form
from espl_bench.config.run_config import RunConfig, ToolFormat, model_name
from espl_bench.controls import Control, environment_of, refuse_unmoved
from espl_bench.engines.opening import open_editor, open_engine
from espl_bench.engines.protocol import Chat, LossSpec
from espl_bench.engines.source import Source
from espl_bench.environment.text_env import TextEnv
from espl_bench.errors import DeviceMemoryError, EndpointError, EngineFault, RunDirError, UsageError
from espl_bench.evolution.population import Population
from espl_bench.learning.losses import default_loss
from espl_bench.loop import Bench, State, examine, learn
from espl_bench.monitoring.recorder import Recorder
from espl_bench.monitoring.reporter import Reporter
from espl_bench.prompts.dialect import Dialect
from espl_bench.rollouts.evaluate import Evaluation
from espl_bench.rollouts.outcomes import mean_shares
from espl_bench.rollouts.rollout import Task
from espl_bench.runs.provenance import collect, fingerprint
from espl_bench.runs.run_dir import DATA_FACTS, IDENTITY, Log, RunDir
from espl_bench.runs.summary import CurvePoint, Spent, Summary
from espl_bench.tools.tool_env import ToolEnv
from espl_bench.types import Split
from espl_bench.utils.stop_signal import StopSignal, listening

UNBOUNDED = Budget()


def run(config: RunConfig, folder: Path, reporter: Reporter, budget: Budget = UNBOUNDED, stop: StopSignal | None = None) -> Summary:
    """Start a run in `folder` and bring it to its end. Raises EsplError; Interrupted after a stop by signal, or by `stop`."""
    bench = open_bench(config, budget)  # before the folder is made: what cannot be loaded leaves nothing behind
    facts = data_facts(bench.env) | source_facts(config, bench.till.purse)
    run_dir = RunDir.create(folder, config, collect(config.model, facts=facts))
    with run_dir.lock():
        population = Population.start(config.root_principles, config.method.population_size)
        recorder = Recorder(run_dir, bench.ledger, reporter)
        recorder.root(population.members[0])
        return asyncio.run(_finish(bench, State(0, population), recorder, stop))


def resume(
    folder: Path,
    reporter: Reporter,
    wanted: RunConfig | None = None,
    budget: Budget = UNBOUNDED,
    stop: StopSignal | None = None,
) -> Summary:
    """Go on where a run was left, to the same end as an unbroken one. The budget is the whole run's, this part's and the earlier ones'.

    With `wanted`, refuses (UsageError, the difference named) unless it is the run's own configuration.
    """
    run_dir = RunDir.open(folder)
    if wanted is not None:
        run_dir.refuse_changes(wanted)
    with run_dir.lock():
        bench = open_bench(run_dir.config(), budget)
        run_dir.refuse_other_data(bench.env.data_identity())
        commit = run_dir.last_commit()
        if commit is None:
            run_dir.restart()
            bench.till.resume(run_dir.path, 0, bench.ledger.totals())
            population = Population.start(bench.config.root_principles, bench.config.method.population_size)
            recorder = Recorder(run_dir, bench.ledger, reporter)
            recorder.root(population.members[0])
            return asyncio.run(_finish(bench, State(0, population), recorder, stop))
        run_dir.rewind(commit)
        bench.ledger.restore(commit.ledger)
        bench.till.resume(run_dir.path, commit.step, commit.ledger)
        recorder = Recorder(run_dir, bench.ledger, reporter)
        asyncio.run(bench.engine.load(commit.folder))
        return asyncio.run(_finish(bench, State(commit.step, Population.from_json(commit.population)), recorder, stop))


def open_bench(config: RunConfig, budget: Budget = UNBOUNDED) -> Bench:
    """Load everything a run needs. Raises EsplError in one line for what cannot be used."""
    env = environment_of(config)
    if Split.TRAIN not in env.splits and not config.method.is_static:
        raise UsageError(f"environment '{config.env}' is for evaluation only, and {config.method.name} learns; use --method base")
    env.prepare()
    if config.control is Control.SHUFFLED_ANSWERS:
        refuse_unmoved(environment_of(config), config.env)
    services = frozenset(role for role, source in paid_sources(config).items() if source.is_service)
    till = Till(open_purse(config, budget), config.concurrency, services)
    engine = open_engine(config)
    editor = open_editor(config, engine)
    dialect, chat = with_tools(Dialect.load(config.dialect), engine.chat, env, config.tool_format)
    task = Task(
        make_env=lambda: environment_of(config),
        dialect=dialect,
        placement=config.placement,
        chat=chat,
        temperature=config.temperature,
        top_p=config.top_p,
        max_tokens=config.max_tokens,
        run_seed=config.seed,
        cohorts=config.cohorts,
        max_episode_tokens=config.max_episode_tokens,
        native_tools=isinstance(env, ToolEnv) and config.tool_format == "native",
        irrelevant=dialect.irrelevant() if config.control is Control.IRRELEVANT_PROMPT else (),
        continuous=engine.batches_continuously,
    )
    task.prompt_tokens(config.root_principles, env.problem(env.splits[0], 0).question)  # a template that fails, fails now
    return Bench(config, env, task, engine, editor, till, Ledger(), _loss(config), config.limits)


def with_tools(dialect: Dialect, chat: Chat, env: TextEnv, tool_format: ToolFormat) -> tuple[Dialect, Chat]:
    """Dialect and chat of which one words the environment's tools, if it has any. Raises EsplError if the chat cannot."""
    if not isinstance(env, ToolEnv):
        return dialect, chat
    if tool_format == "native":
        return dialect, chat.with_tools(env.tools)
    return replace(dialect, tools=env.tools), chat


def source_facts(config: RunConfig, purse: Purse) -> dict[str, Any]:
    """What provenance keeps of an editor of its own and of endpoints; empty for a run with neither."""
    models = {Role.POLICY: config.policy_source, Role.EDITOR: config.editor_source}
    named = {role.value: _source_fact(source) for role, source in models.items() if source is not None}
    if config.editor_source is None and not config.policy_source.is_remote:
        return {}
    return {"models": named, "prices": {model: price.model_dump() for model, price in purse.prices.items()}}


def _source_fact(source: Source) -> dict[str, Any]:
    place = {"base_url": source.base_url} if source.is_remote else {"fingerprint": fingerprint(Path(source.model))}
    return {"engine": source.engine, "model": source.model, **place}


def data_facts(env: TextEnv) -> dict[str, Any]:
    """What provenance keeps of an environment's data; empty for one that makes its items itself."""
    identity = dict(env.data_identity())
    return {DATA_FACTS: {**env.data_facts(), IDENTITY: identity}} if identity else {}


def _loss(config: RunConfig) -> LossSpec:
    spec = default_loss(config.loss)
    low = spec.clip_low if config.clip_low is None else config.clip_low
    high = spec.clip_high if config.clip_high is None else config.clip_high
    return LossSpec(config.loss, low, high, config.correction, config.correction_cap)


async def _finish(bench: Bench, state: State, recorder: Recorder, stop: StopSignal | None) -> Summary:
    """Bring a run to its end, and free the engines whatever happens."""
    try:
        with _resumable(recorder.folder, bench.till.keeps_answers):
            return await _to_the_end(bench, state, recorder, stop or StopSignal())
    finally:
        await bench.engine.close()
        if bench.editor is not bench.engine:
            await bench.editor.close()


@contextmanager
def _resumable(folder: Path, answers_kept: bool) -> Generator[None]:
    """Say how to go on where an endpoint, a budget or an engine ended a run."""
    command = f"espl-bench resume {shlex.quote(str(folder))}"
    again = f"{'every answer' if answers_kept else 'the last commit'} is kept; go on with: {command}"
    try:
        yield
    except BudgetSpent as error:
        raise BudgetSpent(f"{error}; {again} {error.flag} MORE", error.flag) from error
    except EndpointError as error:
        raise EndpointError(f"{error}; {again}") from error
    except (DeviceMemoryError, EngineFault) as error:
        raise type(error)(f"{error}; the last commit is kept; go on with: {command}") from error


async def _to_the_end(bench: Bench, state: State, recorder: Recorder, stop: StopSignal) -> Summary:
    """Learn, evaluate, summarise."""
    recorder.reporter.started(bench.config, recorder.folder, state.step)
    with listening(stop):
        state = await learn(bench, state, recorder, stop)
    validated = Split.VALIDATION in bench.env.splits
    validation = await examine(bench, state, Split.VALIDATION, recorder) if validated else None
    test = await examine(bench, state, Split.TEST, recorder)
    summary = summarise(bench, state, validation, test, recorder.run_dir)
    recorder.run_dir.write_summary(summary)
    recorder.reporter.finished(summary, recorder.folder)
    return summary


def summarise(bench: Bench, state: State, validation: Evaluation | None, test: Evaluation, run_dir: RunDir) -> Summary:
    """The run's result."""
    config = bench.config
    totals = bench.ledger.totals()
    shown = config.method.shown_prompt(state.population).principles
    return Summary(
        run_id=run_id(config),
        method=config.method.name,
        control=config.control,
        env=config.env,
        env_options=config.env_options,
        model=model_name(config.model),
        engine=config.engine,
        editor_model=model_name(config.editor_model) if config.editor_model else None,
        seed=config.seed,
        steps=state.step,
        score=test.score,
        k=config.eval_samples,
        n_items=len(test.scores_IG),
        validation_score=validation.score if validation else None,
        outcomes=_rates(test),
        training_outcomes=mean_shares([row["outcomes"] for row in run_dir.read_log(Log.METRICS)]),
        sample_scores=test.scores_IG,
        measures=test.measures,
        ledger=totals,
        cost_usd=bench.till.purse.bill(totals),
        curve=learning_curve(run_dir, bench.till.purse),
        shown_prompt=shown,
        quotes=short_form(Quotations.of(bench.env).in_prompt(shown)) if shown else (),
        data_identity=dict(bench.env.data_identity()),
    )


def learning_curve(run_dir: RunDir, purse: Purse) -> tuple[CurvePoint, ...]:
    """Every evaluation with what learning had cost until then; its seconds are those of the iterations before it."""
    seconds = {row["step"]: row["seconds"] for row in run_dir.read_log(Log.TIMING)}
    evaluations = run_dir.read_log(Log.EVALUATIONS)
    if any("spent" not in row for row in evaluations):
        raise RunDirError(f"{run_dir.path} was begun by a version that did not log what evaluations had cost; start it again")
    return tuple(
        CurvePoint(step=row["step"], split=row["split"], score=row["score"], spent=_spent(row, seconds, purse)) for row in evaluations
    )


def _spent(row: Mapping[str, Any], seconds: Mapping[int, float], purse: Purse) -> Spent:
    spent = Spent(**row["spent"], seconds=sum(seconds[step] for step in range(1, row["step"] + 1)))
    return spent.model_copy(update={"cost_usd": purse.bill_of_learning(spent)})


def _rates(evaluation: Evaluation) -> dict[str, float]:
    return {outcome.value: rate for outcome, rate in evaluation.outcomes.items()}


def run_id(config: RunConfig) -> str:
    """Names a configuration: method, environment, seed, and eight digits of its hash."""
    digest = hashlib.sha256(config.model_dump_json().encode()).hexdigest()[:8]
    return f"{config.env}-{config.method.name}-s{config.seed}-{digest}"
