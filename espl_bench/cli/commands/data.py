"""`data status`, `data get`, `data import` and `data check`: manage the environments' data sets."""

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, replace

from espl_bench.cli.commands import data_display
from espl_bench.cli.commands.corpora import fetch_corpus, import_corpus
from espl_bench.cli.commands.data_display import Status
from espl_bench.cli.console import err_console, out_console, write_json
from espl_bench.cli.options import parse_data, parse_pairs
from espl_bench.data import corpus_store
from espl_bench.data.corpus_store import CorpusManifest
from espl_bench.data.data_files import find_files, hash_of_all
from espl_bench.data.dataset_spec import CORPUS, CorpusSource, DataSource
from espl_bench.data.find_data import get_command, import_command, import_corpus_command, remake_command
from espl_bench.data.intake import Intake, IntakeRules, take_in
from espl_bench.data.store import DataOrigin, Manifest, home, is_stored, manifest_of, save
from espl_bench.environment.catalogue import find_environment, make_environment
from espl_bench.environment.data_check import report
from espl_bench.environment.text_env import EnvironmentSpec
from espl_bench.errors import EsplError, UsageError, unknown
from espl_bench.registry import ENVIRONMENTS, names
from espl_bench.types import Split


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
    if spec.data.corpus is not None:
        yield _corpus_status(spec, spec.data.corpus)


def _corpus_status(spec: EnvironmentSpec, corpus: CorpusSource) -> Status:
    manifest, fault = None, ""
    if corpus_store.is_stored(corpus):
        try:
            manifest = corpus_store.load(corpus, remake_command(spec.name, corpus)).manifest
        except EsplError as error:
            fault = str(error)
    return Status(
        env=spec.name,
        split=CORPUS,
        source=corpus.name,
        stored=manifest is not None,
        items=manifest.passages if manifest else None,
        origin=" and ".join(str(part.origin) for part in manifest.parts) if manifest else "",
        identity=manifest.passages_sha256 if manifest else "",
        licence=corpus.licence.short,
        fault=fault,
        get=get_command(spec.name),
        imports=import_corpus_command(spec.name, corpus),
    )


def _manifest(source: DataSource, remedy: str) -> tuple[Manifest | None, str]:
    if not is_stored(source):
        return None, ""
    try:
        return manifest_of(source, remedy), ""
    except EsplError as error:
        return None, str(error)


def get(env: str, source: str | None, revision: str | None, again: bool, rules: IntakeRules, as_json: bool) -> None:
    """Fetch the data sets of an environment. If one fails, those fetched before it are kept."""
    spec = _with_data(env)
    wanted, corpus = list(spec.data), spec.data.corpus
    if source is not None:
        known = [*(data_source.name for _, data_source in spec.data), *(() if corpus is None else (corpus.name,))]
        if source not in known:
            raise unknown(f"source of {env}", source, known)
        wanted = [(split, data_source) for split, data_source in wanted if data_source.name == source]
        corpus = corpus if corpus is not None and corpus.name == source else None
    if revision is not None and len(wanted) != 1:
        raise UsageError(f"--revision applies to one data set, but {env} has {len(list(spec.data))}; name one with --source")
    for _, data_source in wanted:
        if is_stored(data_source) and not again:
            data_display.say_stored(data_source.name, home())
    waiting = [(split, data_source) for split, data_source in wanted if again or not is_stored(data_source)]
    done: list[Manifest] = []
    for data_source, manifest in _fetched(spec, waiting, revision, rules):
        done.append(manifest)
        if not as_json:
            out_console().print(data_display.kept(data_source, manifest, home()))
    made = _made(env, corpus, again) if corpus is not None else None
    if as_json:
        record = {"corpus": made.model_dump(mode="json", by_alias=True)} if made is not None else {}
        _json({"sets": [manifest.model_dump(mode="json", by_alias=True) for manifest in done], **record})


def _made(env: str, corpus: CorpusSource, again: bool) -> CorpusManifest | None:
    """Make a corpus unless it is there. Returns its manifest if it was made."""
    if corpus_store.is_stored(corpus) and not again:
        data_display.say_stored(corpus.name, home())
        return None
    data_display.say_making(corpus)
    return fetch_corpus(env, corpus)


def fetch_sets(env: str, sources: Collection[str], quiet: bool) -> None:
    """Fetch sets of an environment by name, and print on stderr what became of them. Raises as `data.hub.fetch`."""
    spec = _with_data(env)
    waiting = [(split, source) for split, source in spec.data if source.name in sources]
    for source, manifest in _fetched(spec, waiting, None, IntakeRules(), quiet):
        err_console().print(data_display.kept(source, manifest, home()), soft_wrap=True)


def _fetched(
    spec: EnvironmentSpec,
    waiting: Sequence[tuple[Split, DataSource]],
    revision: str | None,
    rules: IntakeRules,
    quiet: bool = False,
) -> Iterator[tuple[DataSource, Manifest]]:
    """Fetch sets and store each, those before a failure too; `quiet`: without progress bars."""
    from espl_bench.data.hub import fetch

    for index, (_, source) in enumerate(waiting):
        asked = replace(source, revision=revision) if revision is not None else source
        data_display.say_fetching(asked)
        remedy = " ; ".join(import_command(spec.name, spec.data, split, left) for split, left in waiting[index:])
        intake, origin = fetch(asked, remedy, rules, progress=not quiet)
        yield source, save(source, intake, origin)


def import_files(
    env: str,
    files: Sequence[str],
    split: str,
    source: str | None,
    problem_column: str | None,
    answer_column: str | None,
    rules: IntakeRules,
    as_json: bool,
) -> None:
    """Import the rows of one file or several into the data home."""
    spec = _with_data(env)
    kinds = [*(kind.value for kind in Split), CORPUS]
    if split not in kinds:
        raise unknown("split", split, kinds)
    if split == CORPUS:
        _import_corpus(spec, files, as_json)
        return
    data_source = spec.data.find(env, Split(split), source)
    found = find_files(files)
    intake = take_in(found.records(), found.name, data_source, problem_column, answer_column, rules)
    hashes = found.hashes()
    origin = DataOrigin(file=found.file, file_sha256=hash_of_all(hashes), files=hashes if len(hashes) > 1 else {})
    manifest = _keep(data_source, intake, origin, as_json, found.expected_rows)
    if as_json:
        _json(manifest.model_dump(mode="json", by_alias=True))


def _import_corpus(spec: EnvironmentSpec, files: Sequence[str], as_json: bool) -> None:
    corpus, manifest = import_corpus(spec, files)
    if as_json:
        _json(manifest.model_dump(mode="json", by_alias=True))
    else:
        out_console().print(data_display.made(corpus, manifest, home()))


def _keep(source: DataSource, intake: Intake, origin: DataOrigin, quiet: bool, rows: int | None = None) -> Manifest:
    """Store a set and print what became of its rows; `rows`: how many its own description names."""
    manifest = save(source, intake, origin)
    if not quiet:
        out_console().print(data_display.kept(source, manifest, home(), rows))
    return manifest


def check(env: str, against: tuple[str, ...], data: tuple[str, ...], env_options: tuple[str, ...], as_json: bool) -> None:
    """Check the items of an environment and print the report."""
    options = {**parse_pairs(env_options), **parse_data(data)}
    spec = find_environment(env, options)
    others = [find_environment(name) for name in against]
    made = make_environment(spec, options)
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
    write_json(json.dumps(record, indent=2, ensure_ascii=False) + "\n")
