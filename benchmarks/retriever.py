"""The local BM25 index at size: seconds and peak memory to build it, memory and milliseconds per query to use it.

    python benchmarks/retriever.py [--passages 1000000] [--keep FOLDER]

Passages are 100 words from a vocabulary of 200,000 whose frequencies follow Zipf's law, with a fixed seed; the most frequent of them
are the stop words of English, as in any text, which the retriever leaves out of passages and queries alike. Building and querying
run in processes of their own, so that each peak is its own. Queries are 3 to 12 words drawn like the passages'.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from bm25s.stopwords import STOPWORDS_EN

WORDS, VOCABULARY, CHUNK = 100, 200_000, 10_000
FREQUENT = sorted(STOPWORDS_EN)


def words_of(numbers) -> str:
    """The words of some ranks from 1."""
    return " ".join(FREQUENT[number - 1] if number <= len(FREQUENT) else f"w{number:x}" for number in numbers)


def draw(rng, count: int):
    """Words by Zipf's law, by their ranks."""
    return np.exp(rng.random(count) * np.log(VOCABULARY)).astype(np.int64)


def write_corpus(path: Path, passages: int) -> None:
    """Passages as JSON lines."""
    rng = np.random.default_rng(0)
    with path.open("w") as file:
        for start in range(0, passages, CHUNK):
            size = min(CHUNK, passages - start)
            block = draw(rng, size * WORDS).reshape(size, WORDS)
            for row, numbers in enumerate(block, start=start):
                file.write(json.dumps({"id": str(row), "title": f"title {row}", "text": words_of(numbers)}) + "\n")


def peak_gib() -> float:
    """The largest this process has been."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def build(corpus: Path) -> None:
    """Build the index and tell what it took."""
    from espl_bench.retrieval.bm25 import Bm25Retriever

    started = time.perf_counter()
    Bm25Retriever.open(corpus)
    print(f"build: {time.perf_counter() - started:.0f} s, peak {peak_gib():.2f} GiB")


def query(corpus: Path) -> None:
    """Query the built index and tell what it took."""
    from espl_bench.retrieval.bm25 import Bm25Retriever

    started = time.perf_counter()
    retriever = Bm25Retriever.open(corpus)
    opened = time.perf_counter() - started
    rng = np.random.default_rng(1)
    seconds, cpu = [], []
    for length in rng.integers(3, 13, size=300):
        text = words_of(draw(rng, int(length)))
        began, used = time.perf_counter(), time.process_time()
        retriever.retrieve([text], 5)
        seconds.append(time.perf_counter() - began)
        cpu.append(time.process_time() - used)
    print(f"open: {opened:.1f} s (the corpus's hash included), then {peak_gib():.2f} GiB after 300 queries")
    for name, values in (("wall", seconds), ("CPU", cpu)):
        mean, median, p95 = np.mean(values[20:]) * 1e3, *(np.quantile(values[20:], [0.5, 0.95]) * 1e3)
        print(f"query, {name}: mean {mean:.1f} ms, median {median:.1f} ms, 95 % within {p95:.1f} ms")


def main() -> None:
    """Run both parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=1_000_000)
    parser.add_argument("--keep", type=Path, help="folder for corpus and index; default: a temporary one")
    parser.add_argument("--only", choices=("build", "query"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        corpus = folder / f"passages-{options.passages}.jsonl"
        if options.only:
            {"build": build, "query": query}[options.only](corpus)
            return
        if not corpus.exists():
            write_corpus(corpus, options.passages)
        print(f"{options.passages:,} passages of {WORDS} words, {corpus.stat().st_size / 2**20:,.0f} MiB")
        for part in ("build", "query"):
            command = [sys.executable, __file__, "--passages", str(options.passages), "--keep", str(folder), "--only", part]
            subprocess.run(command, check=True, env={**os.environ, "ESPL_BENCH_DATA": str(folder / "home")})


if __name__ == "__main__":
    main()
