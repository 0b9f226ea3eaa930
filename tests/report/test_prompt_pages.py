"""Prompts of a run come in pieces: what is sent at first does not grow with them."""

import json
from pathlib import Path

import pytest
from long_runs import long_run
from report_fixtures import make_run

from espl_bench.analysis.study import gather
from espl_bench.report import prompt_pages
from espl_bench.report.live_server import WatchedRun, find
from espl_bench.report.page import encode
from espl_bench.report.payload import run_json
from espl_bench.report.prompt_pages import PIECE, PromptPages


@pytest.fixture
def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PromptPages:
    """A run of sixty-one prompts in pieces of twenty."""
    monkeypatch.setattr(prompt_pages, "PIECE", 20)
    [record] = gather([long_run(tmp_path / "run", "branches", 61)]).records
    return PromptPages(record)


def test_pieces_cover_all_prompts_once_in_order(pages):
    pieces = dict(pages.pieces())
    ids = [prompt["id"] for piece in pieces.values() for prompt in piece]
    assert ids == [prompt.id for prompt in pages.record.view.prompts] and list(pieces) == [0, 1, 2, 3]
    assert [piece[0]["id"] for piece in pieces.values()] == pages.index()["firsts"]
    assert (pages.index()["total"], pages.index()["last"]) == (len(ids), ids[-1])
    assert pages.piece(4) is None and pages.piece(-1) is None


def test_the_range_of_ratings_is_that_of_all_prompts(pages):
    every = [prompt["rating"]["mu"] for _, piece in pages.pieces() for prompt in piece]
    assert pages.index()["ratings"] == [min(every), max(every)]


def test_what_is_sent_at_first_does_not_hold_the_prompts(tmp_path):
    small, large = (gather([long_run(tmp_path / f"run-{size}", "siblings", size)]).records[0] for size in (50, 5 * PIECE))
    told = [len(encode(run_json(record))) for record in (small, large)]
    whole = sum(len(encode(piece)) for _, piece in PromptPages(large).pieces())
    assert told[1] - told[0] < whole / 20
    assert len(encode(PromptPages(large).piece(0))) < whole / 4


def test_a_run_without_prompts_has_no_piece(tmp_path):
    folder = make_run(tmp_path / "run", steps=0, finished=False)
    (folder / "population.jsonl").write_text("")
    (folder / "evaluations.jsonl").write_text("")
    watched = WatchedRun([folder], "t")
    assert find(watched, "/run/run")["prompts"] == {"total": 0, "piece": PIECE, "firsts": [], "last": None, "ratings": [0.0, 0.0]}
    assert find(watched, "/prompts/run/0") is None
    assert json.loads(encode(list(PromptPages(gather([folder]).records[0]).pieces()))) == []
