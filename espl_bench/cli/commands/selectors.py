"""`selectors`: replay runs under every registered selector, and print how far each stays behind the best living prompt."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean

from espl_bench.analysis.selector_replay import Recorded, Regret, regrets
from espl_bench.cli.commands.verify import grading_progress
from espl_bench.cli.console import out_console, plain_table, write_json
from espl_bench.registry import SELECTORS, names
from espl_bench.runs.run_dir import RunDir
from espl_bench.utils.formatting import plain


def compare_selectors(folders: Sequence[Path], draws: int, quiet: bool, as_json: bool) -> None:
    """Print the regrets, the smallest rollout regret first. Raises EsplError for a run that cannot be replayed."""
    runs = [Recorded.of(RunDir.open(folder)) for folder in folders]
    with grading_progress(quiet, "replaying", "replays") as progress:
        found = regrets(runs, names(SELECTORS), draws, progress)
    found = dict(sorted(found.items(), key=lambda item: fmean(regret.rollout for regret in item[1])))
    moved = sorted({run.method.name for run in runs if run.method.learns_weights})
    if as_json:
        write_json(json.dumps(_record(folders, runs, found, draws), indent=2) + "\n")
        return
    table = plain_table("selector", "rollout regret", "final regret")
    for selector, each in found.items():
        table.add_row(*map(plain, (selector, _cell([one.rollout for one in each]), _cell([one.final for one in each]))))
    out_console().print(table)
    own = ", ".join(dict.fromkeys(run.method.selector for run in runs))
    notes = [f"points behind the best living prompt, on problems no selector saw; {len(runs)} run(s) x {draws} replays; recorded by: {own}"]
    if len(runs) > 1:
        notes.append("in brackets: lowest and highest run")
    if moved:
        notes.append(f"the weights of {', '.join(moved)} learned: a prompt's score is of the weights that it met")
    for note in notes:
        out_console().print(plain(note, "dim"), soft_wrap=True)


def _record(folders: Sequence[Path], runs: Sequence[Recorded], found: Mapping[str, Sequence[Regret]], draws: int) -> dict[str, object]:
    return {
        "runs": [
            {"run": str(folder), "selector": run.method.selector, "steps": run.steps, "prompts": len(run.scores)}
            for folder, run in zip(folders, runs, strict=True)
        ],
        "draws": draws,
        "selectors": {
            selector: {
                "rollout": fmean(one.rollout for one in each),
                "final": fmean(one.final for one in each),
                "by_run": [asdict(one) for one in each],
            }
            for selector, each in found.items()
        },
    }


def _cell(values: Sequence[float]) -> str:
    mean = f"{100 * fmean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} [{100 * min(values):.1f}, {100 * max(values):.1f}]"
