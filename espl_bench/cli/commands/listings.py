"""`methods` and `envs`: list everything registered, including plug-ins. A broken plug-in is listed with its error."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from espl_bench.cli.console import out_console, plain_table, write_json
from espl_bench.config.run_config import model_name
from espl_bench.environment.catalogue import find_environment, find_family, make_environment
from espl_bench.errors import EsplError
from espl_bench.method import Method, find_method
from espl_bench.registry import ENVIRONMENTS, FAMILIES, METHODS, names
from espl_bench.types import Split
from espl_bench.utils.formatting import DASH, plain

Record = dict[str, Any]
NEVER_BROKEN = frozenset({"name", "selector", "baseline"})
"""Columns whose values a user may want to copy."""


def list_methods(as_json: bool) -> None:
    """Print every registered method."""
    columns = {"name": "name", "learns": "learns", "operators": "operators", "selector": "selector", "baseline": "baseline"}
    _show([_method_record(name) for name in names(METHODS)], columns, "methods", as_json)


def list_environments(as_json: bool) -> None:
    """Print every registered environment."""
    columns = {"name": "name", "gym_id": "gymnasium id", "items": "train / validation / test", "model": "default model"}
    records = [*map(_environment_record, names(ENVIRONMENTS)), *map(_family_record, names(FAMILIES))]
    _show(records, columns, "environments", as_json)


def _method_record(name: str) -> Record:
    try:
        method = find_method(name)
    except EsplError as error:
        return {"name": name, "error": str(error)}
    return {
        "name": name,
        "learns": _learns(method),
        "operators": list(method.operators),
        "selector": method.selector if method.operators else None,
        "baseline": method.baseline if method.learns_weights else None,
        "summary": method.summary,
    }


def _learns(method: Method) -> list[str]:
    return [*(["weights"] if method.learns_weights else []), *(["words"] if method.breeds else [])]


def _environment_record(name: str) -> Record:
    try:
        spec = find_environment(name)
    except EsplError as error:
        return {"name": name, "error": str(error)}
    record: Record = {
        "name": name,
        "gym_id": spec.gym_id,
        "items": None,
        "model": spec.model,
        "dialect": spec.dialect,
        "defaults": dict(spec.defaults),
        "data": [{"split": split.value, "set": source.name, "licence": source.licence.short} for split, source in spec.data],
        "summary": spec.summary,
    }
    try:
        env = make_environment(spec, {})
    except EsplError as error:  # data are missing or an option is required
        return {**record, "needs": str(error)}
    return {**record, "items": {split.value: env.size(split) for split in Split}}


def _family_record(name: str) -> Record:
    """Describe a family of environments in one record: its members may be many, and have other sizes with other options."""
    try:
        family = find_family(name)
    except EsplError as error:
        return {"name": name, "error": str(error)}
    members = [family.full(member) for member in family.members()]
    return {
        "name": family.full("NAME"),
        "gym_id": family.gym_id,
        "items": None,
        "model": None,
        "members": members,
        "summary": f"{family.summary}; {len(members)} names, e.g. {family.full(family.example)} (--json lists them)",
    }


def _show(records: Sequence[Record], columns: Mapping[str, str], kind: str, as_json: bool) -> None:
    if as_json:
        write_json(json.dumps(records, indent=2, ensure_ascii=False, default=str) + "\n")
        return
    console = out_console()
    if not records:
        console.print(f"no {kind} are registered; install a package that provides some")
        return
    grid = plain_table()
    for heading in columns.values():
        grid.add_column(heading, overflow="fold", no_wrap=heading in NEVER_BROKEN)
    for record in records:
        shown = {**record, "model": model_name(record["model"])} if record.get("model") else record
        grid.add_row(*(plain(_cell(shown.get(key))) for key in columns))
    console.print(grid)
    console.print()
    for record in records:
        fault = record.get("error")
        text = plain(record["name"], "bold").append_text(plain(f": {fault or record['summary']}", "red" if fault else ""))
        console.print(text)
        if data := record.get("data"):
            licences = ", ".join(f"{data_set['set']} {data_set['licence']}" for data_set in data)
            console.print(plain(f"    data: {licences}", "dim"))
        if needs := record.get("needs"):
            console.print(plain(f"    {needs}", "yellow"))


def _cell(value: str | Sequence[str] | Mapping[str, int] | None) -> str:
    match value:
        case None:
            return DASH
        case str():
            return value
        case Mapping():
            return " / ".join(f"{number:,}" for number in value.values())
        case _:
            return " + ".join(value) or DASH
