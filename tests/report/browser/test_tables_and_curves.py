"""Tables and curves of many methods: everything is seen at the width of a laptop, scrolls visibly on a phone, and lines are told apart."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from cli_fixtures import make_study
from report_fixtures import spent_at, summary_of

from espl_bench.analysis.study import Study
from espl_bench.leaderboard.grouping import GroupEntry
from espl_bench.report.page_writer import MIB, build
from espl_bench.runs.summary import CurvePoint, Summary

METHODS = 23
LOOKS = """[...document.querySelectorAll(".legend li .switch[aria-pressed] svg")].map((each) => {
  const line = each.querySelector("line");
  const marker = each.lastElementChild;
  return [line.getAttribute("stroke"), line.getAttribute("stroke-dasharray"), marker.tagName + marker.getAttribute("points")].join(" ");
})"""
"""How each line of a legend looks."""


def learning(method: str, level: float, seed: int) -> Summary:
    rng = np.random.default_rng([seed, int(level * 1000)])
    points = itertools.product(range(0, 41, 4), ("validation", "test"))
    curve = tuple(
        CurvePoint(step=step, split=split, score=level * step / 40 + rng.uniform(0, 0.02), spent=spent_at(step)) for step, split in points
    )
    return summary_of(method, seed, (rng.binomial(4, level, 20) / 4).tolist(), curve=curve, steps=40)


@pytest.fixture(scope="module")
def many() -> list[GroupEntry]:
    """Twenty-three methods that learn, three seeds each, and the base."""
    names = [f"method_{chr(ord('a') + place)}" for place in range(METHODS)]
    entries = [GroupEntry(name, learning(name, 0.2 + 0.03 * place, seed)) for place, name in enumerate(names) for seed in (0, 1, 2)]
    return entries + [GroupEntry("base", summary_of("base", seed, (0.25,) * 20, steps=0)) for seed in (0, 1, 2)]


def write_page(folder: Path, entries: list[GroupEntry]) -> str:
    (folder / "report.html").write_bytes(build(Study(tuple(entries), (), ()), "a study", 25 * MIB).page)
    return f"file://{folder / 'report.html'}"


@pytest.fixture
def five(tmp_path) -> str:
    return write_page(tmp_path, [GroupEntry(each.method, each) for each in make_study(items=100, seeds=3)])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_five_methods_fit_with_every_column(open_page, five, shots, scheme):
    page = open_page(five, width=1400, scheme=scheme)
    page.wait_for_selector("table.board")
    assert page.evaluate("(([box]) => box.scrollWidth - box.clientWidth)(document.querySelectorAll('.sideways .scroll'))") == 0
    last = page.locator("table.board tbody tr:first-child td").last
    assert last.text_content() == "3.2 min" and page.locator("table.board thead th").count() == 18
    assert page.evaluate("(cell) => cell.getBoundingClientRect().right <= innerWidth", last.element_handle())
    assert not page.is_visible(".sideways .hint")
    page.screenshot(path=shots / f"five-methods-1400-{scheme}.png")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_table_that_does_not_fit_scrolls_and_says_so(open_page, five, shots, scheme):
    page = open_page(five, width=400, scheme=scheme)
    page.wait_for_selector(".sideways.after table.board")
    assert page.is_visible(".sideways .hint")
    assert page.evaluate("getComputedStyle(document.querySelector('.sideways'), '::after').opacity") == "1"
    page.screenshot(path=shots / f"five-methods-400-{scheme}.png")
    page.evaluate("document.querySelector('.sideways .scroll').scrollLeft = 1e6")
    page.wait_for_selector(".sideways.before:not(.after)")
    assert page.evaluate("getComputedStyle(document.querySelector('.sideways'), '::after').opacity") == "0"
    name = page.locator("table.board tbody th").first
    assert page.evaluate("(cell) => cell.getBoundingClientRect().left >= 0", name.element_handle()), "the method's name stays in sight"


def test_every_method_has_a_look_of_its_own(open_page, many, tmp_path):
    page = open_page(write_page(tmp_path, many) + "#/curves")
    page.wait_for_selector(".chart svg path.line")
    looks = page.evaluate(LOOKS)
    assert len(looks) == METHODS + 1 == len(set(looks))
    assert len({look.rsplit(" ", 1)[0] for look in looks}) == METHODS + 1, "colour and dash alone tell them apart"


def test_of_many_methods_the_best_are_drawn_and_the_legend_switches(open_page, many, tmp_path, shots):
    page = open_page(write_page(tmp_path, many) + "#/curves", width=1400)
    page.wait_for_selector(".chart svg path.line")
    drawn = lambda: sorted(page.eval_on_selector_all(".chart g[data-series]", "(all) => all.map((each) => each.dataset.series)"))  # noqa: E731
    assert len(drawn()) == 9 and "base" in drawn(), "the eight best and the reference"
    pressed = page.locator(".legend .switch[aria-pressed=true]").all_text_contents()
    assert sorted(pressed) == drawn()
    first = pressed[0]
    page.click(f".legend .switch:has-text('{first}')")
    assert first not in drawn()
    page.click(".legend .every >> text=all")
    assert len(drawn()) == METHODS + 1
    page.screenshot(path=shots / "curves-many-1400-light.png", full_page=True)
    page.click(".legend .every >> text=none")
    assert drawn() == []
    page.focus(f".legend .switch:has-text('{first}')")
    page.keyboard.press("Enter")
    assert drawn() == [first]
    page.check("#axis-tokens", force=True)
    page.wait_for_selector(".chart .axis:has-text('generated tokens')")
    assert drawn() == [first], "what was switched stays so"


def test_a_name_that_is_pointed_at_stands_out(open_page, many, tmp_path):
    page = open_page(write_page(tmp_path, many) + "#/curves")
    page.wait_for_selector(".chart svg path.line")
    page.hover(".legend .switch[aria-pressed=true] >> nth=1")
    assert page.locator(".chart g[data-series]:not(.faint)").count() == 1
    page.hover("h1")
    assert page.locator(".chart .faint").count() == 0


def test_each_seed_has_a_line(open_page, many, tmp_path, shots):
    page = open_page(write_page(tmp_path, many) + "#/curves")
    page.wait_for_selector(".chart svg path.line")
    assert page.locator(".seed").count() == 0 and page.locator("path.band").count() == 8
    page.check("#seeds-each", force=True)
    page.wait_for_selector(".seed")
    assert page.locator(".seed").count() == 8 * 3 and page.locator("path.band").count() == 0
    titles = page.locator(".seed title").all_text_contents()
    assert "method_w, seed 0" in titles and "method_w, seed 2" in titles
    page.check("#axis-seconds", force=True)
    page.wait_for_selector(".chart .axis:has-text('seconds')")
    assert page.locator(".seed").count() == 8 * 3
    page.screenshot(path=shots / "curves-seeds-1300-light.png", full_page=True)
