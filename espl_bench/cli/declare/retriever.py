"""Declaration of the `retriever` commands. `cli/commands/retriever.py` implements them and is imported when one runs."""

from pathlib import Path
from typing import Annotated

import typer

from espl_bench.cli.group import CommandGroup
from espl_bench.cli.shared_options import AsJson

retriever_app = CommandGroup(help="Serve a local index to several runs, and query it.", no_args_is_help=True)

Corpus = Annotated[Path, typer.Option("--corpus", help="File of passages: .jsonl or .parquet with id, title and text.", metavar="FILE")]
Kind = Annotated[str, typer.Option("--retriever", help="bm25 or dense.", metavar="NAME")]
Embedder = Annotated[str | None, typer.Option("--embedder", help="sentence-transformers model, for dense.", metavar="NAME")]


@retriever_app.command()
def serve(
    corpus: Corpus,
    kind: Kind = "bm25",
    embedder: Embedder = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.", metavar="HOST")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="Port to listen on; 0: any free one.", metavar="N", min=0, max=65535)] = 8000,
) -> None:
    """Serve a local index over Search-R1's POST /retrieve until stopped."""
    from espl_bench.cli.commands import retriever as command

    command.serve(corpus, kind, embedder, host, port)


@retriever_app.command()
def search(
    query: Annotated[str, typer.Argument(metavar="QUERY")],
    corpus: Annotated[Path | None, typer.Option("--corpus", help="File of passages, for bm25 and dense.", metavar="FILE")] = None,
    kind: Annotated[str, typer.Option("--retriever", help="bm25, dense, http or ddgs.", metavar="NAME")] = "bm25",
    url: Annotated[str | None, typer.Option("--retriever-url", help="Address of an http retriever.", metavar="URL")] = None,
    embedder: Embedder = None,
    top_k: Annotated[int, typer.Option("--top-k", help="Number of passages.", metavar="N", min=1, max=100)] = 3,
    cache: Annotated[str | None, typer.Option("--retrieval-cache", help="off, record or replay.", metavar="MODE")] = None,
    as_json: AsJson = False,
) -> None:
    """Query a retriever once, as an episode would."""
    from espl_bench.cli.commands import retriever as command

    command.search(query, corpus, kind, url, embedder, top_k, cache, as_json)
