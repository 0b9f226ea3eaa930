"""Open what a run was made of again: its environment, to read what it recorded, or all of it, to measure its final weights."""

import shlex
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from espl_bench.build import NOTHING_GIVEN, GivenObjects, OpenEngine, environment_of, open_run
from espl_bench.config.run_config import RunConfig
from espl_bench.environment.pool import close_env
from espl_bench.environment.text_env import TextEnv
from espl_bench.errors import RunDirError, UsageError
from espl_bench.loop import RunContext
from espl_bench.runs.binding import What, refuse
from espl_bench.runs.checkpoints import Checkpoint
from espl_bench.runs.consent import NO_CONSENT, Consent, confirm_items, confirm_run
from espl_bench.runs.recorded_tools import give_recorded_tools
from espl_bench.runs.run_dir import PROVENANCE, RunDir
from espl_bench.runs.summary import Summary
from espl_bench.utils import foreign_files
from espl_bench.utils.foreign_json import parse_object
from espl_bench.utils.hashing import fingerprint


def recorded_environment(run: RunDir, config: RunConfig, consent: Consent = NO_CONSENT) -> TextEnv:
    """Make a run's environment, to read what it recorded, with the tools that it recorded: no server of tools is started or reached.

    Raises UsageError for an environment that is not installed, or asks for its items where the user has not confirmed that.
    """
    confirm_items(run, config, consent)
    env = environment_of(config)
    give_recorded_tools(env, run)
    return env


def final_commit(run: RunDir, summary: Summary, command: str) -> Checkpoint:
    """Return the checkpoint of a finished run's last step. Raises RunDirError if it has none any more."""
    commit = run.last_commit()
    if commit is None or commit.step != summary.steps:
        raise RunDirError(f"{run.path} has no final checkpoint, so its weights are not available; {command} a run that still has it")
    return commit


def config_of(run: RunDir, model: Path | None, consent: Consent, command: str) -> RunConfig:
    """Return a run's configuration, with its model taken from a folder, once its contacts are confirmed.

    Raises UsageError if the folder holds another model, or for a contact that is not confirmed.
    """
    config = _with_model(run, model)
    confirm_run(run, config, consent, f"espl-bench {command} {shlex.quote(str(run.path))}")
    return config


@asynccontextmanager
async def reopened(
    run: RunDir, commit: Checkpoint, config: RunConfig, open_engine: OpenEngine | None, remedy: str
) -> AsyncGenerator[RunContext]:
    """Open a run with its model, items and templates as they were at a commit, and close everything after the block.

    The weights of the commit are not loaded.

    Args:
        run: the run.
        commit: its final checkpoint.
        config: as `config_of` returns it.
        open_engine: makes the engine; None: as the configuration says.
        remedy: what to do if one of these has changed, for the message.

    Raises UsageError with every difference.
    """
    given = GivenObjects(engine=open_engine(config)) if open_engine else NOTHING_GIVEN
    context = open_run(config, given=given, started=run.provenance.started())
    try:
        changes = run.known_binding(commit).changes(context.binding, (What.MODEL, What.ITEMS, What.TEMPLATES))
        refuse(run.path, changes, remedy)
        yield context
    finally:
        context.spec.pool.close()
        close_env(context.env)
        await context.engine.close()


def _with_model(run: RunDir, model: Path | None) -> RunConfig:
    """Return the run's configuration with its model taken from a folder. Raises UsageError if the folder holds another model."""
    config = run.config()
    if model is None:
        return config
    path = run.path / PROVENANCE
    try:
        recorded = parse_object(foreign_files.read_record(path))["model"]["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunDirError(f"{path} does not state the run's model ({type(error).__name__}); restore it from a copy") from error
    folder_fingerprint = fingerprint(model)
    if folder_fingerprint is None or (recorded and folder_fingerprint["sha256"] != recorded["sha256"]):
        what = "it has no model files" if folder_fingerprint is None else "its files differ"
        remedy = f"name the folder that {config.model} was moved or copied to"
        raise UsageError(f"{model} does not hold the model of {run.path} ({what}); {remedy}")
    return config.model_copy(update={"model": str(model)})
