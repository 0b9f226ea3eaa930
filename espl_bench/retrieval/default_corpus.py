"""Which corpus an environment searches if its options name none: the one that its data's description has."""

from collections.abc import Mapping
from typing import Any

from espl_bench.data.dataset_spec import CorpusSource, DataSpec
from espl_bench.retrieval.open_retriever import LOCAL


def default_corpus(data: DataSpec, options: Mapping[str, Any]) -> CorpusSource | None:
    """Return the corpus to search; None if the options name one, or search elsewhere.

    Args:
        data: the environment's.
        options: the environment's, among them those of `RetrieverOptions`; absent ones have their defaults.
    """
    if options.get("corpus") or options.get("retriever", "bm25") not in LOCAL:
        return None
    return data.corpus
