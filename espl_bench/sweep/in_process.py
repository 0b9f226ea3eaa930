"""Several methods with several seeds, one run after another in this process, and their table.

`espl-bench compare` does the same with processes, side by side.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from espl_bench.accounting.cost_tracker import Budget
from espl_bench.build import UNBOUNDED, OpenEngine
from espl_bench.config.resolve import resolve
from espl_bench.config.run_config import RunConfig
from espl_bench.environment.text_env import EnvironmentSpec
from espl_bench.errors import UsageError
from espl_bench.leaderboard.board import Board, build_board
from espl_bench.leaderboard.collect import entries_of, read_run
from espl_bench.method import Method
from espl_bench.monitoring.reporter import Reporter
from espl_bench.runner import resume, run
from espl_bench.runs.run_dir import CONFIG, SUMMARY, RunDir
from espl_bench.runs.summary import Summary
from espl_bench.utils import foreign_files
from espl_bench.utils.event_loop import run_to_end
from espl_bench.utils.stop_signal import StopSignal


def compare(
    methods: Sequence[str | Method],
    env: str | EnvironmentSpec,
    folder: Path | str,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    reporter: Reporter | None = None,
    open_engine: OpenEngine | None = None,
    budget: Budget = UNBOUNDED,
    stop: StopSignal | None = None,
    preset: str | None = None,
    **choices: Any,
) -> Board:
    """Run every method with every seed, one run after another, and compute the table.

    Run directories are `folder/METHOD-sSEED`, as `espl-bench compare` lays them out. Finished runs are kept and unfinished ones
    resumed, so the same call goes on where it was stopped.

    Args:
        methods: names, or methods themselves.
        env: a name, or the environment's spec itself.
        folder: of the runs; made if it is missing.
        seeds: of every method.
        reporter: hears of every run.
        open_engine: makes the engine of each run, which is closed afterwards; None: as the configuration says.
        budget: of each run.
        stop: as in `run`.
        preset: as in `resolve`.
        choices: options of every run, by field of RunConfig.

    Raises UsageError before the first run starts if a configuration cannot be, or a folder holds a run of another one; else as `run`.
    """
    configs: dict[Path, RunConfig] = {}
    for seed in seeds:
        for method in dict.fromkeys(methods):
            config = resolve(method, env, {**choices, "seed": seed}, preset)
            if configs.setdefault(path := Path(folder) / config.folder_name, config) != config:
                raise UsageError(f"two methods are called '{config.method.name}'; give each a name of its own")
            if foreign_files.exists(path / CONFIG):
                RunDir.open(path).refuse_changes(config)
    spec = None if isinstance(env, str) else env
    summaries = [_finished(config, path, spec, reporter, open_engine, budget, stop) for path, config in configs.items()]
    return build_board(entries_of(summaries))


def _finished(
    config: RunConfig,
    folder: Path,
    env: EnvironmentSpec | None,
    reporter: Reporter | None,
    open_engine: OpenEngine | None,
    budget: Budget,
    stop: StopSignal | None,
) -> Summary:
    """Return the result of one run of a comparison, running it to its end if necessary."""
    if foreign_files.exists(folder / SUMMARY):
        return read_run(folder / SUMMARY)
    engine = open_engine(config) if open_engine else None
    stop = stop or StopSignal()
    try:
        if foreign_files.exists(folder / CONFIG):
            return resume(folder, reporter=reporter, engine=engine, env=env, wanted=config, budget=budget, stop=stop)
        return run(config, folder, reporter=reporter, engine=engine, env=env, budget=budget, stop=stop)
    finally:
        if engine is not None:
            run_to_end(engine.close(), stop.ask)
