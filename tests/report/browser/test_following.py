"""`view` from before a run begins until it has finished: what the page says of what lives and what does not."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from report_fixtures import add_step, evaluation_row, make_run, summary_of

from espl_bench.report.live_server import Viewer, WatchedRun
from espl_bench.runs import lock
from espl_bench.runs.run_dir import Log, RunDir


@pytest.fixture
def served(tmp_path) -> Iterator[tuple[Path, str]]:
    """A folder that does not exist yet, and where it is followed."""
    study = tmp_path / "study"
    with Viewer(WatchedRun([study], "later"), 0) as viewer:
        threading.Thread(target=viewer.serve_forever, daemon=True).start()
        yield study, viewer.url
        viewer.shutdown()


def test_a_page_waits_for_a_run_and_sees_it_live_stop_and_finish(open_page, served, shots):
    study, url = served
    page = open_page(url, width=1400)
    page.wait_for_selector(".notice:has-text('No run has begun there yet')")
    page.wait_for_selector("#live:has-text('waiting for a run')")
    page.screenshot(path=shots / "waiting-1400-light.png")
    run = RunDir(make_run(study / "run", steps=1, finished=False))
    page.evaluate("location.hash = '#/runs'")
    page.wait_for_selector("table.board .state.stopped")
    page.wait_for_selector("#live:has-text('nothing running')")
    with lock.held(run.path):
        page.wait_for_selector("table.board .state.running")
        assert "written" in page.text_content("table.board .state")
        page.wait_for_selector("#live:has-text('1 running')")
        add_step(run, 2)
        page.wait_for_selector("table.board td:has-text('2 of 4')")
        page.screenshot(path=shots / "running-1400-light.png")
    page.wait_for_selector("table.board .state.stopped")
    page.evaluate("location.hash = '#/run/run/progress'")
    page.wait_for_selector("h1 .state.stopped[title*='espl-bench resume continues it']")
    page.screenshot(path=shots / "stopped-1400-light.png")
    page.evaluate("location.hash = '#/leaderboard'")
    page.wait_for_selector(".notice:has-text('(stopped)')")
    run.append(Log.EVALUATIONS, evaluation_row(4, "test", 0.5))
    run.write_summary(summary_of())
    page.wait_for_selector("table.board th:has-text('espl')")


def test_a_run_page_asks_for_the_prompts_when_the_tree_is_opened(open_page, served):
    study, url = served
    make_run(study / "run")
    page = open_page(url)
    page.wait_for_selector("table.board")
    asked = lambda: [each for each in page.watch.requests if "/prompts/" in each]  # noqa: E731
    page.evaluate("location.hash = '#/run/run/progress'")
    page.wait_for_selector(".charts")
    assert asked() == []
    page.evaluate("location.hash = '#/run/run/tree'")
    page.wait_for_selector("#node-1")
    assert len(asked()) == 1
