"""Two runs side by side, what a run says of itself, and what colours of tokens mean."""

from pathlib import Path

import pytest
from report_fixtures import make_run

from espl_bench.analysis.study import gather
from espl_bench.report import prompt_pages
from espl_bench.report.page_writer import MIB, build
from espl_bench.runs.population_events import BornEvent
from espl_bench.runs.run_dir import Log, RunDir


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Two finished runs that differ in their learning rate, and one that was left."""
    make_run(tmp_path / "study" / "first")
    make_run(tmp_path / "study" / "second", seed=1, lr=1e-3)
    born = BornEvent(4, 3, "mutation", (2,), ("fep sum of both digits", "wug triple"), 25.0, 8.0, ())
    RunDir(tmp_path / "study" / "second").append(Log.POPULATION, born.encode())
    make_run(tmp_path / "study" / "left", seed=2, steps=2, finished=False)
    return write_page(tmp_path)


def write_page(folder: Path) -> str:
    (folder / "report.html").write_bytes(build(gather([folder / "study"]), "a study", 25 * MIB).page)
    return f"file://{folder / 'report.html'}"


@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (1400, "dark"), (400, "light"), (400, "dark")])
def test_two_runs_stand_side_by_side(open_page, url, shots, width, scheme):
    page = open_page(url + "#/compare?a=first&b=second", width=width, scheme=scheme)
    page.wait_for_selector("section[aria-label='Prompts'] .principles")
    facts = page.locator("table[aria-label=Result] tbody tr")
    rows = {row.locator("th").text_content(): row.locator("td").all_text_contents() for row in facts.all()}
    assert rows["seed"] == ["0", "1"] and rows["method"][0].startswith("espl")
    different = page.locator("table[aria-label='Configured differently'] tbody tr").all_text_contents()
    assert any(row.startswith("lr") and "0.001" in row for row in different)
    assert any(row.startswith("seed") for row in different)
    assert page.locator("section[aria-label=Curves] .chart").count() >= 3
    assert page.locator("section[aria-label=Curves] .chart").first.locator(".legend .switch").count() == 2
    assert page.locator("section[aria-label=Outcomes] .chart").count() == 2
    assert page.locator("section[aria-label=Prompts] .principles").count() == 2
    assert page.locator("section[aria-label=Prompts] .diff .same").count() >= 1
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    page.screenshot(path=shots / f"two-runs-{width}-{scheme}.png", full_page=True)


def test_the_runs_are_chosen_and_swapped(open_page, url):
    page = open_page(url + "#/run/first/progress")
    page.wait_for_selector("#tab-compare")
    page.click("#tab-compare")
    page.wait_for_selector("table[aria-label=Result]")
    assert page.input_value("#compare-a") == "first" and page.input_value("#compare-b") != "first"
    page.select_option("#compare-b", "second")
    page.wait_for_selector("table[aria-label=Result] thead th:nth-child(3):has-text('second')")
    page.click("text=swap")
    page.wait_for_selector("table[aria-label=Result] thead th:nth-child(2):has-text('second')")
    assert "a=second&b=first" in page.url
    page.select_option("#compare-b", "left")
    page.wait_for_selector("table[aria-label=Result] thead th:nth-child(3):has-text('left')")
    assert page.locator("table[aria-label=Result] .state").all_text_contents() == ["finished", "stopped"]


def test_one_run_has_no_other(open_page, tmp_path):
    make_run(tmp_path / "study" / "only")
    page = open_page(write_page(tmp_path) + "#/compare")
    page.wait_for_selector(".notice:has-text('takes two runs')")
    assert page.locator("nav >> text=Two runs").count() == 0


def test_a_run_names_its_method_and_whether_it_lives(open_page, url, shots):
    page = open_page(url + "#/run/second/progress", width=1400)
    page.wait_for_selector("h1:has-text('espl')")
    assert "second · espl" in page.text_content("h1").replace("  ", " ")
    assert page.locator("h1 .state").count() == 0
    page.evaluate("location.hash = '#/run/left/progress'")
    page.wait_for_selector("h1 .state.stopped:has-text('stopped')")
    page.evaluate("location.hash = '#/runs'")
    page.wait_for_selector("table.board .state.stopped")
    assert sorted(page.locator("table.board .state").all_text_contents()) == ["finished", "finished", "stopped"]
    page.screenshot(path=shots / "runs-1400-light.png")


@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (1400, "dark"), (400, "light"), (400, "dark")])
def test_colours_of_tokens_have_a_scale(open_page, url, shots, width, scheme):
    page = open_page(url + "#/run/first/rollouts?split=train&at=0", width=width, scheme=scheme)
    page.wait_for_selector("#rollout-detail .turn")
    assert page.locator("#colour-scale").count() == 0
    page.check("#colouring-surprisal", force=True)
    steps = page.locator("#colour-scale .step").all_text_contents()
    assert steps == ["0 1", "−1 0.37", "−2 0.14", "−3 0.05", "−4 0.02"]
    ground = "(nodes) => nodes.map((each) => getComputedStyle(each).backgroundColor)"
    grounds = page.eval_on_selector_all("#colour-scale .step", ground)
    assert len(set(grounds)) == 5
    assert grounds[4] == page.eval_on_selector_all(".turn .token", ground)[4], "a token of −5 has the ground of −4 and below"
    page.screenshot(path=shots / f"token-colours-{width}-{scheme}.png", full_page=True)
    page.check("#colouring-advantage", force=True)
    assert page.locator("#colour-scale .step").all_text_contents() == ["−1", "−0.5", "0", "+0.5", "+1"]


@pytest.fixture
def long(tmp_path, monkeypatch) -> str:
    """A run of seven prompts in pieces of three, each the child of the one before."""
    monkeypatch.setattr(prompt_pages, "PIECE", 3)
    run = RunDir(make_run(tmp_path / "study" / "long"))
    for key in range(3, 7):
        run.append(Log.POPULATION, BornEvent(4, key, "mutation", (key - 1,), (f"wug rule {key}",), 25.0, 8.0, ()).encode())
    return write_page(tmp_path)


def test_a_tree_of_many_prompts_comes_in_pieces(open_page, long, shots):
    page = open_page(long + "#/run/long/tree", width=1400)
    page.wait_for_selector("#node-1[aria-selected=true]")
    assert page.locator(".node").count() == 3
    assert page.text_content("#piece").startswith("prompts #0 to #2 of 7")
    page.click("text=newer →")
    page.wait_for_selector("#node-3[aria-selected=true]")
    page.wait_for_selector(".panel h2:has-text('#3')")
    assert page.locator(".node").count() == 3 and page.locator("path.edge.outside").count() == 1
    assert page.locator(".diff").count() == 1, "the difference to a parent of another piece"
    page.screenshot(path=shots / "tree-piece-1400-light.png")
    page.focus("#node-3")
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector("#node-2[aria-selected=true]")
    page.wait_for_function("document.activeElement.id === 'node-2'")
    page.keyboard.press("End")
    page.wait_for_selector("#node-6[aria-selected=true]")
    page.fill("#go-to-prompt", "4")
    page.keyboard.press("Enter")
    page.wait_for_selector("#node-4[aria-selected=true]")
    page.fill("#find-prompt", "RULE 6")
    page.keyboard.press("Enter")
    page.wait_for_selector("#node-6[aria-selected=true]")
    page.fill("#find-prompt", "no such words")
    page.keyboard.press("Enter")
    page.wait_for_selector("#status:has-text('no prompt holds these words')")


def test_a_rollout_finds_its_prompt_in_any_piece(open_page, long):
    page = open_page(long + "#/run/long/rollouts?split=train&prompt=1")
    page.wait_for_selector("#rollout-detail summary:has-text('system prompt #1')")
