"""The page as a person uses it: sort, filter, follow lines of descent, read rollouts, with the pointer and with keys alone."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from checked import present
from cli_fixtures import make_study
from report_fixtures import EVENTS, add_step, evaluation_row, group_rows, make_run, summary_of

from espl_bench.analysis.study import Study, gather
from espl_bench.leaderboard.grouping import GroupEntry
from espl_bench.report.live_server import Viewer, WatchedRun
from espl_bench.report.page_writer import MIB, build
from espl_bench.runs.run_dir import Log, RunDir

CONTROLS = ("button", "link", "radio", "checkbox", "textbox", "searchbox", "spinbutton", "combobox", "listbox", "option", "application")
NAMED = frozenset((*CONTROLS, "img", "table", "region", "navigation", "form", "main"))
"""Roles that must have a name."""


@pytest.fixture(scope="module")
def study_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    for seed in (0, 1):
        make_run(folder / f"espl-s{seed}", seed=seed)
    return folder


def write_report(folder: Path, study: Study, limit: int = 25 * MIB) -> str:
    made = build(study, "a study", limit)
    (folder / "report.html").write_bytes(made.page)
    return f"file://{folder / 'report.html'}"


@pytest.fixture
def url(tmp_path, study_folder) -> str:
    return write_report(tmp_path, gather([study_folder]))


def texts(page, selector: str) -> list[str]:
    return page.locator(selector).all_text_contents()


def go(page, place: str, until: str) -> None:
    page.evaluate("(place) => { location.hash = place; }", place)
    page.wait_for_selector(until)


def unnamed(page) -> list[str]:
    """Roles of what a screen reader would meet without a name."""
    nodes = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    met = [(node["role"]["value"], node.get("name", {}).get("value")) for node in nodes if not node.get("ignored")]
    return [role for role, name in met if role in NAMED and not name]


def test_tables_sort_by_every_column_and_say_so(open_page, tmp_path):
    page = open_page(write_report(tmp_path, Study(tuple(GroupEntry(each.method, each) for each in make_study(items=20, seeds=2)), (), ())))
    scores = lambda: [float(text.strip(" ≈\u2007")) for text in texts(page, "table.board tbody td:nth-child(2)")]  # noqa: E731
    assert scores() == sorted(scores(), reverse=True)
    page.click("#test-0-sort-score")
    assert scores() == sorted(scores())
    assert page.get_attribute("th:has(#test-0-sort-score)", "aria-sort") == "ascending"
    page.click("#test-0-sort-method")
    assert texts(page, "table.board tbody th") == sorted(texts(page, "table.board tbody th"))
    for button in page.locator("table.board thead button").all():
        button.click()
        assert page.locator("table.board tbody tr").count() == 5
    page.click("#test-0-sort-gap")
    assert texts(page, "table.board tbody tr:last-child th") == ["base"], "the reference has no difference and stands last"
    page.click("#test-0-sort-gap")
    assert texts(page, "table.board tbody tr:last-child th") == ["base"]
    assert page.evaluate("document.activeElement.id") == "test-0-sort-gap", "the focus stays where it was"


def test_a_control_stands_in_the_table_without_a_rank(open_page, tmp_path):
    runs = make_study(items=20, seeds=2)
    controls = [run.model_copy(update={"control": "random-reward", "run_id": f"c{run.seed}"}) for run in runs if run.method == "espl"]
    page = open_page(write_report(tmp_path, Study(tuple(GroupEntry(each.row, each) for each in (*runs, *controls)), (), ())))
    ranks = dict(zip(texts(page, "table.board tbody th"), texts(page, "table.board tbody td:nth-child(7)"), strict=True))
    assert ranks["espl (random-reward)"] == "–" and all(rank != "–" for row, rank in ranks.items() if row != "espl (random-reward)")
    for _ in range(2):
        page.click("#test-0-sort-rank")
        assert texts(page, "table.board tbody tr:last-child th") == ["espl (random-reward)"]


def test_the_budget_switch_shows_scores_at_equal_budget(open_page, tmp_path):
    page = open_page(write_report(tmp_path, Study(tuple(GroupEntry(each.method, each) for each in make_study(items=20, seeds=2)), (), ())))
    page.check("#budget-rollouts", force=True)
    page.wait_for_selector("text=At 6.00 k training rollouts")
    assert page.locator("table.board tbody tr").count() == 5
    page.check("#budget-seconds", force=True)
    page.wait_for_selector("text=of iterations, reflections included")


def test_curves_switch_axis_and_split_and_read_out_with_keys(open_page, url):
    page = open_page(url + "#/curves")
    page.wait_for_selector(".chart svg path.line")
    page.check("#axis-seconds", force=True)
    page.check("#split-test", force=True)
    page.wait_for_selector(".chart .axis:has-text('seconds')")
    page.focus(".chart .plot")
    page.keyboard.press("ArrowRight")
    assert "espl" in page.text_content("#status")
    assert texts(page, ".legend .reading")[0] != ""
    page.click(".chart summary")
    assert page.locator(".chart table.values tbody tr").count() > 2


def test_a_click_in_the_tree_shows_prompt_diff_evidence_rating_and_rollouts(open_page, url):
    page = open_page(url + "#/run/espl-s0/tree")
    page.wait_for_selector("#node-2")
    assert page.locator(".node").count() == 3
    assert page.locator(".tree path.edge.crossover").count() == 1 and page.locator(".tree path.edge.other").count() == 1
    page.click("#node-2")
    page.wait_for_selector(".panel h2:has-text('#2')")
    assert texts(page, ".panel > .principles .said") == ["fep sum of both digits", "wug double"]
    assert page.locator(".diff").count() == 2, "one difference to each parent"
    against = page.locator(".diff").nth(1)
    reworded = against.locator("li.changed")
    assert "".join(reworded.locator("del").all_text_contents()) == "the"
    assert "".join(reworded.locator("ins").all_text_contents()) == "both"
    assert against.locator("li.gone .said").all_text_contents() == ["dax larger"]
    assert against.locator("li.new .said").all_text_contents() == ["wug double"]
    assert page.locator(".evidence li").count() == 1
    assert page.locator(".panel .chart").count() == 2
    page.click("#node-1")
    page.click("text=rollouts under #1")
    page.wait_for_selector("#found-count:has-text('25 of 57')")


def test_the_tree_is_walked_with_arrow_keys(open_page, url):
    page = open_page(url + "#/run/espl-s0/tree?prompt=0")
    page.wait_for_selector("#node-0[aria-selected=true]")
    page.focus("#node-0")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#node-1[aria-selected=true]")
    assert page.evaluate("document.activeElement.id") == "node-1"
    page.keyboard.press("End")
    page.wait_for_selector(".panel h2:has-text('#2')")
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector("#node-0[aria-selected=true]")
    assert "prompt=0" in page.url
    page.fill("#find-prompt", "WUG")
    page.keyboard.press("Enter")
    page.wait_for_selector("#node-2[aria-selected=true]")


def test_rollouts_are_filtered_by_step_prompt_problem_and_outcome(open_page, url):
    page = open_page(url + "#/run/espl-s0/rollouts")
    count = lambda told: page.wait_for_selector(f"#found-count:has-text('{told} of 57')")  # noqa: E731
    count(57)
    page.select_option("#filter-split", "train")
    count(56)
    page.check("#outcome-correct")
    count(14)
    page.fill("#filter-from", "2")
    page.fill("#filter-to", "3")
    page.keyboard.press("Tab")
    count(8)
    page.select_option("#filter-prompt", "1")
    count(4)
    page.fill("#filter-problem", "train/1")
    count(2)
    page.reload()
    count(2)
    assert page.is_checked("#outcome-correct"), "the address keeps the filters"
    page.wait_for_selector(".row .c7:has-text('dax larger')")
    page.wait_for_selector("#rollout-detail h2:has-text('train/12')")


def test_a_rollout_shows_what_each_token_was_worth(open_page, url):
    page = open_page(url + "#/run/espl-s0/rollouts?split=train")
    page.wait_for_selector("#rollout-detail .turn")
    assert texts(page, ".turn .token") == []
    page.check("#colouring-surprisal", force=True)
    tokens = texts(page, ".turn .token")
    assert tokens == ["dax ", "larger ", "1 ", "answer ", "0"]
    assert page.locator(".token").nth(4).get_attribute("title").startswith("log p = −5.00")
    page.check("#colouring-advantage", force=True)
    assert page.locator(".turn .worth").get_attribute("title").startswith("advantage 0.75")
    page.focus("#rollout-list")
    page.keyboard.press("ArrowDown")
    page.wait_for_selector(".turn .worth.less[title^='advantage −0.25']")
    assert page.get_attribute("#rollout-list", "aria-activedescendant") == "option-1"


def test_thinking_calls_and_answers_are_folded(open_page, tmp_path):
    folder = make_run(tmp_path / "run", steps=1)
    said = '<think>2 + 2</think>I look it up. <tool_call>{"name": "search"}</tool_call>'
    row = group_rows(1, (1.0,), 0)[0] | {
        "turns": [said, "4"],
        "lengths": [[], []],
        "surprisals": [[], []],
        "heard": [[{"tool": "search", "text": "page: 4"}]],
    }
    RunDir(folder).write_rollouts(1, [row])
    page = open_page(write_report(tmp_path, gather([folder])) + "#/run/run/rollouts?split=train")
    page.wait_for_selector("#rollout-detail .turn")
    assert texts(page, "#rollout-detail .turn summary") == ["thinking, 20 characters", "tool call, 41 characters"]
    assert page.locator("#rollout-detail summary:has-text('search answers')").count() == 1
    assert not page.is_visible(".think") and not page.is_visible(".call") and not page.is_visible(".reply")
    page.click("#rollout-detail summary:has-text('thinking')")
    assert page.is_visible(".think")
    assert page.is_disabled("#colouring-surprisal")


@pytest.fixture
def big(tmp_path) -> Path:
    """A run of ten thousand rollouts."""
    folder = make_run(tmp_path / "big", steps=4)
    run = RunDir(folder)
    for step in range(1, 5):
        run.write_rollouts(step, [row for problem in range(500) for row in group_rows(problem, (1.0, 0.0, 0.0, 0.0, 0.0), 0)])
    return folder


def test_ten_thousand_rollouts_scroll_without_ten_thousand_rows(open_page, big, tmp_path):
    page = open_page(write_report(tmp_path, gather([big])) + "#/run/big/rollouts")
    page.wait_for_selector("#found-count:has-text('10,001 of 10,001')")
    assert page.locator(".list .row").count() < 60
    page.evaluate("document.querySelector('#rollout-list').scrollTop = 5000 * 34")
    page.wait_for_selector("#option-5000 .c7:has-text('dax larger')")
    assert page.locator(".list .row").count() < 60
    page.focus("#rollout-list")
    page.keyboard.press("End")
    page.wait_for_selector("#option-10000[aria-selected=true]")
    page.wait_for_selector("#rollout-detail h2:has-text('test/7')")


def test_a_page_that_keeps_a_share_says_so(open_page, big, tmp_path):
    url = write_report(tmp_path, gather([big]), limit=270 * 1024)
    assert (tmp_path / "report.html").stat().st_size <= 270 * 1024
    page = open_page(url + "#/runs")
    page.wait_for_selector(".notice:has-text('of 10,001 rollouts')")
    go(page, "#/run/big/rollouts", "#found-count:has-text('whole groups, evenly spread')")


VIEWS = {
    "leaderboard": "table.board",
    "curves": ".chart svg",
    "runs": "table.board",
    "run/espl-s0/progress": ".chart svg",
    "run/espl-s0/tree": "#node-1",
    "run/espl-s0/rollouts": ".turn",
    "run/espl-s0/card": ".values",
    "compare": "section[aria-label=Prompts]",
}
"""Where each is, and what is there once it is drawn."""


@pytest.mark.parametrize(("width", "scheme"), [(1300, "light"), (1300, "dark"), (390, "light"), (390, "dark")])
def test_every_view_fits_has_names_and_can_be_looked_at(open_page, url, shots, width, scheme):
    page = open_page(url, width=width, scheme=scheme)
    views = VIEWS | ({"run/espl-s0/rollouts": "#option-0"} if width < 600 else {})
    for view, until in views.items():
        go(page, f"#/{view}", until)
        page.wait_for_timeout(150)
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), (
            f"{view} is wider than the window"
        )
        assert unnamed(page) == [], view
        page.screenshot(path=shots / f"{view.replace('/', '-')}-{width}-{scheme}.png")


def test_everything_is_reached_with_the_tab_key(open_page, url):
    page = open_page(url + "#/run/espl-s0/tree")
    page.wait_for_selector("#node-1")
    met = []
    for _ in range(40):
        page.keyboard.press("Tab")
        met.append(page.evaluate("document.activeElement.id || document.activeElement.textContent.slice(0, 20)"))
    for wanted in ("skip", "theme-auto", "tab-tree", "tab-rollouts", "find-prompt"):
        assert wanted in met
    assert sum(name.startswith("node-") for name in met) >= 1
    page.focus("#skip")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_the_theme_is_chosen_and_kept(open_page, url):
    page = open_page(url)
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.check("#theme-dark", force=True)
    dark = page.evaluate(ground)
    assert light != dark
    page.reload()
    assert page.evaluate(ground) == dark


@pytest.fixture
def served(tmp_path) -> Iterator[tuple[Path, str]]:
    """A run that has made two of four steps, and where it is followed."""
    folder = make_run(tmp_path / "live", steps=2, finished=False)
    with Viewer(WatchedRun([tmp_path], "live"), 0) as viewer:
        threading.Thread(target=viewer.serve_forever, daemon=True).start()
        yield folder, viewer.url
        viewer.shutdown()


def test_view_follows_a_run_live(open_page, served):
    folder, url = served
    page = open_page(url + "#/runs")
    page.wait_for_selector("table.board td:has-text('2 of 4')")
    go(page, "#/run/live/tree", "#node-1")
    assert page.locator(".node").count() == 2
    run = RunDir(folder)
    for event in EVENTS:
        if event.step == 3:
            run.append(Log.POPULATION, event.encode())
    add_step(run, 3)
    page.wait_for_selector("#node-2")
    go(page, "#/run/live/rollouts?from=3", "#found-count:has-text('16 of 41')")
    go(page, "#/leaderboard", ".notice:has-text('No run has finished yet')")
    run.append(Log.EVALUATIONS, evaluation_row(4, "test", 0.5))
    run.write_summary(summary_of())
    page.wait_for_selector("table.board th:has-text('espl')")
    assert {url.rsplit(":", 1)[1].partition("/")[0] for url in page.watch.requests} == {url.rsplit(":", 1)[1].partition("/")[0]}


def test_view_says_when_its_server_was_stopped(open_page, tmp_path):
    make_run(tmp_path / "run")
    command = [sys.executable, "-m", "espl_bench", "view", str(tmp_path)]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it, and so would we
    ) as viewer:
        try:
            page = open_page(present(viewer.stdout).readline().split()[0], strict=False)
            page.wait_for_selector("table.board")
            viewer.send_signal(signal.SIGINT)
            assert viewer.wait(20) == 130
        finally:
            viewer.kill()
    page.wait_for_selector("#live.lost")
    assert page.locator("table.board").count() == 1, "what was there stays"
