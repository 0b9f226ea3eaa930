"""Load an environment's data from the data home, or explain in one line what is missing and which commands get it."""

import shlex
from collections.abc import Collection, Mapping

from espl_bench.data.dataset_spec import CORPUS, CorpusSource, DataSource, DataSpec
from espl_bench.data.store import StoredData, home, is_stored, load
from espl_bench.errors import MissingDataError, unknown
from espl_bench.types import Split


def get_command(env: str) -> str:
    """Return the command that fetches an environment's data from the hub."""
    return f"espl-bench data get {shlex.quote(env)}"


def import_command(env: str, data: DataSpec, split: Split, source: DataSource) -> str:
    """Return the command that imports one set from a file."""
    named = f" --source {source.name}" if len(data.of(split)) > 1 else ""
    return f"espl-bench data import {shlex.quote(env)} --split {split.value}{named} --from FILE"


def remake_command(env: str, corpus: CorpusSource) -> str:
    """Return the command that makes an environment's corpus again, from the hub."""
    return f"{get_command(env)} --source {corpus.name} --again"


def import_corpus_command(env: str, corpus: CorpusSource) -> str:
    """Return the command that makes an environment's corpus from files."""
    files = " ".join(f"--from {source.name.upper()}-FILE" for source in corpus.sets)
    return f"espl-bench data import {shlex.quote(env)} --split {CORPUS} {files}"


def corpus_complaint(env: str, corpus: CorpusSource) -> str:
    """Describe what an environment can search if its corpus is missing."""
    return (
        f"{env} needs --corpus FILE (passages with id, title and text), or the corpus {corpus.name}, which {home()} lacks; "
        f"with a network: {get_command(env)} ; without: {import_corpus_command(env, corpus)}"
    )


def missing(data: DataSpec, chosen: Collection[str] | None = None) -> list[tuple[Split, DataSource]]:
    """Return the sets that an environment needs and the data home lacks; `chosen` as in `load_data`."""
    return [(split, source) for split, source in _used(data, chosen) if not is_stored(source)]


def load_data(env: str, data: DataSpec, chosen: Collection[str] | None = None) -> Mapping[Split, tuple[StoredData, ...]]:
    """Load every set of an environment, by split.

    Args:
        env: names the environment in messages.
        data: its description.
        chosen: the training sources to use; None: all.

    Raises:
        UsageError: a chosen source does not exist.
        MissingDataError: a set is missing.
        DataError: a set is damaged.
    """
    known = [source.name for source in data.train]
    for name in chosen or ():
        if name not in known:
            raise unknown(f"training source of {env}", name, known)
    if absent := missing(data, chosen):
        raise MissingDataError(_complaint(env, data, absent, chosen), tuple(source.name for _, source in absent))
    return {
        split: tuple(load(source, import_command(env, data, split, source)) for kind, source in _used(data, chosen) if kind is split)
        for split in Split
    }


def _used(data: DataSpec, chosen: Collection[str] | None) -> list[tuple[Split, DataSource]]:
    return [(split, source) for split, source in data if split is not Split.TRAIN or chosen is None or source.name in chosen]


def _complaint(env: str, data: DataSpec, absent: list[tuple[Split, DataSource]], chosen: Collection[str] | None) -> str:
    """Describe what is missing, how to get it, and how to continue if only some training sets are missing."""
    names = ", ".join(f"{source.name} ({split})" for split, source in absent)
    imports = " ; ".join(import_command(env, data, split, source) for split, source in absent)
    lacking = {source.name for _, source in absent}
    stored = [source.name for source in data.train if source.name not in lacking]
    in_part = chosen is None and stored and any(split is Split.TRAIN for split, _ in absent)
    partly = (
        f"; or train on the sets that are there, which is another training set: --env-option sources={','.join(stored)}" if in_part else ""
    )
    return f"{env} needs data that {home()} lacks: {names}; with a network: {get_command(env)} ; without: {imports}{partly}"
