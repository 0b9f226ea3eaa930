import io
import json
from pathlib import Path

import pytest
from cli_fixtures import EVENTS, NASTY, NASTY_SHOWN, born, make_config, make_metrics, make_run, make_summary, rated
from rich.console import Console

from espl_bench.cli.app import invoke
from espl_bench.cli.commands.show import lineage_tree
from espl_bench.cli.display import LiveDisplay, OnlyAlarms, PlainLines, principles_text, result_line, result_panel, time_left, watching
from espl_bench.errors import RunDirError
from espl_bench.monitoring.reporter import EvalReport, Silent, StepReport
from espl_bench.runs.log_rows import EvaluationRow
from espl_bench.runs.run_dir import Log, RunDir
from espl_bench.runs.view import RunView, ancestry, by_rating, read_view, replay
from espl_bench.types import Outcome, Rating, Split
from espl_bench.utils.formatting import clock, count, duration, plain
from espl_bench.utils.jsonl import decode
from espl_bench.utils.terminal_text import clean

FOLDER = Path("runs/x")


def paper(width: int = 100, terminal: bool = False) -> Console:
    return Console(file=io.StringIO(), width=width, force_terminal=terminal, highlight=False, emoji=False)


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def step_report(step: int, reward: float = 0.5) -> StepReport:
    return StepReport(step, reward, {Outcome.CORRECT: reward}, 3, (), (), 1234.0, 2.0)


def eval_report(step: int, split: Split = Split.VALIDATION) -> EvalReport:
    return EvalReport(step, split, 0.25, {Outcome.CORRECT: 0.25, Outcome.WRONG: 0.65, Outcome.NO_ANSWER: 0.1}, 0)


def test_control_characters_are_stripped_and_line_breaks_kept():
    assert clean("a\x1b[31m\tb\r\n\x00\x9bc\u202ed\ud800") == "a[31m  b\ncd"


def test_what_a_model_wrote_is_printed_literally():
    console = paper()
    console.print(principles_text((NASTY, "dax larger")))
    console.print(plain("[/bold] [link=x]y"))
    assert written(console) == f"[G0] {NASTY_SHOWN}\n[G1] dax larger\n[/bold] [link=x]y\n"


def test_result_panel_prints_principles_literally():
    console = paper()
    console.print(result_panel(make_summary(shown_prompt=(NASTY,)), FOLDER))
    text = written(console)
    assert f"[G0] {NASTY_SHOWN}" in text
    assert "50.0 %" in text and "run: runs/x" in text
    assert "\x1b" not in text and "\x07" not in text


def test_result_line_is_one_line():
    line = result_line(make_summary("rl_only", 3), Path("a b"))
    assert line == "rl_only rulebook s3: 50.0 % (6.9 … 93.1), validation 50.0 %, 3.2 min, 'a b'"


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0"), (999, "999"), (999.6, "1.00 k"), (1234, "1.23 k"), (45_000_000, "45.0 M"), (999_600, "1.00 M")]
)
def test_counts_have_three_digits(number: float, text: str):
    assert count(number) == text


def test_times():
    assert (clock(65), clock(3661), duration(42), duration(192), duration(9000)) == ("1:05", "1:01:01", "42 s", "3.2 min", "2.5 h")
    assert time_left(10.0, 0, 5) is None
    assert time_left(10.0, 4, 6) == 15.0


@pytest.mark.parametrize(("steps", "lines"), [(5, 5), (10, 10), (100, 10), (37, 10), (1000, 10)])
def test_plain_lines_say_at_most_ten_steps_and_always_the_last(steps: int, lines: int):
    console = paper()
    reporter = PlainLines(console)
    reporter.started(make_config(steps=steps), FOLDER, 0)
    for step in range(1, steps + 1):
        reporter.stepped(step_report(step))
    said = [line for line in written(console).splitlines() if f"/{steps}" in line]
    assert len(said) == lines
    assert f"step {steps}/{steps}" in said[-1]


def test_plain_lines_are_one_per_evaluation_with_elapsed_time():
    console, times = paper(), iter((0.0, 100.0, 100.0, 165.0))
    reporter = PlainLines(console, now=lambda: next(times))
    reporter.started(make_config(), FOLDER, 10)
    reporter.evaluating(Split.VALIDATION, 0, 100)
    reporter.evaluated(eval_report(10))
    assert written(console).splitlines() == [
        "[0:00] espl on rulebook, seed 0, 40 steps, resumed after step 10 -> runs/x",
        "[1:05] step 10  validation 25.0 %  (wrong 65.0 %, no answer 10.0 %)",
    ]


def test_live_display_shows_progress_and_leaves_evaluations_behind():
    console, times = paper(terminal=True), iter(range(0, 1000, 10))
    live = LiveDisplay(console, now=lambda: float(next(times)))
    live.started(make_config(steps=4), FOLDER, 0)
    live.evaluating(Split.VALIDATION, 50, 200)
    screen = paper()
    screen.print(live._render())
    assert "training" in written(screen) and "50/200" in written(screen)
    live.evaluated(eval_report(0))
    for step in (1, 2):
        live.stepped(step_report(step, reward=step / 10))
    screen = paper()
    screen.print(live._render())
    lines = written(screen).splitlines()
    assert "2/4" in lines[0] and "0:20 left" in lines[0]
    assert lines[1].strip() == "reward 0.150  ·  validation 25.0  ·  population 3  ·  1.23 k tok/s"
    assert "50/200" not in written(screen)
    live.close()
    live.close()
    assert "step    0  validation  25.0 %  wrong 65.0 %, no answer 10.0 %" in written(console)


def test_live_display_counts_only_its_own_steps_when_resumed():
    times = iter((0.0, 0.0, 10.0))
    live = LiveDisplay(paper(terminal=True), now=lambda: next(times))
    live.started(make_config(steps=40), FOLDER, 30)
    live.stepped(step_report(31))
    screen = paper()
    screen.print(live._render())
    live.close()
    assert "31/40" in written(screen) and "1:30 left" in written(screen)


def test_live_display_of_a_static_method_has_no_step_bar():
    live = LiveDisplay(paper(terminal=True))
    live.started(make_config(steps=0), FOLDER, 0)
    screen = paper()
    screen.print(live._render())
    live.close()
    assert "training" not in written(screen)


def test_terminal_is_given_back_when_a_run_fails():
    console = paper(terminal=True)
    with pytest.raises(RunDirError), watching(console) as reporter:
        reporter.started(make_config(), FOLDER, 0)
        raise RunDirError("disk full")
    shown, hidden = written(console).rfind("\x1b[?25h"), written(console).rfind("\x1b[?25l")
    assert shown > hidden >= 0, "the cursor is shown again"


def test_reporter_suits_the_console():
    with watching(paper(terminal=True)) as live, watching(paper()) as lines, watching(paper(), quiet=True) as silent:
        assert [type(reporter) for reporter in (live, lines, silent)] == [LiveDisplay, PlainLines, OnlyAlarms]
        assert isinstance(silent, Silent)


def test_a_stuck_rollout_is_told_even_quietly():
    for terminal, quiet in ((True, False), (False, False), (False, True)):
        console = paper(terminal=terminal)
        with watching(console, quiet) as reporter:
            reporter.stuck("stuck rollouts, at the engine: train/3")
        assert "stuck rollouts, at the engine: train/3" in written(console)


def test_replay_tells_ratings_matches_and_rejections():
    prompts, rejected = replay(EVENTS, population_size=2)
    root, mutant, child = prompts
    assert (root.rating, root.matches, root.mean_reward, root.lives) == (Rating(24.0, 5.0), 2, 0.7, False)
    assert (mutant.rating, mutant.matches, mutant.mean_reward) == (Rating(26.0, 5.0), 2, 0.4)
    assert (child.parents, child.matches, child.mean_reward, child.lives) == ((0, 1), 0, None, True)
    assert rejected == {"mutation: no_contrast": 1}
    assert [prompt.id for prompt in by_rating(prompts)] == [1, 0, 2]


def chain_view(length: int) -> RunView:
    """A run whose every prompt is a mutation of the one before, with a side branch at the root."""
    events = [born(0, 0, "root", [])]
    events += [born(key, key, "mutation", [key - 1], "p") for key in range(1, length)]
    events.append(born(length, length, "mutation", [0], "p"))
    prompts, rejected = replay(events, population_size=3)
    return RunView(make_config(), None, length, prompts, length, rejected, (), {})


def test_a_long_line_of_descent_stays_readable():
    view = chain_view(2000)
    console = paper(80)
    console.print(lineage_tree(view, frozenset(range(2001))))
    lines = written(console).splitlines()
    assert len(lines) == 2002
    assert max(map(len, lines)) <= 80


def test_ancestry_keeps_the_living_and_their_ancestors():
    events = [born(0, 0, "root", []), born(1, 1, "mutation", [0]), born(2, 2, "mutation", [0]), born(3, 3, "mutation", [1])]
    prompts, _ = replay(events, population_size=1)
    assert ancestry(prompts) == {0, 1, 3}


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert invoke(["show", *arguments]) == 0
    return capsys.readouterr().out


def test_overview_tells_the_run_literally(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "100")
    text = shown(capsys, str(make_run(tmp_path / "run")))
    assert "3 of 40 steps; continue with:" in text
    assert f"[G1] {NASTY_SHOWN}" in text, "the shown prompt's principles"
    assert "shown prompt: #2" in text
    assert "mutation: no_contrast × 1" in text
    assert "crossover of #0 with #1" in text
    assert "26.0 ± 5.0" in text
    assert f"rollout 0 {NASTY_SHOWN}" in text
    assert "assistant: wrong, reward 0, 9 tokens" in text
    assert "3 dax 5 = ?" in text and "answer: 5" in text
    assert "\x1b" not in text and "\x07" not in text and "\u202e" not in text


@pytest.mark.parametrize("width", ["80", "100"])
def test_overview_fits_the_screen(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: str):
    monkeypatch.setenv("COLUMNS", width)
    text = shown(capsys, str(make_run(tmp_path / "run", make_summary())))
    assert max(map(len, text.splitlines())) <= int(width)
    assert "finished, 3 steps" in text and "50.0 % (6.9 … 93.1), validation 50.0 %" in text


def test_parts_can_be_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = str(make_run(tmp_path / "run"))
    prompts = " ".join(shown(capsys, folder, "--prompts").split())
    assert f"- merge G0 G2: {NASTY_SHOWN} because 3 dax 5 (train/3)" in prompts and "lineage" not in prompts and "rollout" not in prompts
    assert shown(capsys, folder, "--tree").startswith("lineage")
    rollout = shown(capsys, folder, "--rollout", "2")
    assert "rollout 2 dax" in rollout and "lineage" not in rollout
    assert invoke(["show", folder, "--rollout", "4"]) == 2
    assert "step 3 has rollouts 0 to 3" in capsys.readouterr().err
    assert invoke(["show", folder, "--step", "9"]) == 1


def test_show_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    record = json.loads(shown(capsys, str(make_run(tmp_path / "run", make_summary())), "--json"))
    assert [prompt["id"] for prompt in record["prompts"]] == [0, 1, 2]
    assert record["prompts"][1]["principles"] == [NASTY]
    assert (record["steps"], record["shown_id"], record["rollout"]["problem_id"]) == (3, 2, "train/0")
    assert record["summary"]["score"] == 0.5


def test_a_run_without_a_step_can_be_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run = RunDir.create(tmp_path / "run", make_config(), provenance={})
    run.append(Log.POPULATION, EVENTS[0].encode())
    assert "0 of 40 steps" in shown(capsys, str(run.path))


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ({"event": "born", "step": 1}, "no field 'born.id'"),
        ({"step": 1}, "no field 'event'"),
        ({"event": "retired", "step": 1}, "field 'event' should be 'born', 'rated', 'rejected', not \"retired\""),
        (rated(1, {7: 0.5}, {}).encode(), "prompt 7 is rated and was not born"),
        (rated(1, {}, {7: (25.0, 8.0)}).encode(), "prompt 7 is rated and was not born"),
    ],
)
def test_an_event_that_is_not_understood_is_one_line(tmp_path: Path, broken: dict[str, object], why: str):
    run = RunDir.open(make_run(tmp_path / "run"))
    run.append(Log.POPULATION, broken)
    with pytest.raises(RunDirError) as raised:
        read_view(run)
    assert str(raised.value) == f"{tmp_path}/run/population.jsonl, line {len(EVENTS) + 1}: {why}; restore the file from a copy"


# Answers that could not be graded


def failing(step: int, share: float) -> StepReport:
    return StepReport(step, 0.5, {Outcome.CORRECT: 1 - share, Outcome.TIMEOUT: share}, 3, (), (), 1234.0, 2.0)


@pytest.mark.parametrize("terminal", [False, True])
def test_a_run_says_loudly_and_once_that_its_rollouts_are_not_graded(terminal: bool):
    console = paper(width=200, terminal=terminal)
    reporter = LiveDisplay(console) if terminal else PlainLines(console)
    reporter.started(make_config(steps=40), FOLDER, 0)
    for step, share in ((1, 0.0), (2, 0.02), (3, 0.04), (4, 0.5)):
        reporter.stepped(failing(step, share))
    reporter.evaluated(EvalReport(4, Split.TEST, 0.5, {Outcome.CORRECT: 0.5, Outcome.ERROR: 0.25, Outcome.TIMEOUT: 0.25}, 0))
    reporter.evaluated(EvalReport(4, Split.VALIDATION, 0.5, {Outcome.CORRECT: 0.99, Outcome.ERROR: 0.01}, 0))
    if isinstance(reporter, LiveDisplay):
        reporter.close()
    warnings = [line for line in clean(written(console)).splitlines() if "could not be graded" in line]
    assert len(warnings) == 2, "two per cent over three steps is the first time that it is more than one"
    assert "! 2.0 % of the rollouts up to step 3 could not be graded (timeout 2.0 %): do not trust these figures" in warnings[0]
    assert "! 50.0 % of the test answers at step 4 could not be graded (error 25.0 %, timeout 25.0 %)" in warnings[1]


@pytest.mark.parametrize(
    ("missing", "remedy"),
    [(Outcome.NO_ANSWER, "--env-option extraction=anywhere"), (Outcome.TRUNCATED, "raise --max-tokens")],
)
def test_a_run_without_a_single_answer_names_the_remedy_once(missing: Outcome, remedy: str):
    console = paper(width=400)
    reporter = PlainLines(console)
    reporter.started(make_config(steps=40), FOLDER, 0)
    for step in range(1, 7):
        reporter.stepped(StepReport(step, 0.0, {missing: 1.0}, 3, (), (), 1234.0, 2.0))
    reporter.evaluated(EvalReport(6, Split.TEST, 0.0, {missing: 0.99, Outcome.WRONG: 0.01}, 0))
    hints = [line for line in clean(written(console)).splitlines() if "holds an answer" in line]
    assert len(hints) == 1 and hints[0].startswith("! none of the rollouts up to step 3 holds an answer; ") and remedy in hints[0]
    reporter.evaluated(EvalReport(6, Split.VALIDATION, 0.0, {missing: 1.0}, 0))
    assert "! none of the validation answers at step 6 holds an answer; " in clean(written(console))


def test_a_rollout_of_a_run_without_iterations_is_one_of_its_evaluation(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run = RunDir(make_run(tmp_path / "run"))
    rows = run.read_rollouts(3, decode)
    for path in (tmp_path / "run" / "rollouts").iterdir():
        path.unlink()
    run.write_rollouts(0, rows, Split.TEST)
    assert invoke(["show", str(tmp_path / "run"), "--rollout", "1"]) == 0
    assert "test at step 0, rollout 1" in capsys.readouterr().out
    assert invoke(["show", str(tmp_path / "run"), "--rollout", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rollout"]["split"] == "test"


def test_an_overview_says_it_too_for_a_run_that_is_still_going(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    make_run(tmp_path / "run")
    assert invoke(["show", str(tmp_path / "run")]) == 0
    assert "could not be graded" not in capsys.readouterr().out
    run = RunDir(tmp_path / "run")
    run.append(Log.METRICS, make_metrics(4, outcomes={Outcome.CORRECT: 0.5, Outcome.ERROR: 0.5}).encode())
    run.append(Log.EVALUATIONS, EvaluationRow(4, Split.TEST, 0.5, 0, {Outcome.TIMEOUT: 0.011}).encode())
    assert invoke(["show", str(tmp_path / "run")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "! 12.5 % of the training rollouts could not be graded (error 12.5 %): do not trust these figures" in said
    assert "! 1.1 % of the test answers could not be graded (timeout 1.1 %)" in said
    assert invoke(["show", str(tmp_path / "run"), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["warnings"]) == 2
