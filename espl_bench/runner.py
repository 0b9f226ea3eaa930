"""Start a run, resume one, and write its summary. The loop itself is in loop.py."""

import shlex
from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from espl_bench.accounting.cost_tracker import Budget, BudgetSpentError, CostTracker
from espl_bench.accounting.usage import Spent
from espl_bench.analysis.contamination import ContaminationIndex, short_form
from espl_bench.build import UNBOUNDED, GivenObjects, data_facts, model_facts, model_lines, open_run, source_facts
from espl_bench.config.contacts import contacts_of
from espl_bench.config.run_config import RunConfig
from espl_bench.engines.engine import Engine
from espl_bench.environment.pool import close_env
from espl_bench.environment.text_env import EnvironmentSpec
from espl_bench.errors import DeviceMemoryError, EndpointError, EngineError, RunDirError, UsageError
from espl_bench.evolution.population import Population
from espl_bench.loop import LoopState, RunContext, evaluate_split, train
from espl_bench.monitoring.recorder import RunRecorder
from espl_bench.monitoring.reporter import Reporter, Silent
from espl_bench.optimizer_harness import optimize
from espl_bench.rollouts.evaluate import Evaluation
from espl_bench.rollouts.outcomes import mean_shares
from espl_bench.runs.binding import UNOPENED, Change, What, parse_allowed, refuse
from espl_bench.runs.checkpoints import Checkpoint
from espl_bench.runs.claims import names_and_settings, spent_until
from espl_bench.runs.collect_binding import collect_unopened
from espl_bench.runs.consent import NO_CONSENT, Consent, Origin, allow_keys_of, confirm_run
from espl_bench.runs.log_rows import LearningCost, read_evaluations, read_metrics, read_timing
from espl_bench.runs.moved import NOT_MOVED, Moved
from espl_bench.runs.provenance import collect
from espl_bench.runs.provenance_file import BINDING, GIVEN_FACTS
from espl_bench.runs.run_dir import CONFIG, RunDir
from espl_bench.runs.summary import CurvePoint, PartScore, Summary
from espl_bench.tools.tool_env import ToolEnv
from espl_bench.types import Split
from espl_bench.utils.event_loop import run_to_end
from espl_bench.utils.stop_signal import StopSignal, listening


def run(
    config: RunConfig,
    folder: Path | str,
    *,
    reporter: Reporter | None = None,
    engine: Engine | None = None,
    editor: Engine | None = None,
    env: EnvironmentSpec | None = None,
    budget: Budget = UNBOUNDED,
    stop: StopSignal | None = None,
) -> Summary:
    """Start a run and carry it through to its end.

    Works inside a running event loop too, as in a notebook: the run then has a thread of its own, and Ctrl-C stops it after the
    current iteration.

    Args:
        config: every choice, as returned by `resolve`.
        folder: created if missing; must not hold a run.
        reporter: receives progress events; None: no reports.
        engine: samples and trains in place of the engine that the configuration names. The run starts from its current weights
            and leaves them trained. The caller closes it.
        editor: writes the reflections in place of `editor_model`. The caller closes it.
        env: an environment that is not registered.
        budget: limit on spending at endpoints and services.
        stop: `stop.ask()` ends the run after the current iteration.

    Raises EsplError; InterruptedRunError after a stop by signal, or by `stop`.
    """
    given = GivenObjects(engine, editor, env)
    contacts = contacts_of(config)
    allow_keys_of(contacts)
    started = datetime.now(UTC).replace(microsecond=0)
    context = open_run(config, budget, given, started=started)  # before the folder is made, so that a failure leaves nothing behind
    facts = data_facts(context) | model_facts(context) | source_facts(config, context.clients.cost_tracker) | given.facts()
    provenance = collect(config.model, facts=facts, started=started) | {BINDING: context.binding.model_dump(mode="json")}
    run_dir = RunDir.create(Path(folder), config, provenance)
    run_dir.bind(context.binding)
    Origin.of(run_dir.path / CONFIG, run_dir.path).remember(contacts)
    with run_dir.lock():
        return _complete(context, None, _begun(context, run_dir, reporter), given, stop)


def resume(
    folder: Path | str,
    *,
    reporter: Reporter | None = None,
    engine: Engine | None = None,
    editor: Engine | None = None,
    env: EnvironmentSpec | None = None,
    wanted: RunConfig | None = None,
    budget: Budget = UNBOUNDED,
    stop: StopSignal | None = None,
    allow_changed: Collection[str] = (),
    moved: Moved = NOT_MOVED,
    consent: Consent = NO_CONSENT,
    warn: Callable[[str], None] | None = None,
) -> Summary:
    """Resume a run where it stopped; the result is the same as that of an uninterrupted run.

    Whatever the run's numbers depend on must be as it was at the commit: configuration, version, model, environment, items, templates.

    Args:
        folder: the run's folder.
        reporter: as in `run`, like `engine`, `editor`, `env` and `stop`. Objects the run was started with must be given again; the
            engine's weights are replaced by those of the run's last commit.
        engine: as in `run`.
        editor: as in `run`.
        env: as in `run`.
        wanted: refused (UsageError, the difference named) unless it is the run's own configuration.
        budget: limit for the whole run, earlier parts included.
        stop: as in `run`.
        allow_changed: parts that may differ (`What`); what does is recorded in provenance, in the summary and in a table's notes.
        moved: present places of the model and of files, if they have moved. Their contents must be the same.
        consent: addresses, and variables with keys, that may be used although the run's configuration names them and this user did not
            start it on this machine.
        warn: called with one line if a part cannot be compared, because an earlier version did not record it.

    Raises as `run`; UsageError, with every difference shown, if something has changed.
    """
    allowed = parse_allowed(allow_changed)
    run_dir = RunDir.open(Path(folder))
    given = GivenObjects(engine, editor, env)
    if wanted is not None:
        run_dir.refuse_changes(wanted)
        consent |= Consent.to(contacts_of(wanted))
    given.refuse_missing(run_dir.facts().get(GIVEN_FACTS, {}))
    with run_dir.lock():
        commit = run_dir.last_commit()
        context = _same_run(run_dir, commit, budget, given, moved, allowed, consent)
        if warn is not None and (caveat := run_dir.known_binding(commit).caveat):
            warn(caveat)
        if commit is None:
            run_dir.refuse_lost_commits()
            run_dir.restart()
            context.clients.resume(run_dir.path, 0, context.ledger.totals())
            return _complete(context, None, _begun(context, run_dir, reporter), given, stop)
        run_dir.rewind(commit)
        context.ledger.restore(commit.ledger)
        context.clients.resume(run_dir.path, commit.step, commit.ledger)
        return _complete(context, commit, _recorder(context, run_dir, reporter), given, stop)


def _same_run(
    run_dir: RunDir,
    commit: Checkpoint | None,
    budget: Budget,
    given: GivenObjects,
    moved: Moved,
    allowed: Collection[What],
    consent: Consent,
) -> RunContext:
    """Open a run as it was at a commit, and bind it anew. Raises UsageError for a difference or a contact that is not allowed."""
    config, known = run_dir.config(), run_dir.known_binding(commit)
    confirm_run(run_dir, config, consent, _command(run_dir.path))
    loads_model = given.engine is None
    if loads_model and not moved.is_there(config, known.binding):
        raise UsageError(f"the model folder {config.model} is not there any more; name its place: {_command(run_dir.path)} --model PATH")
    _refuse(run_dir, known.changes(collect_unopened(config, moved.applied(config), loads_model), UNOPENED), allowed)
    context = open_run(config, budget, given, moved, run_dir.provenance.started())
    changes = known.changes(context.binding)
    _refuse(run_dir, changes, allowed)
    run_dir.allow(changes, None if commit is None else commit.step)
    run_dir.bind(context.binding)
    return context


def _refuse(run_dir: RunDir, changes: Collection[Change], allowed: Collection[What]) -> None:
    refused = [change for change in changes if change.what not in allowed]
    flags = "".join(f" --allow-changed {what}" for what in dict.fromkeys(change.what for change in refused))
    refuse(run_dir.path, refused, f"bring that back, or go on and have the change recorded: {_command(run_dir.path)}{flags}")


def _command(folder: Path) -> str:
    return f"espl-bench resume {shlex.quote(str(folder))}"


def _begun(context: RunContext, run_dir: RunDir, reporter: Reporter | None) -> RunRecorder:
    """Record the root prompt of a new run at step 0; return the recorder."""
    recorder = _recorder(context, run_dir, reporter)
    recorder.root(_root(context).members[0])
    return recorder


def _recorder(context: RunContext, run_dir: RunDir, reporter: Reporter | None) -> RunRecorder:
    return RunRecorder(run_dir, context.ledger, reporter or Silent(), has_tools=isinstance(context.env, ToolEnv))


def _root(context: RunContext) -> Population:
    return Population.start(context.config.evolution.root_principles, context.config.method.population_size)


def _complete(
    context: RunContext, commit: Checkpoint | None, recorder: RunRecorder, given: GivenObjects, stop: StopSignal | None
) -> Summary:
    """Run to the end from a commit, or from the start."""
    stop = stop or StopSignal()
    return run_to_end(_finish(context, commit, recorder, given, stop), stop.ask)


async def _finish(context: RunContext, commit: Checkpoint | None, recorder: RunRecorder, given: GivenObjects, stop: StopSignal) -> Summary:
    """Run to the end, and close the engines and environments that were opened for the run, whatever happens."""
    try:
        if commit is None:
            state = LoopState(0, _root(context))
        else:
            await context.engine.load(commit.folder)
            state = LoopState(commit.step, Population.from_json(commit.population), commit.folder)
        with _resumable(recorder.folder, context.clients.keeps_answers):
            return await _to_the_end(context, state, recorder, stop)
    finally:
        context.spec.pool.close()
        close_env(context.env)
        for engine in {id(engine): engine for engine in (context.engine, context.editor)}.values():
            if engine is not given.engine and engine is not given.editor:
                await engine.close()


@contextmanager
def _resumable(folder: Path, answers_kept: bool) -> Generator[None]:
    """Add how to resume to the error of an endpoint, a budget or an engine that ended a run."""
    command = _command(folder)
    again = f"{'every answer' if answers_kept else 'the last commit'} is kept; continue with: {command}"
    try:
        yield
    except BudgetSpentError as error:
        raise BudgetSpentError(f"{error}; {again} {error.flag} MORE", error.flag) from error
    except EndpointError as error:
        raise EndpointError(f"{error}; {again}") from error
    except (DeviceMemoryError, EngineError) as error:
        raise type(error)(f"{error}; the last commit is kept; continue with: {command}") from error


async def _to_the_end(context: RunContext, state: LoopState, recorder: RunRecorder, stop: StopSignal) -> Summary:
    """Learn, evaluate and summarise."""
    recorder.reporter.started(context.config, recorder.folder, state.step)
    for line in model_lines(context):
        recorder.reporter.stuck(line)
    with listening(stop):
        learn = train if context.config.method.optimizer is None else optimize
        state = await learn(context, state, recorder, stop)
    validated = Split.VALIDATION in context.env.splits
    validation = await evaluate_split(context, state, Split.VALIDATION, recorder) if validated else None
    test = await evaluate_split(context, state, Split.TEST, recorder)
    summary = summarise(context, state, validation, test, recorder.run_dir)
    recorder.run_dir.write_summary(summary)
    recorder.reporter.finished(summary, recorder.folder)
    return summary


def summarise(context: RunContext, state: LoopState, validation: Evaluation | None, test: Evaluation, run_dir: RunDir) -> Summary:
    """Assemble the run's result."""
    config = context.config
    totals = context.ledger.totals()
    shown = context.shown(state.population).principles
    return Summary(
        **names_and_settings(config, context.binding),
        steps=state.step,
        score=test.score,
        n_items=len(test.scores_IG),
        validation_score=validation.score if validation else None,
        outcomes=_rates(test),
        training_outcomes=mean_shares([row.outcomes for row in read_metrics(run_dir)]),
        sample_scores=test.scores_IG,
        measures=test.measures,
        parts=tuple(PartScore(name=name, items=len(test.parts[name]), score=score) for name, score in test.part_scores.items()),
        ledger=totals,
        cost_usd=context.clients.cost_tracker.cost_of(totals),
        curve=learning_curve(run_dir, context.clients.cost_tracker),
        shown_prompt=shown,
        quotes=short_form(ContaminationIndex.of(context.env).in_prompt(shown)) if shown else (),
        data_identity=dict(context.data_identity),
        allowed_changes=tuple(str(change) for change in run_dir.provenance.allowed_changes()),
    )


def learning_curve(run_dir: RunDir, cost_tracker: CostTracker) -> tuple[CurvePoint, ...]:
    """Return every evaluation with the cost of learning up to then; its seconds are those of the iterations before it."""
    seconds = {row.step: row.seconds for row in read_timing(run_dir)}
    points: list[CurvePoint] = []
    for row in read_evaluations(run_dir):
        if row.spent is None:
            raise RunDirError(f"{run_dir.path} was started by a version that did not log the cost of evaluations; start it again")
        spent = _spent(row.step, row.spent, seconds, cost_tracker)
        points.append(CurvePoint.model_validate({"step": row.step, "split": row.split.value, "score": row.score, "spent": spent}))
    return tuple(points)


def _spent(steps: int, cost: LearningCost, seconds: Mapping[int, float], cost_tracker: CostTracker) -> Spent:
    spent = spent_until(steps, cost, seconds)
    return spent.model_copy(update={"cost_usd": cost_tracker.cost_of_learning(spent)})


def _rates(evaluation: Evaluation) -> dict[str, float]:
    return {outcome.value: rate for outcome, rate in evaluation.outcomes.items()}
