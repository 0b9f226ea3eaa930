"""`show`: print one run. Model output is printed literally.

Of a run of very many prompts the newest are printed, on the screen and as JSON: a hundred thousand are sixty-five megabytes.
"""

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.panel import Panel
from rich.text import Text
from rich.tree import Tree

from espl_bench.build import dialect_of
from espl_bench.cli.console import err_console, facts_grid, out_console, plain_table, write_json
from espl_bench.cli.display import LOUD, principles_text
from espl_bench.config.run_config import model_name
from espl_bench.errors import UsageError
from espl_bench.evolution.operators.proposal import Evidence
from espl_bench.rollouts.tool_use import told
from espl_bench.runs.rollout_rows import RolloutRow
from espl_bench.runs.run_dir import RolloutKind, RunDir
from espl_bench.runs.view import PromptView, RunView, ancestry, by_rating, children, read_view
from espl_bench.types import Split
from espl_bench.utils.formatting import DASH, fixed, percent, plain, points

LONG_TREE = 30
"""Largest number of prompts for which the overview draws the lineage."""
MOST_PROMPTS = 2_000
"""Largest number of prompts that are printed without --all: nobody reads more, and a hundred thousand take minutes."""


@dataclass(frozen=True, slots=True)
class ShownRollout:
    """One stored rollout and where it was taken from."""

    step: int
    kind: RolloutKind
    """None: from training."""
    index: int
    """In its file, from 0."""
    row: RolloutRow


def show_run(folder: Path, prompts: bool, tree: bool, rollout: int | None, step: int | None, as_json: bool, all_prompts: bool) -> None:
    """Print the overview, or only the requested parts. Raises UsageError or RunDirError."""
    most = None if all_prompts else MOST_PROMPTS
    run = RunDir.open(folder)
    view = read_view(run)
    asked = rollout is not None or step is not None
    kind = _kind(run)
    sample = _sample(run, kind, step, rollout or 0) if asked or run.rollout_steps(kind) else None
    if as_json:
        write_json(_as_json(folder, view, sample, most))
        if most is not None and len(view.prompts) > most:
            err_console().print(plain(f"! the newest {most} of {len(view.prompts)} prompts; --all prints all", "yellow"), soft_wrap=True)
        return
    console = out_console()
    overview = not (prompts or tree or asked)
    if overview:
        _print_overview(console, folder, view, most)
    if prompts:
        _print_prompts(console, view, most)
    if tree or overview:
        _print_tree(console, view, tree, most)
    if sample and (asked or overview):
        _print_rollout(console, view, sample)


def _kind(run: RunDir) -> RolloutKind:
    """Return which rollouts to show: those of training, or for a run that has none those of an evaluation."""
    return next((kind for kind in (None, Split.TEST, Split.VALIDATION) if run.rollout_steps(kind)), None)


def _sample(run: RunDir, kind: RolloutKind, step: int | None, index: int) -> ShownRollout:
    """Return the rollout at an index of a step, by default of the newest one."""
    if step is None:
        step = max(run.rollout_steps(kind), default=1)
    rows = run.read_rollouts(step, RolloutRow.parse, kind)
    if not 0 <= index < len(rows):
        raise UsageError(f"--rollout {index} does not exist: step {step} has rollouts 0 to {len(rows) - 1}")
    return ShownRollout(step, kind, index, rows[index])


def _print_overview(console: Console, folder: Path, view: RunView, most: int | None) -> None:
    config, summary = view.config, view.summary
    console.print(plain(f"{config.row} · {config.env} · {model_name(config.model)} · seed {config.seed}", "bold"))
    grid = facts_grid()
    if summary:
        low, high = summary.ci95
        score = f"{percent(summary.score)} ({points(low)} … {points(high)}), validation {percent(summary.validation_score)}"
        grid.add_row(plain("progress", "dim"), plain(f"finished, {view.steps} steps"))
        grid.add_row(plain(f"test avg@{summary.k}", "dim"), plain(score))
    else:
        remedy = f"espl-bench resume {shlex.quote(str(folder))}"
        grid.add_row(plain("progress", "dim"), plain(f"{view.steps} of {config.iterations} steps; continue with: {remedy}"))
    for split in dict.fromkeys(row.split for row in view.evaluations):
        curve = "  ".join(f"{row.step}: {points(row.score)}" for row in view.evaluations if row.split is split)
        grid.add_row(plain(f"{split} %", "dim"), plain(curve))
    if tools := _tools(view):
        grid.add_row(plain("tools", "dim"), plain(tools))
    if view.rejected:
        grid.add_row(plain("not born", "dim"), plain(", ".join(f"{kind} × {number}" for kind, number in view.rejected.items())))
    console.print(grid)
    for warning in view.warnings:
        console.print(plain(warning, LOUD), soft_wrap=True)
    console.print()
    _print_population(console, view, most)
    shown = view.prompt(view.shown_id)
    said = principles_text(shown.principles, view.credit_of(shown))
    console.print(Panel(said, title=f"shown prompt: #{shown.id}", title_align="left", expand=False))


def _tools(view: RunView) -> str:
    """Say how training, and the last evaluation of each split, used the tools; empty without any."""
    latest = {row.split: told(row.tools) for row in view.evaluations}
    parts = {"training": told(view.training_tools), **latest}
    return "; ".join(f"{name}: {use}" for name, use in parts.items() if use)


def _print_population(console: Console, view: RunView, most: int | None) -> None:
    living = by_rating(prompt for prompt in view.prompts if prompt.lives)
    grid = plain_table()
    for heading in ("prompt", "rating", "matches", "reward", "principles", "born"):
        grid.add_column(heading, justify="right", no_wrap=True)
    grid.add_column("origin")
    for prompt in living[:most]:
        reward = DASH if prompt.mean_reward is None else fixed(prompt.mean_reward, 2)
        cells = (f"#{prompt.id}", _rating(prompt), str(prompt.matches), reward, str(len(prompt.principles)), str(prompt.born_step))
        style = "bold" if prompt.id == view.shown_id else ""
        grid.add_row(*(plain(cell, style) for cell in (*cells, _origin(prompt))))
    first = f"; the first {most}, --all prints all" if most is not None and len(living) > most else ""
    console.print(plain(f"{len(living)} of {len(view.prompts)} prompts live; best rated (mu - 2 sigma) first{first}", "dim"))
    console.print(grid)
    console.print()


def _print_prompts(console: Console, view: RunView, most: int | None) -> None:
    if most is not None and len(view.prompts) > most:
        console.print(plain(f"the newest {most} of {len(view.prompts)} prompts; --all prints all", "dim"))
    for prompt in _newest(view, most):
        state = "" if prompt.lives else ", extinct"
        console.print(plain(f"#{prompt.id}  {_origin(prompt)}, step {prompt.born_step}, rating {_rating(prompt)}{state}", "bold"))
        console.print(principles_text(prompt.principles, view.credit_of(prompt)))
        for edit in prompt.evidence:
            console.print(plain(f"  - {_edit(edit)}", "dim"))
        console.print()


def _newest(view: RunView, most: int | None) -> tuple[PromptView, ...]:
    """Return the newest prompts, in order of birth; None: all."""
    return view.prompts if most is None else view.prompts[-most:]


def _print_tree(console: Console, view: RunView, whole: bool, most: int | None) -> None:
    bounded = most is not None and len(view.prompts) > most
    drawn_ids = frozenset(prompt.id for prompt in view.prompts) if whole and not bounded else ancestry(view.prompts)
    remedy = "--tree --all draws them" if bounded else "--tree draws them"
    largest = most if whole else LONG_TREE
    if largest is not None and len(drawn_ids) > largest:
        console.print(plain(f"lineage: {len(view.prompts)} prompts; {remedy}", "dim"))
        return
    left_out = len(view.prompts) - len(drawn_ids)
    console.print(lineage_tree(view, drawn_ids))
    if left_out:
        console.print(plain(f"{left_out} extinct prompts without living descendants are omitted; {remedy}", "dim"))


def lineage_tree(view: RunView, drawn_ids: frozenset[int]) -> RenderableType:
    """Draw descent by first parent. The line with most descendants keeps its indent, so that long runs stay readable."""
    below = children(view.prompts, drawn_ids)
    top = Tree(Text("lineage", style="dim"))
    for root in (prompt.id for prompt in view.prompts if prompt.id in drawn_ids and not prompt.parents):
        _draw_line(top, root, view, below)
    return top


def _draw_line(tree: Tree, prompt_id: int, view: RunView, below: Mapping[int, list[int]]) -> None:
    line: list[int] = [prompt_id]
    while below[line[-1]]:
        line.append(below[line[-1]][0])
    for node in line:
        prompt = view.prompt(node)
        style = "bold green" if node == view.shown_id else "" if prompt.lives else "dim"
        facts = f"#{node}  {_origin(prompt)}, step {prompt.born_step}, {_rating(prompt)}, {_plural(len(prompt.principles), 'principle')}"
        branch = tree.add(plain(facts + ("  (shown)" if node == view.shown_id else ""), style))
        for other in below[node][1:]:
            _draw_line(branch, other, view, below)


def _print_rollout(console: Console, view: RunView, sample: ShownRollout) -> None:
    row = sample.row
    prompt = view.prompt(row.prompt_id)
    console.print()
    where = f"step {sample.step}" if sample.kind is None else f"{sample.kind} at step {sample.step}"
    console.print(plain(f"{where}, rollout {sample.index}: {row.problem_id} under prompt #{prompt.id}", "bold"))
    dialect = dialect_of(view.config)
    for message in dialect.prompt_messages(prompt.principles, row.question, view.config.prompts.placement):
        console.print(Panel(plain(message.content), title=message.role, title_align="left", expand=False))
    tokens = f"{row.generated_tokens} tokens, ended by {row.stop_reason or 'a fault before the first'}"
    title = f"assistant: {row.outcome}, reward {row.reward:g}, {tokens}"
    for index, said in enumerate(row.turns):
        for reply in row.before(index):
            console.print(Panel(plain(reply.text), title=plain(reply.tool or "user"), title_align="left", expand=False))
        last = index + 1 == len(row.turns)
        console.print(Panel(plain(said), title=plain(title if last else "assistant"), title_align="left", expand=False))
    if not row.turns:
        console.print(Panel(plain(""), title=plain(title), title_align="left", expand=False))
    if row.submitted is not None:
        console.print(Panel(plain(row.submitted), title="handed in by the agent", title_align="left", expand=False))
    console.print(plain(f"answer: {row.answer}" + (f"; error: {row.error}" if row.error else "") + _met(row)))


def _met(row: RolloutRow) -> str:
    """Name the limit that ended a rollout, and its number of token sequences if there are several."""
    limit = f"; ended by the limit on {row.limit}" if row.limit else ""
    why = "because the chat template would not extend what stood before" if row.submitted is None else "as the agent's conversations part"
    split = f"; {row.segments} segments, {why}" if row.segments > 1 else ""
    return limit + split


def _origin(prompt: PromptView) -> str:
    if not prompt.parents:
        return prompt.origin
    first, *others = (f"#{parent}" for parent in prompt.parents)
    return f"{prompt.origin} of {first}" + (f" with {' '.join(others)}" if others else "")


def _edit(edit: Evidence) -> str:
    """Format an edit: the operation, its principles, the reason and its source."""
    targets = "".join(f" G{index}" for index in edit.ids)
    text = f": {edit.principle}" if edit.principle else ""
    reason = f" because {edit.reason}" if edit.reason else ""
    return f"{edit.op}{targets}{text}{reason} ({edit.source})"


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _rating(prompt: PromptView) -> str:
    return f"{fixed(prompt.rating.mu)} ± {fixed(prompt.rating.sigma)}"


def _as_json(folder: Path, view: RunView, sample: ShownRollout | None, most: int | None) -> str:
    newest = _newest(view, most)
    record = {
        "run": str(folder),
        "config": view.config.model_dump(mode="json"),
        "steps": view.steps,
        "summary": view.summary.model_dump(mode="json", by_alias=True) if view.summary else None,
        "shown_id": view.shown_id,
        "prompts": [{**asdict(prompt), "credit": view.credit_of(prompt)} for prompt in newest],
        "older_prompts": len(view.prompts) - len(newest),
        "rejected": view.rejected,
        "evaluations": [row.encode() for row in view.evaluations],
        "training_outcomes": view.training_outcomes,
        "training_tools": dict(view.training_tools),
        "warnings": view.warnings,
        "rollout": _sample_json(sample) if sample else None,
    }
    return json.dumps(record, indent=2, ensure_ascii=False) + "\n"


def _sample_json(sample: ShownRollout) -> dict[str, Any]:
    where = {} if sample.kind is None else {"split": sample.kind}
    return {**sample.row.encode(), "step": sample.step, "place": sample.index, **where}
