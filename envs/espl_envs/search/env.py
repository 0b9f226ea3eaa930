"""The environment, made from published sets in the data home."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar

from espl_bench.data.corpus_store import StoredCorpus, is_stored, load
from espl_bench.data.find_data import corpus_complaint, load_data, remake_command
from espl_bench.data.store import StoredData
from espl_bench.environment.text_env import Verdict
from espl_bench.errors import UsageError
from espl_bench.grading import Extraction
from espl_bench.grading.extract import extract
from espl_bench.grading.rules import RULES_VERSION
from espl_bench.retrieval.default_corpus import default_corpus
from espl_bench.retrieval.open_retriever import RetrieverOptions, identity_of, open_retriever
from espl_bench.retrieval.retriever import FoundPassage, Retriever
from espl_bench.tools.sanitize import sanitize
from espl_bench.tools.tool_env import ToolEnv, ToolLimits
from espl_bench.tools.tool_spec import BadArgumentsError, Parameter, ToolSpec
from espl_bench.types import Outcome, Problem, Split
from espl_bench.utils.numbers import is_whole
from espl_envs.search.answers import exact_match, f1
from espl_envs.search.rows import ROWS, SEED, Served, Sizes, select, uncovered

SEARCH = ToolSpec(
    "search",
    "Searches a collection of passages and returns, for each query, the ones that fit best.",
    (Parameter("query_list", "list of strings", "Queries, each of which is searched for by itself."),),
)


class SearchEnv(ToolEnv):
    """Questions to answer by searching: several turns, a search tool, a short answer.

    Description:
        A question of Natural Questions or HotpotQA, and a tool that searches a collection of passages, by default a small one
        made of HotpotQA's own paragraphs. Questions and paragraphs are fetched or imported once with ``espl-bench data``; neither
        are part of this package.

    Action space:
        Text. A call of ``search`` as ``<tool_call>{"name": "search", "arguments": {"query_list": [...]}}</tool_call>``, or in
        the model's own format; a text without a call is the answer: the text after the last ``Answer:`` that begins a line.

    Observation space:
        Text: the question; then the tool's replies: passages, or the fault of a call.

    Rewards:
        1 if the answer is exactly one of the true ones, both normalised as in
        SQuAD's evaluation and `espl_bench.grading.words`, else 0. F1 is reported too.

    Episode end:
        Terminated by an answer, or by a text that holds neither answer nor call. Truncated, with the limit named, by too many
        turns, calls or passages, or by a response of more than 20,000 characters. A retriever that fails is an error.

    Splits:
        A seeded selection: 196 questions to train on, 64 to validate, 64 to test, equally many of each set.

    Arguments:
        retriever: ``bm25`` (default), ``http``, ``ddgs`` or ``dense``, see `espl_bench.retrieval.open_retriever`, as for the next ones:
        corpus, retriever_url, retriever_timeout, embedder, pages, retrieval_cache, retrieval_cache_dir: The retriever's options; without
            a corpus, `espl_envs.search.rows.PARAGRAPHS` is searched.
        top_k: Passages per query (default 3).
        max_queries: Queries per call (default 3).
        passage_chars: Maximum characters shown of a passage (default 1,000).
        max_turns, max_calls, max_reply_chars, max_heard_chars: See `espl_bench.tools.tool_env.ToolLimits`.
        train_items, validation_items, test_items: Questions of each split.

    Version history:
        v1: first version.
    """

    tools: ClassVar[tuple[ToolSpec, ...]] = (SEARCH,)
    steps_at_once: ClassVar[int] = 256
    """Many episodes wait for their retriever at the same time."""

    def __init__(
        self,
        served: Served,
        facts: Mapping[str, Any],
        retrieval: Mapping[str, Any],
        limits: ToolLimits,
        top_k: int,
        max_queries: int,
        passage_chars: int,
        lacking: str = "",
    ) -> None:
        """Serve these questions; `retrieval` are the options of the retriever, which is opened when first needed.

        `lacking` says in one line what it needs for that and is not here.
        """
        super().__init__(limits)
        for name, value in (("top_k", top_k), ("max_queries", max_queries), ("passage_chars", passage_chars)):
            if not is_whole(value):
                raise UsageError(f"{name} must be a whole number from 1, not {value!r}")
        self.served = served
        self.facts = facts
        self.retrieval = retrieval
        self.top_k = top_k
        self.max_queries = max_queries
        self.passage_chars = passage_chars
        self.lacking = lacking

    @property
    def retriever(self) -> Retriever:
        """Return the retriever, shared by all episodes with the same options. Raises UsageError or DataError if it cannot be opened."""
        return open_retriever(RetrieverOptions(**self.retrieval))

    def prepare(self) -> None:
        """Open the retriever, and build its index if there is none yet. Raises UsageError if there is nothing to search."""
        if self.lacking:
            raise UsageError(self.lacking)
        _ = self.retriever

    def size(self, split: Split) -> int:
        """Return the number of questions."""
        return len(self.served.problems.get(split, ()))

    def problem(self, split: Split, index: int) -> Problem:
        """Return question `index` of the split."""
        return self.served.problems[split][index]

    def use(self, tool: str, arguments: Mapping[str, Any]) -> str:
        """Search. Raises BadArgumentsError for too many queries or none, RetrievalError if the retriever fails.

        A query without a letter or digit is none: a model may copy the dots of the example.
        """
        queries: list[str] = [query for query in arguments["query_list"] if any(map(str.isalnum, query))]
        if not 1 <= len(queries) <= self.max_queries:
            raise BadArgumentsError(f"query_list holds {len(queries)} queries; give 1 to {self.max_queries}")
        return "\n\n".join(self._format(result) for result in self.retriever.retrieve(queries, self.top_k))

    def _format(self, result: FoundPassage) -> str:
        """Format one query's passages, each sanitized and truncated by itself."""
        query = sanitize(result.query, 200).replace("\n", " ")
        lines = [f"Query: {query}"]
        for number, passage in enumerate(result.passages, start=1):
            title = sanitize(passage.title, 200).replace("\n", " ")
            lines.append(f"[{number}] {title}\n{sanitize(passage.text, self.passage_chars)}")
        return "\n".join(lines if result.passages else [*lines, "Nothing was found."])

    def grade(self, problem: Problem, response: str) -> Verdict:
        """Grade the last answer line by exact match, and measure F1."""
        answer = extract(response, Extraction.ANSWER_LINE).answer
        if answer is None:
            return Verdict.of(Outcome.NO_ANSWER, None, f1=0.0)
        truths = self.served.rows[problem.split][problem.index].answers
        outcome = Outcome.CORRECT if exact_match(answer, truths) else Outcome.WRONG
        return Verdict.of(outcome, None, f1=f1(answer, truths))

    def data_identity(self) -> Mapping[str, str]:
        """Return the hash of each split's questions, and the retriever's identity, once it is known. Opens no retriever."""
        complete = self.retrieval.get("corpus") or self.retrieval["retriever"] in ("http", "ddgs")
        return {**self.served.identity, **({"retrieval": identity_of(RetrieverOptions(**self.retrieval))} if complete else {})}

    def data_facts(self) -> Mapping[str, Any]:
        """Return the origins of the questions and of the corpus, unless the options name one, and the version of the grading rules."""
        return {**self.facts, "grading_rules": RULES_VERSION}


def published(
    dataset: str,
    *,
    retriever: str = "bm25",
    corpus: str | None = None,
    retriever_url: str | None = None,
    retriever_timeout: float = 20.0,
    embedder: str | None = None,
    pages: bool = False,
    retrieval_cache: str | None = None,
    retrieval_cache_dir: str | None = None,
    top_k: int = 3,
    max_queries: int = 3,
    passage_chars: int = 1_000,
    max_turns: int = 8,
    max_calls: int = 6,
    max_reply_chars: int = 9_000,
    max_heard_chars: int = 36_000,
    train_items: int = 196,
    validation_items: int = 64,
    test_items: int = 64,
) -> SearchEnv:
    """Make an environment of published sets; for the arguments see `SearchEnv`. `dataset` is a key of `rows.ROWS`.

    Raises:
        UsageError: an option is invalid.
        DataError: a set is not in the data home, or damaged; names the command that restores it.
    """
    data = ROWS[dataset]
    stored = load_data(dataset, data)
    small = default_corpus(data, {"retriever": retriever, "corpus": corpus})
    passages = load(small, remake_command(dataset, small)) if small is not None and is_stored(small) else None
    sizes = Sizes(train_items, validation_items, test_items)
    served, facts = _published(dataset, stored[Split.TRAIN], stored[Split.TEST], sizes, passages)
    retrieval = {
        "retriever": retriever,
        "corpus": corpus if passages is None else str(passages.path),
        "retriever_url": retriever_url,
        "retriever_timeout": retriever_timeout,
        "embedder": embedder,
        "pages": pages,
        "retrieval_cache": retrieval_cache,
        "retrieval_cache_dir": retrieval_cache_dir,
    }
    limits = ToolLimits(max_turns, max_calls, max_reply_chars, max_heard_chars)
    lacking = corpus_complaint(dataset, small) if small is not None and passages is None else ""
    return SearchEnv(served, facts, retrieval, limits, top_k, max_queries, passage_chars, lacking)


@lru_cache(maxsize=32)
def _published(
    dataset: str, train: tuple[StoredData, ...], test: tuple[StoredData, ...], sizes: Sizes, corpus: StoredCorpus | None
) -> tuple[Served, Mapping[str, Any]]:
    """Build the splits once: a run makes an environment for every episode."""
    served = select(_by_name(train), _by_name(test), sizes, SEED)
    facts: dict[str, Any] = {"sets": [stored.facts() for stored in (*train, *test)]}
    if corpus is None:
        return served, facts
    if beyond := uncovered(served, corpus):
        raise UsageError(
            f"{dataset}: the corpus {corpus.manifest.corpus} holds no paragraphs for {beyond} of the questions that are asked for; "
            "lower train_items, validation_items or test_items, or name another with --corpus"
        )
    return served, {**facts, "corpus": corpus.facts()}


def _by_name(sets: Sequence[StoredData]) -> dict[str, Sequence[Any]]:
    return {stored.manifest.source: stored.items for stored in sets}
