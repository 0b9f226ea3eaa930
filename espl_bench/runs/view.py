"""A run as read from its own files, for `espl-bench show`. The run may be finished or still going."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from espl_bench.config.run_config import RunConfig
from espl_bench.errors import RunDirError
from espl_bench.evolution.credit import Credit, Credits
from espl_bench.evolution.operators.proposal import Evidence
from espl_bench.evolution.population import Population
from espl_bench.evolution.rating import conservative
from espl_bench.rollouts.outcomes import mean_shares, warnings_of
from espl_bench.rollouts.tool_use import mean_tool_use
from espl_bench.runs.log_rows import EvaluationRow, MetricsRow, TimingRow, read_evaluations, read_metrics, read_timing
from espl_bench.runs.population_events import BornEvent, PopulationEvent, RatedEvent, RejectedEvent, read_events
from espl_bench.runs.run_dir import Log, RunDir
from espl_bench.runs.summary import Summary
from espl_bench.types import Rating, Split
from espl_bench.utils.jsonl import RESTORE


@dataclass(frozen=True, slots=True)
class PromptView:
    """One prompt of the run, living or not, with its last known rating."""

    id: int
    origin: str
    parents: tuple[int, ...]
    born_step: int
    principles: tuple[str, ...]
    rating: Rating
    matches: int
    """Number of rankings it took part in."""
    mean_reward: float | None
    """Mean reward in the last step it was rolled out in; None before the first."""
    evidence: tuple[Evidence, ...]
    """The edits that made it, each with its basis."""
    lives: bool
    """True if it is among the newest that may be selected."""


@dataclass(frozen=True, slots=True)
class RunView:
    """One run."""

    config: RunConfig
    summary: Summary | None
    """None while the run is unfinished."""
    steps: int
    """Iterations made."""
    prompts: tuple[PromptView, ...]
    """In order of birth, which is that of their ids."""
    shown_id: int
    """Id of the prompt that an evaluation would show now."""
    rejected: Mapping[str, int]
    """``mutation: no_contrast`` → number of children rejected for this reason."""
    evaluations: tuple[EvaluationRow, ...]
    training_outcomes: Mapping[str, float]
    """Share of each outcome among the training rollouts."""
    training_tools: Mapping[str, float] = field(default_factory=dict[str, float])
    """Shares of `rollouts.tool_use` among them; empty without tools."""
    credit: Credits = field(default_factory=dict[str, Credit])
    """Evidence about the principles of living prompts, at the last commit."""

    def credit_of(self, prompt: PromptView) -> list[str]:
        """Say the evidence about each principle of a prompt, in order; empty where there is none."""
        return [self.credit[text].told() if prompt.lives and text in self.credit else "" for text in prompt.principles]

    @property
    def warnings(self) -> list[str]:
        """Return warnings about the figures, one line each."""
        tests = [row.outcomes for row in self.evaluations if row.split is Split.TEST]
        return warnings_of(tests[-1] if tests else {}, self.training_outcomes)

    def prompt(self, prompt_id: int) -> PromptView:
        """Return a prompt by id. Raises RunDirError if it is not in the log."""
        place = bisect_left(self.prompts, prompt_id, key=lambda prompt: prompt.id)
        if place < len(self.prompts) and self.prompts[place].id == prompt_id:
            return self.prompts[place]
        raise RunDirError(f"prompt {prompt_id} is not in {Log.POPULATION}.jsonl; restore the file from a copy")


@dataclass(frozen=True, slots=True)
class RunLogs:
    """The rows of a run's logs, which agree on the prompts that there are."""

    evaluations: tuple[EvaluationRow, ...]
    metrics: tuple[MetricsRow, ...]
    """One row per iteration."""
    timing: tuple[TimingRow, ...]
    events: tuple[PopulationEvent, ...]


def read_logs(run: RunDir) -> RunLogs:
    """Read a run's logs, births last: of a run that goes on, they know every prompt that was read of before.

    Raises RunDirError naming the file, and the line, that is missing, damaged or about a prompt that was not born.
    """
    logs = RunLogs(tuple(read_evaluations(run)), tuple(read_metrics(run)), tuple(read_timing(run)), tuple(read_events(run)))
    born = {event.id: event.step for event in logs.events if isinstance(event, BornEvent)}
    named = ((Log.METRICS, [row.shown for row in logs.metrics]), (Log.EVALUATIONS, [row.prompt_id for row in logs.evaluations]))
    for log, prompts in named:
        if wrong := next((line for line, prompt in enumerate(prompts, start=1) if prompt not in born), None):
            raise RunDirError(f"{log.path(run.path)}, line {wrong}: prompt {prompts[wrong - 1]} was not born; {RESTORE}")
    if born and min(born.values()) > 1:
        raise RunDirError(f"{Log.POPULATION.path(run.path)}: no prompt was born before step 2; {RESTORE}")
    for log, steps in ((Log.METRICS, [row.step for row in logs.metrics]), (Log.TIMING, [row.step for row in logs.timing])):
        if wrong := next((line for line, step in enumerate(steps, start=1) if line != step), None):
            raise RunDirError(f"{log.path(run.path)}, line {wrong}: it is of step {steps[wrong - 1]}; {RESTORE}")
    return logs


def read_view(run: RunDir) -> RunView:
    """Read a run's logs. Raises RunDirError naming the file, and the line, that is missing or damaged."""
    return view_of(run, read_logs(run))


def view_of(run: RunDir, logs: RunLogs) -> RunView:
    """Make the view of a run from its logs. Raises RunDirError as `read_logs`."""
    config, metrics = run.config(), logs.metrics
    try:
        prompts, rejected = replay(logs.events, config.method.population_size)
    except UnbornError as error:
        raise RunDirError(f"{Log.POPULATION.path(run.path)}, {error}; {RESTORE}") from error
    return RunView(
        config=config,
        summary=run.summary() if run.is_finished else None,
        steps=len(metrics),
        prompts=prompts,
        shown_id=metrics[-1].shown if metrics else 0,
        rejected=rejected,
        evaluations=logs.evaluations,
        training_outcomes=mean_shares([row.outcomes for row in metrics]),
        training_tools=mean_tool_use([row.tools for row in metrics]),
        credit=_credit(run),
    )


def _credit(run: RunDir) -> Credits:
    """Return the evidence at the last commit; none if there is no sound one, or if its version kept none."""
    try:
        return Population.from_json(run.last_population() or {}).credit
    except ValueError:
        return {}


class UnbornError(ValueError):
    """An event is about a prompt that no earlier event names, or names it anew; the message gives the line and the prompt."""


def replay(events: Iterable[PopulationEvent], population_size: int) -> tuple[tuple[PromptView, ...], dict[str, int]]:
    """Return the prompts and the counts of rejected children of a population log. The newest `population_size` live.

    Raises UnbornError.
    """
    prompts: dict[int, PromptView] = {}
    rejected: Counter[str] = Counter()
    for line, event in enumerate(events, start=1):
        match event:
            case BornEvent():
                if event.id in prompts:
                    raise UnbornError(f"line {line}: prompt {event.id} is born a second time")
                if unborn := [parent for parent in event.parents if parent not in prompts or parent >= event.id]:
                    raise UnbornError(f"line {line}: prompt {event.id} has the parent {unborn[0]}, which was not born before it")
                prompts[event.id] = _born(event)
            case RatedEvent():
                if unborn := [prompt for prompt in (*event.means, *event.ratings) if prompt not in prompts]:
                    raise UnbornError(f"line {line}: prompt {unborn[0]} is rated and was not born")
                _rate(prompts, event)
            case RejectedEvent():
                rejected[f"{event.origin}: {event.reason}"] += 1
    living = frozenset(sorted(prompts)[-population_size:])
    return tuple(replace(prompts[key], lives=key in living) for key in sorted(prompts)), dict(sorted(rejected.items()))


def _born(event: BornEvent) -> PromptView:
    return PromptView(
        id=event.id,
        origin=event.origin,
        parents=event.parents,
        born_step=event.step,
        principles=event.principles,
        rating=Rating(event.mu, event.sigma),
        matches=0,
        mean_reward=None,
        evidence=event.evidence,
        lives=True,
    )


def _rate(prompts: dict[int, PromptView], event: RatedEvent) -> None:
    """Apply one ranking. A lone prompt is rolled out, but not ranked."""
    ranked = len(event.means) > 1
    for key, mean in event.means.items():
        prompts[key] = replace(prompts[key], mean_reward=mean, matches=prompts[key].matches + ranked)
    for key, (mu, sigma) in event.ratings.items():
        prompts[key] = replace(prompts[key], rating=Rating(mu, sigma))


def by_rating(prompts: Iterable[PromptView]) -> list[PromptView]:
    """Sort by mu - 2 sigma, best first; of equals, the older first."""
    return sorted(prompts, key=lambda prompt: (-conservative(prompt.rating, 2.0), prompt.id))


def ancestry(prompts: Sequence[PromptView]) -> frozenset[int]:
    """Return the ids of living prompts and of all their ancestors by first parent."""
    parents = {prompt.id: prompt.parents[:1] for prompt in prompts}
    ids: set[int] = set()
    for prompt in prompts:
        line = [prompt.id] if prompt.lives else []
        while line and line[0] not in ids:
            ids.add(line[0])
            line = list(parents[line[0]])
    return frozenset(ids)


def children(prompts: Sequence[PromptView], ids: Collection[int]) -> dict[int, list[int]]:
    """Map first parent to its children among `ids`, the one with most descendants first; of equals, the older."""
    children_of: dict[int, list[int]] = {prompt.id: [] for prompt in prompts}
    weight = dict.fromkeys(children_of, 1)
    for prompt in sorted(prompts, key=lambda prompt: -prompt.id):  # a child's id is larger than its parents'
        if prompt.id in ids and prompt.parents:
            children_of[prompt.parents[0]].append(prompt.id)
            weight[prompt.parents[0]] += weight[prompt.id]
    return {parent: sorted(line, key=lambda key: (-weight[key], key)) for parent, line in children_of.items()}
