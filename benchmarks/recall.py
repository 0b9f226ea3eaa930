"""How often the local retriever finds the gold passages: `python benchmarks/recall.py --data FOLDER`.

The folder holds questions with known passages and the passages themselves, as JSON lines: nq_open_with_gold_passage (question,
gold_passage_id), hotpotqa_with_context (question, supporting_titles) and wiki_corpus_* (id, title, text). All passages are one corpus, so
each set's are distractors to the other. Prints recall at 1, 3, 5 and 10: of NQ, the gold passage is found; of HotpotQA, where an answer
needs two articles, one of them, and all of them; asked with the question, and, as a searcher may, with one query for each title.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

CORPORA = ("wiki_corpus_hotpotqa", "wiki_corpus_nq_gold")
DEPTHS = (1, 3, 5, 10)


def read(folder: Path, name: str) -> list[dict]:
    """The rows of a file."""
    return [json.loads(line) for line in (folder / f"{name}.jsonl").open()]


def share(hits: Iterable[bool]) -> float:
    """Of the truths among them."""
    listed = list(hits)
    return sum(listed) / len(listed)


def main() -> None:
    """Build the corpus, ask every question, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    folder = parser.parse_args().data
    from espl_bench.retrieval.bm25 import Bm25Retriever

    with tempfile.TemporaryDirectory() as temporary:
        os.environ["ESPL_BENCH_DATA"] = temporary
        corpus = Path(temporary) / "corpus.jsonl"
        passages = [row for name in CORPORA for row in read(folder, name)]
        corpus.write_text("".join(json.dumps({key: row[key] for key in ("id", "title", "text")}) + "\n" for row in passages))
        retriever = Bm25Retriever.open(corpus)
        titles = {row["id"]: row["title"] for row in passages}
        nq, hotpotqa = read(folder, "nq_open_with_gold_passage"), read(folder, "hotpotqa_with_context")
        asked = {row["question"]: [p.id for p in retriever.retrieve([row["question"]], DEPTHS[-1])[0].passages] for row in [*nq, *hotpotqa]}
        by_title = {title: [p.title for p in found.passages] for title, found in _by_title(retriever, nq, hotpotqa, titles)}
        print(f"{len(passages):,} passages, {len(nq):,} questions of NQ, {len(hotpotqa):,} of HotpotQA; {retriever.identity[:32]}…")
        print("| recall at | " + " | ".join(map(str, DEPTHS)) + " |\n| --- |" + " ---: |" * len(DEPTHS))
        rows = {
            "NQ: the gold passage, by the question": lambda k: share(row["gold_passage_id"] in asked[row["question"]][:k] for row in nq),
            "HotpotQA: one gold article, by the question": lambda k: share(any(_found(row, asked, titles, k)) for row in hotpotqa),
            "HotpotQA: all gold articles, by the question": lambda k: share(all(_found(row, asked, titles, k)) for row in hotpotqa),
            "NQ: the gold article, by its title": lambda k: share(
                titles[row["gold_passage_id"]] in by_title[titles[row["gold_passage_id"]]][:k] for row in nq
            ),
            "HotpotQA: all gold articles, by their titles": lambda k: share(
                all(title in by_title[title][:k] for title in row["supporting_titles"]) for row in hotpotqa
            ),
        }
        for name, at in rows.items():
            print(f"| {name} | " + " | ".join(f"{at(k):.1%}" for k in DEPTHS) + " |")


def _found(row: dict, asked: dict[str, list[str]], titles: dict[str, str], k: int) -> list[bool]:
    there = {titles[passage] for passage in asked[row["question"]][:k]}
    return [title in there for title in row["supporting_titles"]]


def _by_title(retriever, nq, hotpotqa, titles):
    wanted = {titles[row["gold_passage_id"]] for row in nq} | {title for row in hotpotqa for title in row["supporting_titles"]}
    for title in sorted(wanted):
        yield title, retriever.retrieve([title], DEPTHS[-1])[0]


if __name__ == "__main__":
    main()
