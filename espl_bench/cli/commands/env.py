"""`env check` and `env new`: the contract of an environment, and the beginning of one's own."""

import json
import shlex
from pathlib import Path

from espl_bench.cli.console import err_console, out_console, write_json
from espl_bench.cli.options import parse_data, parse_pairs
from espl_bench.environment.check_apart import CheckReport, CheckRequest, check_apart
from espl_bench.environment.check_subject import Level
from espl_bench.environment.checker import RULES
from espl_bench.environment.scaffold import write_package
from espl_bench.utils.formatting import plain

BROKEN = 1
"""Exit code of a check that found a fault."""
_STYLES = {Level.FAULT: "red", Level.NOTE: "yellow"}


def check(
    name: str, env_options: tuple[str, ...], data: tuple[str, ...], samples: int, items: int, deadline: float, quiet: bool, as_json: bool
) -> int:
    """Check an environment, print the report and return the exit code."""
    request = CheckRequest(name, {**parse_pairs(env_options), **parse_data(data)}, samples, items, deadline)
    if quiet or as_json:
        report = check_apart(request)
    else:
        with err_console().status("") as status:
            report = check_apart(request, lambda rule: status.update(plain(f"checking {name}: {rule}")))
    if as_json:
        write_json(json.dumps(report.record(), indent=2, ensure_ascii=False, default=str) + "\n")
    else:
        _show(report)
    return BROKEN if report.faults else 0


def _show(report: CheckReport) -> None:
    console = out_console()
    for finding in report.findings:
        line = plain(f"{finding.level}  {finding.rule}: ", _STYLES[finding.level])
        console.print(line.append_text(plain(str(finding))), soft_wrap=True)
    items = ", ".join(f"{size:,} {split}" for split, size in report.facts["items"].items())
    kept = len(RULES) - len(report.faults)
    verdict = f"{report.request.env} keeps the contract" if not report.faults else f"{report.request.env} breaks the contract"
    console.print(plain(f"{verdict}: {kept} of {len(RULES)} rules kept; items: {items}"), soft_wrap=True)


def new(name: str, kind: str, out: Path | None, as_json: bool) -> None:
    """Write a package and say what to do with it."""
    folder = out or Path(name)
    written = write_package(name, kind, folder)
    install, run = f"pip install -e {shlex.quote(str(folder))}", f"espl-bench run --env {name} --method base"
    steps = [install, f"espl-bench env check {name}", run]
    if as_json:
        record = {"name": name, "kind": kind, "folder": str(folder), "files": [str(path) for path in written], "next": steps}
        write_json(json.dumps(record, indent=2, ensure_ascii=False) + "\n")
        return
    console = out_console()
    for path in written:
        console.print(plain(str(folder / path)), soft_wrap=True)
    console.print(plain("next:", "dim"))
    for step in steps:
        console.print(plain(f"    {step}", "bold"), soft_wrap=True)
