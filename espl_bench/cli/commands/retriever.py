"""`retriever`: serve a local index, or query a retriever once."""

import json
import signal
import sys
from dataclasses import asdict
from pathlib import Path

from espl_bench.cli.console import out_console, write, write_json
from espl_bench.errors import EsplError, UsageError, unknown
from espl_bench.retrieval.http_server import RetrieverServer
from espl_bench.retrieval.open_retriever import LOCAL, RetrieverOptions, open_retriever
from espl_bench.utils.formatting import plain


def serve(corpus: Path, kind: str, embedder: str | None, host: str, port: int) -> None:
    """Serve until Ctrl-C or SIGTERM. Raises EsplError if the index or the address is not available."""
    if kind not in LOCAL:
        raise unknown("local retriever", kind, LOCAL)
    retriever = open_retriever(RetrieverOptions(kind, corpus=str(corpus), embedder=embedder))
    try:
        server = RetrieverServer((host, port), retriever)
    except OSError as error:
        raise EsplError(f"cannot listen on {host}:{port} ({error.strerror or error}); choose another --port") from error
    with server:
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
        where = f"http://{host}:{server.server_address[1]}"
        write(f"serving {retriever.identity}\nuse it with: --retriever http --retriever-url {where}\n")
        sys.stdout.flush()
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            write("stopped\n", err=True)


def search(
    query: str, corpus: Path | None, kind: str, url: str | None, embedder: str | None, top_k: int, cache: str | None, as_json: bool
) -> None:
    """Print the passages found for a query. Raises EsplError."""
    if not query.strip():
        raise UsageError("the query is empty")
    named = None if corpus is None else str(corpus)
    options = RetrieverOptions(kind, corpus=named, retriever_url=url, embedder=embedder, retrieval_cache=cache)
    [result] = open_retriever(options).retrieve([query], top_k)
    if as_json:
        write_json(json.dumps(asdict(result), ensure_ascii=False) + "\n")
        return
    console = out_console()
    for rank, passage in enumerate(result.passages, start=1):
        console.print(plain(f"{rank}. {passage.title} ({passage.id}, {passage.score:.2f})", "bold"))
        console.print(plain(passage.text))
    console.print(plain(f"{len(result.passages)} found, {result.retrieved_utc}", "dim"))
