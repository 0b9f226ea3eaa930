"""`contamination`: list the principles of a run that quote items of its environment."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from espl_bench.analysis.contamination import ContaminationIndex, Quote
from espl_bench.build import environment_of
from espl_bench.cli.console import out_console
from espl_bench.runs.run_dir import Log, RunDir
from espl_bench.utils.formatting import plain

SHOWN = 40
"""Rows on the screen; --json has all."""


def print_quotes(folder: Path, as_json: bool) -> int:
    """Check every prompt of the run. Returns 1 if one quotes an item, else 0. Raises EsplError."""
    run = RunDir.open(folder)
    known = ContaminationIndex.of(environment_of(run.config()))
    born = [row for row in run.read_log(Log.POPULATION) if row["event"] == "born"]
    found = [(row, quote) for row in born for quote in known.in_prompt(row["principles"])]
    if as_json:
        rows = [{"prompt": row["id"], "step": row["step"], **asdict(quote)} for row, quote in found]
        sys.stdout.write(json.dumps({"prompts": len(born), "quotes": rows}, indent=2, ensure_ascii=False) + "\n")
    elif found:
        out_console().print(_table(found))
        quoting = len({row["id"] for row, _ in found})
        out_console().print(plain(f"{folder}: {quoting:,} of {len(born):,} prompts quote items", "bold"), soft_wrap=True)
    else:
        out_console().print(plain(f"{folder}: none of {len(born):,} prompts quotes an item"), soft_wrap=True)
    return 1 if found else 0


def _table(found: Sequence[tuple[Mapping[str, Any], Quote]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), border_style="dim")
    for heading in ("prompt", "step", "principle", "quotes", "words"):
        table.add_column(heading, overflow="fold")
    for row, quote in found[:SHOWN]:
        table.add_row(*map(plain, (str(row["id"]), str(row["step"]), f"G{quote.principle}", quote.problem_id, quote.words)))
    return table
