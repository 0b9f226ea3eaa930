"""`data status`, `data get`, `data import` and `data check`: manage the environments' data sets."""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from espl_bench.cli.commands import data_display
from espl_bench.cli.commands.data_display import Status
from espl_bench.cli.console import out_console
from espl_bench.cli.options import parse_data, parse_pairs
from espl_bench.data.dataset_spec import DataSource
from espl_bench.data.files import read_records
from espl_bench.data.find_data import get_command, import_command
from espl_bench.data.intake import Intake, take_in
from espl_bench.data.store import DataOrigin, Manifest, home, is_stored, manifest_of, save
from espl_bench.environment.catalogue import find_environment, make_environment
from espl_bench.environment.data_check import report
from espl_bench.environment.text_env import EnvironmentSpec
from espl_bench.errors import EsplError, UsageError, unknown
from espl_bench.registry import ENVIRONMENTS, names
from espl_bench.types import Split
from espl_bench.utils import foreign_files


def show_status(as_json: bool) -> None:
    """Print every data set of every environment."""
    statuses = [status for spec in _specs() for status in _statuses(spec)]
    if as_json:
        _json({"home": str(home()), "sets": [asdict(status) for status in statuses]})
    else:
        out_console().print(data_display.statuses(home(), statuses))


def _specs() -> Iterator[EnvironmentSpec]:
    """Yield the environments that can be loaded; `envs` reports the others."""
    for name in names(ENVIRONMENTS):
        try:
            yield find_environment(name)
        except EsplError:
            continue


def _statuses(spec: EnvironmentSpec) -> Iterator[Status]:
    for split, source in spec.data:
        remedy = import_command(spec.name, spec.data, split, source)
        manifest, fault = _manifest(source, remedy)
        yield Status(
            env=spec.name,
            split=split.value,
            source=source.name,
            stored=manifest is not None,
            items=manifest.items if manifest else None,
            origin=str(manifest.origin) if manifest else "",
            identity=manifest.identity if manifest else "",
            licence=source.licence.short,
            fault=fault,
            get=get_command(spec.name),
            imports=remedy,
        )


def _manifest(source: DataSource, remedy: str) -> tuple[Manifest | None, str]:
    if not is_stored(source):
        return None, ""
    try:
        return manifest_of(source, remedy), ""
    except EsplError as error:
        return None, str(error)


def get(env: str, source: str | None, revision: str | None, again: bool, as_json: bool) -> None:
    """Fetch the data sets of an environment. If one fails, those fetched before it are kept."""
    spec = _with_data(env)
    wanted = list(spec.data)
    if source is not None:
        known = {data_source.name for _, data_source in spec.data}
        if source not in known:
            raise unknown(f"source of {env}", source, known)
        wanted = [(split, data_source) for split, data_source in wanted if data_source.name == source]
    if revision is not None and len(wanted) > 1:
        raise UsageError(f"--revision applies to one data set, but {env} has {len(wanted)}; name one with --source")
    from espl_bench.data.hub import fetch

    for _, data_source in wanted:
        if is_stored(data_source) and not again:
            data_display.say_stored(data_source.name, home())
    waiting = [(split, data_source) for split, data_source in wanted if again or not is_stored(data_source)]
    done: list[Manifest] = []
    for index, (_, data_source) in enumerate(waiting):
        asked = replace(data_source, revision=revision) if revision is not None else data_source
        data_display.say_fetching(asked)
        remedy = " ; ".join(import_command(env, spec.data, split, left) for split, left in waiting[index:])
        intake, origin = fetch(asked, remedy)
        done.append(_keep(data_source, intake, origin, as_json))
    if as_json:
        _json({"sets": [manifest.model_dump(mode="json", by_alias=True) for manifest in done]})


def import_file(
    env: str, file: Path, split: str, source: str | None, problem_column: str | None, answer_column: str | None, as_json: bool
) -> None:
    """Import the rows of a file into the data home."""
    spec = _with_data(env)
    kinds = [kind.value for kind in Split]
    if split not in kinds:
        raise unknown("split", split, kinds)
    data_source = spec.data.find(env, Split(split), source)
    intake = take_in(read_records(file), str(file), data_source, problem_column, answer_column)
    manifest = _keep(data_source, intake, DataOrigin(file=file.name, file_sha256=foreign_files.sha256(file.resolve())), as_json)
    if as_json:
        _json(manifest.model_dump(mode="json", by_alias=True))


def _keep(source: DataSource, intake: Intake, origin: DataOrigin, quiet: bool) -> Manifest:
    manifest = save(source, intake, origin)
    if not quiet:
        out_console().print(data_display.kept(source, manifest, home()))
    return manifest


def check(env: str, against: tuple[str, ...], data: tuple[str, ...], env_options: tuple[str, ...], as_json: bool) -> None:
    """Check the items of an environment and print the report."""
    spec = find_environment(env)
    others = [find_environment(name) for name in against]
    made = make_environment(spec, {**parse_pairs(env_options), **parse_data(data)})
    data_report = report(spec, made, others)
    if as_json:
        _json(asdict(data_report))
    else:
        out_console().print(data_display.checked(data_report))


def _with_data(env: str) -> EnvironmentSpec:
    spec = find_environment(env)
    if not list(spec.data):
        raise UsageError(f"environment '{env}' has no data set to fetch or import; see espl-bench envs")
    return spec


def _json(record: object) -> None:
    sys.stdout.write(json.dumps(record, indent=2, ensure_ascii=False) + "\n")
