"""Corpora of the environments that search: made from the rows of published sets, fetched or named as files."""

from collections.abc import Sequence

from espl_bench.cli.commands import data_display
from espl_bench.cli.console import err_console
from espl_bench.data import corpus_store
from espl_bench.data.corpus_store import CorpusManifest
from espl_bench.data.data_files import find_files, hash_of_all
from espl_bench.data.dataset_spec import CorpusSource
from espl_bench.data.find_data import import_corpus_command
from espl_bench.data.paragraphs import gather
from espl_bench.data.store import DataOrigin, home
from espl_bench.environment.text_env import EnvironmentSpec
from espl_bench.errors import UsageError


def fetch_corpus(env: str, corpus: CorpusSource, quiet: bool = False) -> CorpusManifest:
    """Make a corpus from the hub's sets, store it, and print on stderr what became of it; `quiet`: without progress bars.

    Raises UsageError or DataError as `data.hub.fetch`.
    """
    from espl_bench.data.hub import fetch_paragraphs

    remedy = import_corpus_command(env, corpus)
    gathered = [fetch_paragraphs(corpus, source, remedy, progress=not quiet) for source in corpus.sets]
    manifest = corpus_store.save(corpus, gathered)
    err_console().print(data_display.made(corpus, manifest, home()), soft_wrap=True)
    return manifest


def import_corpus(spec: EnvironmentSpec, files: Sequence[str]) -> tuple[CorpusSource, CorpusManifest]:
    """Make the corpus of an environment from files, one for each of its sets in order, and store it.

    Raises:
        UsageError: the environment has no corpus, or there is not one file for each set.
        DataError: a file holds no questions with paragraphs.
    """
    corpus = spec.data.corpus
    if corpus is None:
        raise UsageError(f"environment '{spec.name}' searches no corpus; import its sets with --split train, validation or test")
    if len(files) != len(corpus.sets):
        raise UsageError(
            f"{corpus.name} is made of {len(corpus.sets)} sets; name a file, a pattern or a folder for each, in this order: "
            f"{import_corpus_command(spec.name, corpus)}"
        )
    found = [find_files([file]) for file in files]
    gathered = [gather(corpus, source, each.records(), each.name) for source, each in zip(corpus.sets, found, strict=True)]
    hashes = [each.hashes() for each in found]
    origins = [
        DataOrigin(file=each.file, file_sha256=hash_of_all(sums), files=sums if len(sums) > 1 else {})
        for each, sums in zip(found, hashes, strict=True)
    ]
    return corpus, corpus_store.save(corpus, list(zip(gathered, origins, strict=True)))
