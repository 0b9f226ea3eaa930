"""Progress of a run: a live display on a terminal, plain lines elsewhere, only warnings with --quiet.

Progress goes to stderr, results go to stdout. The reporters know nothing of the loop but what it reports.
"""

import shlex
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from statistics import fmean

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from espl_bench.cli.console import facts_grid
from espl_bench.config.run_config import RunConfig
from espl_bench.monitoring.reporter import EvalReport, Reporter, Silent, StepReport
from espl_bench.rollouts.outcomes import UNANSWERED, Shares, answer_hint, failure_warning, mean_shares
from espl_bench.runs.summary import Summary
from espl_bench.types import Outcome, Split
from espl_bench.utils.formatting import DASH, clock, count, duration, percent, plain, points
from espl_bench.utils.terminal_text import clean

WINDOW = 10
"""Iterations that the moving mean of the reward spans."""
LOUD = "bold red"
"""Style of warnings that must not be overlooked."""
TENTHS = 10
"""Number of plain lines about steps in one run."""

Clock = Callable[[], float]
"""Monotonic time in seconds."""


@contextmanager
def watching(console: Console, quiet: bool = False) -> Generator[Reporter]:
    """Yield the reporter that suits the console. Always closes the live display, also after an exception."""
    if quiet:
        yield OnlyAlarms(console)
    elif console.is_terminal:
        live = LiveDisplay(console)
        try:
            yield live
        finally:
            live.close()
    else:
        yield PlainLines(console)


def time_left(elapsed: float, done: int, remaining: int) -> float | None:
    """Estimate the seconds that `remaining` steps take, from the pace of the `done` ones; None before the first."""
    return elapsed / done * remaining if done > 0 else None


class FailureWatch:
    """Warns if too many rollouts could not be graded, or none holds an answer: once for training, and for every evaluation."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._steps: list[Shares] = []
        self._warned = False

    def stepped(self, report: StepReport) -> None:
        """Record an iteration, and warn if its failures bring the mean above the limit."""
        self._steps.append(report.outcomes)
        warning = None if self._warned else failure_warning(mean_shares(self._steps), f"the rollouts up to step {report.step}")
        self._warned = self._warned or warning is not None
        self._say(warning)
        if len(self._steps) == UNANSWERED:
            self._say(answer_hint(mean_shares(self._steps), f"the rollouts up to step {report.step}"))

    def evaluated(self, report: EvalReport) -> None:
        """Warn if too many answers of the evaluation could not be graded."""
        of_what = f"the {report.split.value} answers at step {report.step}"
        self._say(failure_warning(report.outcomes, of_what))
        self._say(answer_hint(report.outcomes, of_what))

    def _say(self, warning: str | None) -> None:
        if warning:
            self._console.print(plain(warning, LOUD), soft_wrap=True)


class OnlyAlarms(Silent):
    """Prints only warnings that need attention."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def stuck(self, message: str) -> None:
        """Print the warning."""
        self._console.print(plain(message, LOUD), soft_wrap=True)


class PlainLines:
    """Prints one line per evaluation and per tenth of the steps, each with the time since the start."""

    def __init__(self, console: Console, now: Clock = time.monotonic) -> None:
        self._console = console
        self._failures = FailureWatch(console)
        self._now = now
        self._began = now()
        self._total = 0

    def started(self, config: RunConfig, folder: Path, step: int) -> None:
        """Print the method, the environment and the run directory."""
        self._began = self._now()
        self._total = config.iterations
        origin = f", resumed after step {step}" if step else ""
        self._say(f"{config.row} on {config.env}, seed {config.seed}, {self._total} steps{origin} -> {folder}")

    def evaluating(self, split: Split, done: int, total: int) -> None:
        """Do nothing: an evaluation is reported when it ends."""

    def stepped(self, report: StepReport) -> None:
        """Print a line whenever another tenth of the steps is done."""
        self._failures.stepped(report)
        if report.step * TENTHS // self._total == (report.step - 1) * TENTHS // self._total:
            return
        speed = f"{count(report.tokens_per_second)} tokens/s"
        self._say(f"step {report.step}/{self._total}  reward {report.reward:.3f}  population {report.population}  {speed}")

    def evaluated(self, report: EvalReport) -> None:
        """Print the score and the shares of the other outcomes."""
        self._say(f"step {report.step}  {report.split.value} {percent(report.score)}  ({_rest(report.outcomes)}){_parts(report.parts)}")
        self._failures.evaluated(report)

    def stuck(self, message: str) -> None:
        """Print the warning."""
        self._say(message)

    def finished(self, summary: Summary, folder: Path) -> None:
        """Print that the run is finished; the result itself goes to stdout."""
        self._say(f"finished: {folder}")

    def _say(self, line: str) -> None:
        self._console.print(plain(f"[{clock(self._now() - self._began)}] {line}"), soft_wrap=True)


class LiveDisplay:
    """Live lines on a terminal: progress, the last steps' reward and speed, and a running evaluation."""

    def __init__(self, console: Console, now: Clock = time.monotonic) -> None:
        self._console = console
        self._failures = FailureWatch(console)
        self._now = now
        self._began = now()
        self._first = 0
        self._rewards: deque[float] = deque(maxlen=WINDOW)
        self._scores: dict[Split, EvalReport] = {}
        self._last: StepReport | None = None
        bar = (TextColumn("{task.description:<12}"), BarColumn(bar_width=30), MofNCompleteColumn())
        self._steps = Progress(*bar, TextColumn("{task.fields[left]}"), console=console)
        self._evaluation = Progress(*bar, TextColumn("episodes"), console=console)
        self._live = Live(get_renderable=self._render, console=console, refresh_per_second=4, transient=True)

    def started(self, config: RunConfig, folder: Path, step: int) -> None:
        """Print the run's name above the live lines and start the bar."""
        self._began = self._now()
        self._first = step
        name = f"{config.row} · {config.env} · seed {config.seed}"
        resumed = f" (resumed after step {step})" if step else ""
        self._console.print(plain(f"{name} → {folder}{resumed}"), soft_wrap=True)
        if config.iterations:
            self._steps.add_task("training", total=config.iterations, completed=step, left="")
        self._live.start()

    def evaluating(self, split: Split, done: int, total: int) -> None:
        """Show or advance the bar of the evaluation."""
        name = split.value
        if not self._evaluation.tasks or self._evaluation.tasks[0].description != name:
            self._clear_evaluation()
            self._evaluation.add_task(name, total=total)
        self._evaluation.update(self._evaluation.task_ids[0], completed=done, total=total)

    def stepped(self, report: StepReport) -> None:
        """Advance the bar of the run."""
        self._failures.stepped(report)
        self._last = report
        self._rewards.append(report.reward)
        task = self._steps.tasks[0]
        total = int(task.total or 0)
        left = time_left(self._now() - self._began, report.step - self._first, total - report.step)
        self._steps.update(task.id, completed=report.step, left=f"{clock(left)} left" if left else "")

    def evaluated(self, report: EvalReport) -> None:
        """Print the score above the live lines and remove the evaluation's bar."""
        self._clear_evaluation()
        self._scores[report.split] = report
        line = f"step {report.step:>4}  {report.split.value:<10} {percent(report.score):>7}  {_rest(report.outcomes)}{_parts(report.parts)}"
        self._console.print(plain(line, "dim"), soft_wrap=True)
        self._failures.evaluated(report)

    def stuck(self, message: str) -> None:
        """Print the warning above the live lines."""
        self._console.print(plain(message, LOUD), soft_wrap=True)

    def finished(self, summary: Summary, folder: Path) -> None:
        """Close the display; the caller prints the result."""
        self.close()

    def close(self) -> None:
        """Remove the live lines. Safe to call twice."""
        self._live.stop()

    def _clear_evaluation(self) -> None:
        for task in self._evaluation.task_ids:
            self._evaluation.remove_task(task)

    def _render(self) -> RenderableType:
        parts: list[RenderableType] = [self._steps]
        if self._last:
            parts.append(Text(self._status(self._last), style="cyan", no_wrap=True, overflow="ellipsis"))
        if self._evaluation.tasks:
            parts.append(self._evaluation)
        return Group(*parts)

    def _status(self, last: StepReport) -> str:
        scores = [f"{split.value} {points(self._scores[split].score)}" for split in Split if split in self._scores]
        facts = [f"reward {fmean(self._rewards):.3f}", *scores, f"population {last.population}", f"{count(last.tokens_per_second)} tok/s"]
        return "  ·  ".join(facts)


def result_panel(summary: Summary, folder: Path) -> RenderableType:
    """Lay out a finished run's result for a terminal; the last line names the run."""
    grid = facts_grid()
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()
    low, high = summary.ci95
    score = Text.assemble((percent(summary.score), "bold"), f"  (95 % CI {points(low)} … {points(high)})")
    grid.add_row(f"test avg@{summary.k}", score.append(f" over {summary.n_items:,} items"))
    for part in summary.parts:
        grid.add_row(plain(part.name), percent(part.score))
    if summary.parts:
        grid.add_row("mean of parts", percent(fmean(part.score for part in summary.parts)))
    grid.add_row("validation", percent(summary.validation_score))
    for name, value in summary.measures.items():
        grid.add_row(plain(name), percent(value))
    grid.add_row("outcomes", _shares(summary.outcomes))
    ledger = summary.ledger
    learning = f"{count(ledger.rollouts)} rollouts, {count(ledger.generated_tokens)} tokens generated"
    grid.add_row("spent", f"{learning}, {count(ledger.reflection_tokens)} on reflection, {count(ledger.eval_tokens)} on evaluation")
    if summary.cost_usd is not None:
        grid.add_row("price", f"{summary.cost_usd:.4f} USD at list prices")
    grid.add_row("time", f"{duration(ledger.wall_s)} for {summary.steps:,} steps")
    grid.add_row("prompt", principles_text(summary.shown_prompt))
    title = plain(f"{summary.row} · {summary.env} · {summary.model} · seed {summary.seed}")
    return Group(Panel(grid, title=title, title_align="left", expand=False), plain(f"run: {folder}"))


def result_line(summary: Summary, folder: Path) -> str:
    """Summarise a finished run's result in one line."""
    low, high = summary.ci95
    score = f"{percent(summary.score)} ({points(low)} … {points(high)})"
    spent = duration(summary.ledger.wall_s)
    parts = "".join(f", {part.name} {percent(part.score)}" for part in summary.parts)
    name = f"{summary.row} {summary.env} s{summary.seed}"
    return clean(f"{name}: {score}{parts}, validation {percent(summary.validation_score)}, {spent}, {shlex.quote(str(folder))}")


def principles_text(principles: Sequence[str], notes: Sequence[str] = ()) -> Text:
    """Render a numbered list of principles literally, since they may contain Rich markup; below each its note, if it has one."""
    lines: list[Text] = []
    for index, (principle, note) in enumerate(zip_longest(principles, notes, fillvalue="")):
        lines.append(plain(f"[G{index}] {principle}"))
        if note:
            lines.append(plain(f"     {note}", "dim"))
    return Text("\n").join(lines) if lines else Text("no principles", style="dim")


def _rest(outcomes: Mapping[Outcome, float]) -> str:
    """List the shares of all outcomes except correct, which the score already states."""
    return _shares({kind.value: share for kind, share in outcomes.items() if kind is not Outcome.CORRECT})


def _parts(scores: Mapping[str, float]) -> str:
    """List the score of each part, if there are any."""
    return "".join(f"  {name} {percent(score)}" for name, score in scores.items())


def _shares(outcomes: Mapping[str, float]) -> str:
    shown = [f"{kind.replace('_', ' ')} {percent(share)}" for kind, share in outcomes.items() if share]
    return ", ".join(shown) or DASH
