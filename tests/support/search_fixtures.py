"""The searching environments on real questions and passages, imported as a user would; and policies that are scripts."""

import json
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest
from chat_models import make_chat
from data_fixtures import TEST_DATA, write_jsonl

from espl_bench.cli.app import invoke
from espl_bench.engines.chat import HfChat
from espl_bench.types import Completion, StopReason

PASSAGES = ("wiki_corpus_hotpotqa", "wiki_corpus_nq_gold")


def read(name: str) -> list[dict]:
    return [json.loads(line) for line in (TEST_DATA / f"{name}.jsonl").open()]


@cache
def questions() -> dict[str, list[dict]]:
    """All questions with known passages, by where they are from."""
    return {"nq": read("nq_open_with_gold_passage"), "hotpotqa": read("hotpotqa_with_context")}


def import_questions(folder: Path) -> Path:
    """Write corpus and splits into a folder, import them into the data home, and return the corpus. Every other question is tested on."""
    corpus = write_jsonl(
        folder / "corpus.jsonl", ({key: row[key] for key in ("id", "title", "text")} for name in PASSAGES for row in read(name))
    )
    for source, rows in questions().items():
        short = "nq-open" if source == "nq" else "hotpotqa"
        for split, part, name in (("train", 0, f"{short}-train"), ("test", 1, f"{short}-dev")):
            file = write_jsonl(folder / f"{source}-{split}.jsonl", rows[part::2])
            command = ["data", "import", "nq-hotpotqa", "--split", split, "--source", name, "--from", str(file), "--json"]
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("ESPL_BENCH_DATA", str(folder / "home"))
                assert invoke(command) == 0
    return corpus


def search_call(*queries: str) -> str:
    return f"<tool_call>{json.dumps({'name': 'search', 'arguments': {'query_list': list(queries)}})}</tool_call>"


TITLE = re.compile(r"^\[\d+\] (.*)$", re.MULTILINE)


@dataclass
class Oracle:
    """Searches for the titles that hold the answer, and answers with the truth if the passages came back; else it gives up."""

    titles: dict[str, tuple[str, ...]]
    answers: dict[str, str]
    chat: HfChat = field(default_factory=lambda: make_chat("qwen3"))

    async def sample(self, requests):
        return [self._say(request) for request in requests]

    def _say(self, request):
        [question] = [text for text in self.titles if request.messages[1].content.startswith(text + "\n")]
        if len(request.messages) == 2:
            text = search_call(*self.titles[question])
        else:
            found = set(TITLE.findall(request.messages[-1].content))
            text = f"Answer: {self.answers[question]}" if found & set(self.titles[question]) else "I could not find it."
        ids = (*self.chat._ids(text), *self.chat.eos_ids)
        return Completion(ids, (-0.5,) * len(ids), text, StopReason.STOP)
