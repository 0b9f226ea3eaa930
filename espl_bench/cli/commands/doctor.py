"""`doctor`: report what this machine can run, and a command to start with."""

import json
from dataclasses import asdict

from rich.table import Table

from espl_bench.cli.console import facts_grid, out_console, plain_table, write_json
from espl_bench.engines.adapter_spec import MICRO_BATCH, RANK
from espl_bench.engines.machine_fit import CONTEXT, GIB, USABLE, Fit, Machine, examine, fits, in_4_bits, recommended
from espl_bench.engines.verified_cards import verified_on
from espl_bench.utils.formatting import DASH, plain


def diagnose(as_json: bool) -> None:
    """Examine this machine and print the findings."""
    machine = examine()
    sizes = fits(machine)
    if as_json:
        record = {**asdict(machine), "models": [asdict(fit) for fit in sizes], "recommended": recommended(machine, sizes)}
        write_json(json.dumps(record, indent=2) + "\n")
        return
    console = out_console()
    console.print(_facts(machine))
    for trouble in machine.troubles:
        console.print(plain(f"! {trouble}", "yellow"), soft_wrap=True)
    console.print()
    console.print(_sizes(machine, sizes))
    shape = f"LoRA of rank {RANK}, micro-batches of {MICRO_BATCH:,} tokens, rollouts of {CONTEXT:,} tokens"
    console.print(plain(f"Estimates for engine hf on one device: {shape}; {1 - USABLE:.0%} of the memory is left free.", "dim"))
    if larger := in_4_bits(machine, sizes):
        console.print(plain(f"{larger[0].upper()}{larger[1:]}.", "dim"), soft_wrap=True)
    console.print()
    console.print(plain("start with: ").append_text(plain(recommended(machine, sizes), "bold")), soft_wrap=True)


def _facts(machine: Machine) -> Table:
    grid = facts_grid()
    for device in machine.devices:
        grid.add_row(plain(device.kind, "dim"), plain(f"{device.name}, {_gib(device.memory)} GiB, {_gib(device.free)} free"))
        if device.kind == "cuda":
            grid.add_row(plain("verified", "dim"), plain(verified_on(device.name)))
    grid.add_row(plain("cores", "dim"), plain(str(machine.cores)))
    grid.add_row(plain("disk", "dim"), plain(f"{_gib(machine.disk_free)} GiB free here"))
    for name, version in machine.versions.items():
        grid.add_row(plain(name, "dim"), plain(version or "not installed", "" if version else "dim"))
    return grid


def _sizes(machine: Machine, sizes: tuple[Fit, ...]) -> Table:
    table = plain_table(
        "model size", "e.g.", "sampling, GiB", "with training, GiB", "sampling fits", "training fits", "devices for sampling"
    )
    for fit in sizes:
        amounts = (_gib(fit.sampling), _gib(fit.training))
        spread = str(fit.spread) if fit.spread else f"more than {len(machine.devices)}"
        table.add_row(f"{fit.size.billions:g} B", plain(fit.size.example), *amounts, _yes(fit.samples), _yes(fit.trains), spread)
    return table


def _yes(fact: bool) -> str:
    return "yes" if fact else DASH


def _gib(amount: float) -> str:
    return f"{amount / GIB:.1f}"
