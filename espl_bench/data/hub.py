"""Fetch a data set from the hub with `datasets`, at a commit that is recorded. Imported only for a fetch."""

import logging
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from espl_bench.data.arrow_files import BATCH, Record, records_of
from espl_bench.data.dataset_spec import CorpusSource, DataSource
from espl_bench.data.hub_cache import load_offline
from espl_bench.data.intake import Intake, IntakeRules, layout_of, take_in
from espl_bench.data.paragraphs import GatheredParagraphs, gather
from espl_bench.data.store import DataOrigin
from espl_bench.errors import DataError, UsageError
from espl_bench.utils.hub_errors import hub_failures, why_of

TIMEOUT: Final = 20.0
"""Seconds within which the hub must name the newest commit."""


def fetch(source: DataSource, remedy: str, rules: IntakeRules | None = None, progress: bool = True) -> tuple[Intake, DataOrigin]:
    """Fetch the items of a source, and return them with their origin.

    Args:
        source: its `hub_id` is fetched at its `revision`, or at the newest commit.
        remedy: the commands that import missing sets from files, for the message.
        rules: what is accepted of its rows, see `take_in`.
        progress: whether to draw bars on stderr.

    Raises:
        UsageError: a package is missing.
        DataError: the hub cannot be reached, has no such set or revision, or holds something else than expected.
    """
    with _fetching(source, remedy, progress) as datasets:
        rows, revision = _load(datasets, source)
        layout = layout_of(rows[0], source.hub_id, source) if len(rows) else None
        used = {column.split(".")[0] for column in layout.columns} if layout is not None and layout.of_source else set[str]()
        slim = rows.select_columns([name for name in rows.column_names if name in used]) if used else rows
        intake = take_in(_records(slim), source.hub_id, source, rules=rules)
    return intake, DataOrigin(hub_id=source.hub_id, revision=revision)


def fetch_paragraphs(corpus: CorpusSource, source: DataSource, remedy: str, progress: bool = True) -> tuple[GatheredParagraphs, DataOrigin]:
    """Fetch what one set gives to a corpus, and return it with its origin. Arguments and errors are those of `fetch`."""
    with _fetching(source, remedy, progress) as datasets:
        rows, revision = _load(datasets, source)
        read = {corpus.column, corpus.evidence, *(pair.problem for pair in source.columns)}
        slim = rows.select_columns([name for name in rows.column_names if name in read])
        gathered = gather(corpus, source, _records(slim), source.hub_id)
    return gathered, DataOrigin(hub_id=source.hub_id, revision=revision)


@contextmanager
def _fetching(source: DataSource, remedy: str, progress: bool) -> Generator[Any]:
    """Yield the package that loads sets, and turn its failures inside the block into one line. Raises as `fetch`."""
    try:
        datasets: Any = import_module("datasets")  # takes a second and more, and is not typed throughout
    except ModuleNotFoundError as error:
        raise UsageError(f"fetching from the hub needs {error.name}; install it with: pip install 'espl-bench[hub]'") from error
    (datasets.enable_progress_bars if progress else datasets.disable_progress_bars)()
    with hub_failures(lambda error: _failure(source, remedy, error), datasets.exceptions.DatasetsError), _quiet():
        yield datasets


def _records(rows: Any) -> Iterator[Record]:
    """Yield the rows as plain records, in batches: a set may have millions."""
    for table in rows.with_format("arrow").iter(batch_size=BATCH):
        for batch in table.to_batches():
            yield from records_of(batch)


def _load(datasets: Any, source: DataSource) -> tuple[Any, str | None]:
    """Return the rows of a set, and its commit, from the hub, from its caches or from a folder."""
    from huggingface_hub.constants import HF_HUB_OFFLINE

    if HF_HUB_OFFLINE and not Path(source.hub_id).is_dir():
        return load_offline(datasets, source)
    revision = _commit(source)
    return datasets.load_dataset(source.hub_id, source.config, split=source.hub_split, revision=revision), revision


def _commit(source: DataSource) -> str | None:
    """Return the full name of the commit to fetch; None for a folder. Fails at once without a network."""
    if Path(source.hub_id).is_dir():
        return None
    from huggingface_hub import HfApi

    return HfApi().dataset_info(source.hub_id, revision=source.revision, timeout=TIMEOUT).sha


def _failure(source: DataSource, remedy: str, error: Exception) -> DataError:
    what = f"{source.hub_id}{f' at revision {source.revision}' if source.revision else ''}"
    return DataError(f"cannot fetch {what} ({why_of(error)}); without a network, bring the sets here as files and run: {remedy}")


@contextmanager
def _quiet() -> Generator[None]:
    """Silence messages about retries and caches, which our one-line error and the recorded commit replace."""
    levels = {logger: logger.level for logger in map(logging.getLogger, ("huggingface_hub", "datasets"))}
    for logger in levels:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)
