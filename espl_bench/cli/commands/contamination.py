"""`contamination`: list the principles of a run that quote items of its environment."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.table import Table

from espl_bench.analysis.contamination import ContaminationIndex, Quote
from espl_bench.analysis.reopening import recorded_environment
from espl_bench.cli.console import out_console, plain_table, write_json
from espl_bench.runs.population_events import BornEvent, read_events
from espl_bench.runs.run_dir import RunDir
from espl_bench.utils.formatting import plain

SHOWN = 40
"""Rows on the screen; --json has all."""


def print_quotes(folder: Path, as_json: bool) -> int:
    """Check every prompt of the run. Returns 1 if one quotes an item, else 0. Raises EsplError."""
    run = RunDir.open(folder)
    known = ContaminationIndex.of(recorded_environment(run, run.config()))
    born = [event for event in read_events(run) if isinstance(event, BornEvent)]
    quotes = [(prompt, quote) for prompt in born for quote in known.in_prompt(prompt.principles)]
    if as_json:
        rows = [{"prompt": prompt.id, "step": prompt.step, **asdict(quote)} for prompt, quote in quotes]
        write_json(json.dumps({"prompts": len(born), "quotes": rows}, indent=2, ensure_ascii=False) + "\n")
    elif quotes:
        out_console().print(_table(quotes))
        quoting = len({prompt.id for prompt, _ in quotes})
        out_console().print(plain(f"{folder}: {quoting:,} of {len(born):,} prompts quote items", "bold"), soft_wrap=True)
    else:
        out_console().print(plain(f"{folder}: none of {len(born):,} prompts quotes an item"), soft_wrap=True)
    return 1 if quotes else 0


def _table(quotes: Sequence[tuple[BornEvent, Quote]]) -> Table:
    table = plain_table("prompt", "step", "principle", "quotes", "words")
    for prompt, quote in quotes[:SHOWN]:
        table.add_row(*map(plain, (str(prompt.id), str(prompt.step), f"G{quote.principle}", quote.problem_id, quote.words)))
    return table
