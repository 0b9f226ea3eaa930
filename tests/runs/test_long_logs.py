"""A log of very many prompts, principles, rollouts or evaluations is shown in time that grows with it, and no faster."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from long_runs import OTHERS, POPULATIONS, lines_of, long_run
from report_fixtures import make_run

from espl_bench.analysis import lineage_layout, prompt_length, rating_history
from espl_bench.analysis.study import gather
from espl_bench.cli.app import invoke
from espl_bench.cli.commands import show
from espl_bench.plots import tree
from espl_bench.plots.kinds import KINDS, PlotChoices
from espl_bench.plots.style import drawing
from espl_bench.report.live_server import WatchedRun, find
from espl_bench.runs.population_events import BornEvent
from espl_bench.runs.view import children, replay

SIZES = (60, 120, 240)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds that these sizes exceed as a log of a hundred thousand exceeds the real ones."""
    monkeypatch.setattr(lineage_layout, "TRIED", 5)
    monkeypatch.setattr(prompt_length, "COMPARED", 5)
    monkeypatch.setattr(rating_history, "PAIRED", 5)
    monkeypatch.setattr(tree, "DRAWN", 20)
    monkeypatch.setattr(tree, "EDGES", 80)


def views(run: Path) -> None:
    """Show a run in every way that draws on its logs."""
    assert invoke(["report", str(run), "--out", str(run.parent / "report.html")]) == 0
    for options in (["--tree"], ["--prompts"], ["--json"], []):
        assert invoke(["show", str(run), *options]) == 0
    assert invoke(["table", str(run), "--match", "rollouts"]) == 0
    watched = WatchedRun([run], "title")
    assert find(watched, f"/run/{run.name}") and find(watched, f"/prompts/{run.name}/0")


def draw(run: Path) -> None:
    study = gather([run])
    with drawing():
        for name in ("tree", "ratings", "prompts"):
            list(KINDS[name].draw(study, PlotChoices()))


def growth(read: Callable[[Path], object], folder: Path, kind: str) -> float:
    """How much more the last doubling cost than the one before: 2 if the work grows with the size, 4 if with its square."""
    read(make_run(folder / "imported"))
    runs = [long_run(folder / f"{kind}-{n}", kind, n) for n in SIZES]
    first, second, third = (lines_of(partial(read, run)) for run in runs)
    return (third - second) / max(1, second - first)


@pytest.mark.parametrize("kind", [*POPULATIONS, *OTHERS])
def test_a_run_is_shown_in_time_that_grows_with_its_logs(kind: str, few: None, tmp_path: Path):
    assert growth(views, tmp_path, kind) < 2.7


@pytest.mark.parametrize("kind", POPULATIONS)
def test_a_run_is_drawn_in_time_that_grows_with_its_logs(kind: str, few: None, tmp_path: Path):
    assert growth(draw, tmp_path, kind) < 2.7


def test_of_very_many_prompts_the_newest_are_printed_and_all_on_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(show, "MOST_PROMPTS", 20)
    run = long_run(tmp_path / "run", "living", 60)

    def told(*options: str) -> tuple[str, str]:
        assert invoke(["show", str(run), *options]) == 0
        return capsys.readouterr()

    def shown(*options: str) -> str:
        return told(*options)[0]

    assert shown("--prompts").startswith("the newest 20 of 60 prompts; --all prints all")
    assert shown("--prompts").count("step 1, rating") == 20
    assert shown("--prompts", "--all").count(", rating") == 60
    assert "best rated (mu - 2 sigma) first; the first 20, --all prints all" in shown() and shown().count("mutation of #0") == 19
    assert shown("--tree") == "lineage: 60 prompts; --tree --all draws them\n"
    assert shown("--tree", "--all").count("mutation of #0") == 59
    out, err = told("--json")
    some, whole = json.loads(out), json.loads(shown("--json", "--all"))
    assert "the newest 20 of 60 prompts; --all prints all" in err
    assert (some["older_prompts"], whole["older_prompts"]) == (40, 0)
    assert len(whole["prompts"]) == 60 and some["prompts"] == whole["prompts"][-20:]


class Counted(int):
    """A prompt's id that counts how often it is compared."""

    compared = 0

    def __eq__(self, other: object) -> bool:
        Counted.compared += 1
        return int(self) == other

    __hash__ = int.__hash__


def test_living_prompts_are_looked_up_and_not_searched():
    events = [replace(event, id=Counted(event.id)) for event in POPULATIONS["siblings"](500) if isinstance(event, BornEvent)]
    Counted.compared = 0
    prompts, _ = replay(events, 10**5)
    assert all(prompt.lives for prompt in prompts) and Counted.compared < 20 * len(prompts)


def test_a_wide_tree_has_lanes_that_do_not_overlap(few: None):
    prompts, _ = replay(POPULATIONS["branches"](300), 10)
    lane = lineage_layout.lanes(prompts)
    born = {prompt.id: prompt.born_step for prompt in prompts}
    below = children(prompts, born.keys())
    taken: set[tuple[int, int]] = set()
    for prompt in prompts:
        parent = prompt.parents[0] if prompt.parents else prompt.id
        starts_line = not prompt.parents or below[parent][0] != prompt.id
        steps = range(born[parent] + (0 if starts_line else 1), born[prompt.id] + 1)
        places = {(lane[prompt.id], step) for step in steps}
        assert not places & taken
        taken |= places
