"""`measure`: what finished runs' weights and prompts are worth beyond their score."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from espl_bench.analysis.measures.measure import MeasureChoices, measure
from espl_bench.analysis.measures.second_task import SecondChoice
from espl_bench.cli.commands.attribute import cell_progress
from espl_bench.cli.console import out_console, write_json
from espl_bench.cli.options import parse_pairs
from espl_bench.leaderboard.layout import Sheet, TableLayout
from espl_bench.leaderboard.render import sheets_to_screen
from espl_bench.method import find_method
from espl_bench.runs.consent import Consent
from espl_bench.runs.measures_file import Estimate, Measures
from espl_bench.utils.formatting import DASH, fixed, points, signed_points

__all__ = ["Consent", "choose_second", "measure_runs"]

LEGEND = (
    "95 % intervals are over prompts or items of one run. KL: of whole distributions at the tokens that the run's weights sample on the "
    "test. Behaviour: against the base under the root prompt. Area: mean validation score while the second task is learned. Definitions: "
    "docs/measures.md."
)


def choose_second(
    env: str | None, env_options: Sequence[str], steps: int, eval_every: int, target: float | None, learn_by: str
) -> SecondChoice | None:
    """Return the second task; None if none is named. Raises UsageError."""
    if env is None and not env_options:
        return None
    return SecondChoice(find_method(learn_by), env, parse_pairs(env_options), steps, eval_every, None if target is None else target / 100)


def measure_runs(
    folders: Sequence[Path],
    second: SecondChoice | None,
    text: Path | None,
    model: Path | None,
    quiet: bool,
    as_json: bool,
    consent: Consent,
) -> None:
    """Measure the runs, and print what was found. Raises EsplError."""
    with cell_progress(quiet) as tell:
        found = measure(folders, MeasureChoices(second, text), tell, model, consent=consent)
    if as_json:
        write_json(json.dumps({str(folder): measures.model_dump(mode="json") for folder, measures in found.items()}, indent=2) + "\n")
        return
    console = out_console()
    console.print(sheets_to_screen([measures_sheet(folder.name, measures) for folder, measures in found.items()], console.width, LEGEND))


def measures_sheet(name: str, measures: Measures) -> Sheet:
    """Lay out one run's measures."""
    rows = [*_drift(measures), *_prompt(measures), *_second(measures), *_text(measures), *_sigmoid(measures)]
    notes = [] if measures.sigmoid_refused is None else [f"no sigmoid: {measures.sigmoid_refused}"]
    if measures.second_task is None:
        notes.append("no second task was learned; name one with --env or --env-option to measure plasticity and forgetting")
    return Sheet(name, (TableLayout(("measure", "value", "95 % CI"), tuple(rows), frozenset()),), tuple(notes))


Row = tuple[str, str, str]


def _shares(name: str, estimate: Estimate, signed: bool = False) -> Row:
    form = signed_points if signed else points
    return name, f"{form(estimate.mean)} %", _interval(estimate, form)


def _interval(estimate: Estimate, form: Callable[[float], str]) -> str:
    if estimate.low is None or estimate.high is None:
        return DASH
    return f"{form(estimate.low)} … {form(estimate.high)}"


def _nats(number: float) -> str:
    return f"{number:.4f}"


def _drift(measures: Measures) -> list[Row]:
    drift = measures.drift
    if drift is None:
        return []
    named = {"KL of the weights, nats per token": drift.weights, "KL of the behaviour, nats per token": drift.behaviour}
    return [(name, _nats(each.mean), _interval(each, _nats)) for name, each in named.items() if each is not None]


def _prompt(measures: Measures) -> list[Row]:
    use = measures.prompt
    if use is None:
        return []
    cost = use.tokens_per_point
    return [
        _shares("test, shown prompt", use.score),
        _shares("test, root prompt", use.unprompted),
        _shares("test, base weights and root prompt", use.base),
        ("tokens of the prompt", str(use.prompt_tokens), ""),
        ("tokens per point gained", DASH if cost is None else fixed(cost, 2), ""),
    ]


def _second(measures: Measures) -> list[Row]:
    second = measures.second_task
    if second is None:
        return []
    steps = [curve.steps_to(second.target) for curve in (second.learned, second.from_base)]
    own, base = (DASH if step is None else fixed(step) for step in steps)
    return [
        _shares("second task before learning it, root prompt", second.unprompted),
        (f"steps to {points(second.target)} %, run and base", f"{own}, {base}", ""),
        ("area, run and base", f"{points(second.learned.area)}, {points(second.from_base.area)} %", ""),
        _shares("first task afterwards", second.first_task),
        _shares("change of the first task", second.change, signed=True),
    ]


def _text(measures: Measures) -> list[Row]:
    text = measures.text
    if text is None:
        return []
    after = "" if text.after_second_task is None else f", {text.after_second_task:.3f}"
    return [(f"perplexity of {text.name}: base, run, afterwards", f"{text.base:.3f}, {text.trained:.3f}{after}", "")]


def _sigmoid(measures: Measures) -> list[Row]:
    sigmoid = measures.sigmoid
    if sigmoid is None:
        return []
    return [
        _shares("sigmoid: asymptote", sigmoid.asymptote),
        ("sigmoid: rate", fixed(sigmoid.rate.mean, 2), _interval(sigmoid.rate, fixed)),
        ("sigmoid: midpoint, iterations", fixed(sigmoid.midpoint.mean), _interval(sigmoid.midpoint, fixed)),
    ]
