"""Verify a run: replay every stored rollout to the run's own environment, and recompute the run's records from it.

No model is loaded. Verification compares reward and outcome of every rollout; reward, outcomes and tokens of every iteration
(metrics.jsonl); score and outcomes of every evaluation (evaluations.jsonl); the result (summary.json); and the configuration with the
one that the run is bound to. Every difference and every invalid line is a `Difference`; nothing is repaired.
"""

import itertools
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial

from pydantic_core import to_json

from espl_bench.analysis.contamination import ContaminationIndex, short_form
from espl_bench.analysis.reopening import recorded_environment
from espl_bench.build import data_identity_of
from espl_bench.config.choices import completed
from espl_bench.config.run_config import RunConfig
from espl_bench.environment.agent_env import AgentEnv
from espl_bench.environment.pool import EnvPool, close_env
from espl_bench.environment.text_env import TextEnv
from espl_bench.rollouts.episode import Ending, hand_in_again, replay, side_by_side
from espl_bench.rollouts.evaluate import part_scores
from espl_bench.rollouts.outcomes import mean_shares
from espl_bench.runs.binding import Binding, What
from espl_bench.runs.claims import names_and_settings, prompt_shown, spent_until
from espl_bench.runs.collect_binding import bound_choices
from espl_bench.runs.consent import NO_CONSENT, Consent, confirm_items
from espl_bench.runs.log_rows import EvaluationRow, MetricsRow, read_evaluations, read_metrics, read_timing
from espl_bench.runs.population_events import read_events
from espl_bench.runs.rollout_rows import RolloutRow, read_stored
from espl_bench.runs.run_dir import CONFIG, KINDS, SUMMARY, Log, RolloutKind, RunDir
from espl_bench.runs.summary import Summary
from espl_bench.types import Problem, Split, StopReason
from espl_bench.utils.jsonl import InvalidRowError

Evaluations = Mapping[tuple[int, Split], EvaluationRow]
"""By step and split."""
Progress = Callable[[int, int], None]
"""Callback with the finished files and their total."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Disagreement, or a line or file that cannot be used."""

    place: str
    """File inside the run, and line."""
    what: str
    recorded: str
    found: str


@dataclass(frozen=True, slots=True)
class RegradedRollout:
    """Stored rollout and the outcome of its replay."""

    stored: RolloutRow
    ending: Ending


@dataclass
class Verification:
    """Extent of a verification and its differences."""

    run_dir: RunDir
    summary: Summary | None
    """None: the run is unfinished."""
    rollouts: int = 0
    files: int = 0
    differences: list[Difference] = field(default_factory=list[Difference])

    def compare(self, location: str, what: str, recorded: object, recomputed: object) -> None:
        """Record a difference, if there is one."""
        if recorded != recomputed:
            self.differences.append(Difference(location, what, _text(recorded), _text(recomputed)))


@dataclass(frozen=True)
class Examiner:
    """Environment of the run and its items by id."""

    run_dir: RunDir
    config: RunConfig
    consent: Consent

    @cached_property
    def pool(self) -> EnvPool:
        """Instances in which episodes are replayed."""
        return EnvPool(partial(recorded_environment, self.run_dir, self.config, self.consent))

    @cached_property
    def env(self) -> TextEnv:
        """Instance that is used to read items."""
        return recorded_environment(self.run_dir, self.config, self.consent)

    def close(self) -> None:
        """Close the instances."""
        self.pool.close()
        close_env(self.env)

    @cached_property
    def problems(self) -> Mapping[str, Problem]:
        """Items of every split, by id."""
        every = (self.env.problem(split, index) for split in self.env.splits for index in range(self.env.size(split)))
        return {problem.id: problem for problem in every}

    def fault(self, stored: RolloutRow) -> InvalidRowError | None:
        """Explain why a rollout cannot be re-graded; None if it can."""
        problem = self.problems.get(stored.problem_id)
        if problem is None:
            return InvalidRowError(f"of the item {stored.problem_id}, which the environment does not have")
        if (stored.question, stored.answer) != (problem.question, problem.answer):
            return InvalidRowError(f"of another {problem.id} than the environment's")
        return None

    def regrade(self, stored: RolloutRow) -> RegradedRollout:
        """Replay the episode. An episode without turns was ended by an earlier fault and is kept as recorded."""
        if not stored.turns:
            return RegradedRollout(stored, Ending(stored.reward, stored.outcome, stored.error))
        problem = self.problems[stored.problem_id]
        stop = stored.stop_reason or StopReason.STOP
        with self.pool.lent() as env:
            if isinstance(env, AgentEnv):
                recorded = Ending(stored.reward, stored.outcome, stored.error, stored.limit)
                return RegradedRollout(stored, hand_in_again(env, problem, stored.submitted, recorded, stop))
            return RegradedRollout(stored, replay(env, problem, stored.turns, stop, stored.heard, stored.limit))


def verify(run_dir: RunDir, progress: Progress, consent: Consent = NO_CONSENT) -> Verification:
    """Verify a finished or unfinished run.

    Raises:
        UsageError: the run's environment is not installed, has other data, or asks for them where the user has not confirmed that.
        RunDirError: a log of the run, its configuration or its summary is damaged.
    """
    config = run_dir.config()
    confirm_items(run_dir, config, consent)
    with closing(Examiner(run_dir, config, consent)) as examiner:
        return _verify(run_dir, examiner, progress)


def _verify(run_dir: RunDir, examiner: Examiner, progress: Progress) -> Verification:
    run_dir.refuse_other_data(data_identity_of(examiner.config).compared)
    verification = Verification(run_dir, run_dir.summary() if run_dir.is_finished else None)
    _compare_config(verification, examiner.config)
    metrics = {row.step: row for row in read_metrics(run_dir)}
    evaluations = {(row.step, row.split): row for row in read_evaluations(run_dir)}
    stored: set[tuple[int, RolloutKind]] = {(step, kind) for kind in KINDS for step in run_dir.rollout_steps(kind)}
    named: set[tuple[int, RolloutKind]] = {*((step, None) for step in metrics), *evaluations, *stored}
    files = sorted(named, key=lambda file: (file[0], file[1] or ""))
    last_test: list[RegradedRollout] | None = None
    for done, (step, split) in enumerate(files):
        progress(done, len(files))
        regraded = _regrade_file(verification, examiner, step, split)
        if regraded is not None and split is None and step in metrics:
            _compare_metrics(verification, metrics[step], regraded)
        if regraded is not None and isinstance(split, Split) and (step, split) in evaluations:
            _compare_evaluation(verification, examiner, evaluations[step, split], regraded)
        if split is Split.TEST:
            last_test = regraded
    progress(len(files), len(files))
    if verification.summary is not None:
        _compare_summary(verification, verification.summary, evaluations, last_test)
        _compare_parts(verification, verification.summary, evaluations, examiner)
        _compare_claims(verification, verification.summary, examiner)
    return verification


def _compare_config(verification: Verification, config: RunConfig) -> None:
    """Compare the configuration with the one that the run was made with, as far as provenance has it."""
    bound = verification.run_dir.provenance.present_binding()
    if bound is not None:
        for change in bound.changes(Binding(config=bound_choices(config)), (What.CONFIG,)):
            verification.compare(CONFIG, change.name, change.old, change.new)


def _regrade_file(verification: Verification, examiner: Examiner, step: int, split: RolloutKind) -> list[RegradedRollout] | None:
    """Re-grade a file; None if the file or one of its lines is invalid, so that nothing can be computed from it."""
    path = verification.run_dir.rollout_path(step, split)
    name = path.relative_to(verification.run_dir.path).as_posix()
    verification.files += 1
    try:
        lines = list(read_stored(path, verification.run_dir.path))
    except OSError as error:
        verification.differences.append(Difference(name, "file", "rollouts", f"cannot be read ({error.strerror})"))
        return None
    sound: dict[int, RolloutRow] = {}
    for number, line in enumerate(lines, start=1):
        fault = line if isinstance(line, InvalidRowError) else examiner.fault(line)
        if fault is not None:
            verification.differences.append(Difference(f"{name} line {number}", "line", "a rollout", str(fault)))
        elif isinstance(line, RolloutRow):
            sound[number] = line
    regraded = list(side_by_side(examiner.regrade, list(sound.values()), examiner.env.steps_at_once))
    verification.rollouts += len(regraded)
    for number, rollout in zip(sound, regraded, strict=True):
        location, item = f"{name} line {number}", rollout.stored.problem_id
        verification.compare(location, f"outcome of {item}", rollout.stored.outcome.value, _outcome(rollout))
        verification.compare(location, f"reward of {item}", rollout.stored.reward, rollout.ending.reward)
    return regraded if len(sound) == len(lines) else None


def _compare_metrics(verification: Verification, row: MetricsRow, regraded: Sequence[RegradedRollout]) -> None:
    """Compare an iteration with its rollouts."""
    location = f"{Log.METRICS}.jsonl step {row.step}"
    graded = [rollout.ending.reward for rollout in regraded if rollout.ending.outcome.graded]
    verification.compare(location, "outcomes", row.outcomes, _shares(regraded))
    verification.compare(location, "reward", row.reward, _mean(graded))
    verification.compare(location, "generated tokens", row.generated_tokens, sum(rollout.stored.generated_tokens for rollout in regraded))


def _compare_evaluation(verification: Verification, examiner: Examiner, row: EvaluationRow, regraded: Sequence[RegradedRollout]) -> None:
    """Compare an evaluation with its rollouts."""
    location, split = f"{Log.EVALUATIONS}.jsonl step {row.step}", row.split
    verification.compare(location, "outcomes", row.outcomes, _shares(regraded))
    verification.compare(location, f"{split} score", row.score, _mean(_item_scores(regraded)))
    env, samples = examiner.env, examiner.config.evaluation.eval_samples
    parts = env.parts(split)
    if not parts or len(regraded) == env.size(split) * samples:
        verification.compare(location, f"{split} parts", dict(row.parts), part_scores(_item_scores(regraded), parts))
    expected = [(env.problem(split, index).id, sample) for index in range(env.size(split)) for sample in range(samples)]
    present = [(rollout.stored.problem_id, rollout.stored.sample) for rollout in regraded]
    if present != expected:
        stated = f"{env.size(split):,} items x {samples} samples, in order"
        verification.differences.append(Difference(location, f"{split} rollouts", stated, f"{len(present):,} others"))


def _compare_summary(
    verification: Verification, summary: Summary, evaluations: Evaluations, test: Sequence[RegradedRollout] | None
) -> None:
    """Compare the summary with the log of evaluations, and its test results with the rollouts of the last test."""
    for split, score in ((Split.TEST, summary.score), (Split.VALIDATION, summary.validation_score)):
        row = evaluations.get((summary.steps, split))
        verification.compare(SUMMARY, f"{split} score", score, None if row is None else row.score)
    logged = sorted((row.step, row.split, row.score) for row in evaluations.values())
    verification.compare(SUMMARY, "curve", sorted((point.step, point.split, point.score) for point in summary.curve), logged)
    if test is None:
        return
    scores, item_scores = _scores(test), _item_scores(test)
    verification.compare(SUMMARY, "test score, graded again", summary.score, _mean(item_scores))
    verification.compare(SUMMARY, "outcomes", summary.outcomes, _shares(test))
    verification.compare(SUMMARY, "items", summary.n_items, len(scores))
    verification.compare(SUMMARY, "samples", {summary.k}, {len(samples) for samples in scores})
    for index, (recorded, again) in enumerate(zip(summary.sample_scores, scores, strict=False)):
        verification.compare(SUMMARY, f"rewards of item {index}", list(recorded), again)


def _compare_parts(verification: Verification, summary: Summary, evaluations: Evaluations, examiner: Examiner) -> None:
    """Compare the parts of the test with the environment's, and their scores with the last test's, which was compared with its rollouts."""
    row = evaluations.get((summary.steps, Split.TEST))
    scores = dict[str, float]() if row is None else row.parts
    expected = [(name, len(items), scores.get(name)) for name, items in examiner.env.parts(Split.TEST).items()]
    verification.compare(SUMMARY, "parts", [(part.name, part.items, part.score) for part in summary.parts], expected)


def _compare_claims(verification: Verification, summary: Summary, examiner: Examiner) -> None:
    """Compare what else the summary says with what it follows from. Fields that an old version did not write are left out."""
    run = verification.run_dir
    known = run.provenance.present_binding()
    told = names_and_settings(examiner.config, known or Binding())
    if known is None:  # not recorded: whether the model was a folder, and the bytes that the id hashes
        for name in ("run_id", "model", "editor_model"):
            told.pop(name)
    for name in ("choices", "bound"):
        if not getattr(summary, name) or known is None:
            told.pop(name)
    told["allowed_changes"] = tuple(str(change) for change in run.provenance.allowed_changes())
    if summary.data_identity:
        told["data_identity"] = run.provenance.data_identity()
    for name, expected in told.items():
        said = getattr(summary, name)
        if name == "choices":  # options that are newer than the run had their defaults
            said, expected = completed(said), completed(expected)
        verification.compare(SUMMARY, name, _plain(said), _plain(expected))
    _compare_costs(verification, summary)
    rows = read_evaluations(run)
    final = next((row for row in reversed(rows) if (row.step, row.split) == (summary.steps, Split.TEST)), None)
    if final is not None:
        shown = prompt_shown(read_events(run), final)
        verification.compare(SUMMARY, "shown prompt", summary.shown_prompt, shown)
        quotes = short_form(ContaminationIndex.of(examiner.env).in_prompt(shown)) if shown else ()
        verification.compare(SUMMARY, "quotes", summary.quotes, quotes)
        verification.compare(SUMMARY, "measures", summary.measures, dict(final.measures))
    bound = run.provenance.bound_summary()
    if bound is not None and not any(difference.place == SUMMARY for difference in verification.differences):
        verification.compare(SUMMARY, "hash of what it says", summary.content_sha256, bound)


def _compare_costs(verification: Verification, summary: Summary) -> None:
    """Compare the ledger, the curve and the outcomes of training with the logs."""
    run = verification.run_dir
    metrics, seconds = read_metrics(run), {row.step: row.seconds for row in read_timing(run)}
    if summary.training_outcomes:
        verification.compare(SUMMARY, "training outcomes", summary.training_outcomes, mean_shares([row.outcomes for row in metrics]))
    rows = [row for row in read_evaluations(run) if row.spent is not None]
    timed = next(step for step in itertools.count(1) if step not in seconds) - 1
    """The last step up to which all are timed; a damaged row may name any."""
    expected = [spent_until(row.step, row.spent, seconds) for row in rows if row.spent is not None and row.step <= timed]
    if len(expected) == len(summary.curve):
        for point, spent in zip(summary.curve, expected, strict=True):
            claimed = point.spent.model_copy(update={"cost_usd": None})
            verification.compare(SUMMARY, f"spent until {point.split} of step {point.step}", claimed.model_dump(), spent.model_dump())
    final = next((row.spent for row in reversed(rows) if (row.step, row.split) == (summary.steps, Split.TEST)), None)
    if final is not None:
        for name, amount in asdict(final).items():
            verification.compare(SUMMARY, f"ledger's {name}", getattr(summary.ledger, name), amount)


def _outcome(rollout: RegradedRollout) -> str:
    """Return the outcome of a replay; of an error that the stored episode did not end in, also what failed."""
    ending = rollout.ending
    said = f": {ending.error}" if ending.error and ending.outcome is not rollout.stored.outcome else ""
    return f"{ending.outcome.value}{said}"


def _plain(value: object) -> object:
    """Return a value as JSON holds it, since the summary has been through a file."""
    return json.loads(to_json(value))


def _shares(regraded: Sequence[RegradedRollout]) -> dict[str, float]:
    counts = Counter(rollout.ending.outcome.value for rollout in regraded)
    return {outcome: count / len(regraded) for outcome, count in counts.items()}


def _scores(regraded: Sequence[RegradedRollout]) -> list[list[float]]:
    """Collect the rewards, items x samples, in the order of the file."""
    items: dict[str, list[float]] = {}
    for rollout in regraded:
        items.setdefault(rollout.stored.problem_id, []).append(rollout.ending.reward)
    return list(items.values())


def _item_scores(regraded: Sequence[RegradedRollout]) -> list[float]:
    return [_mean(rewards) for rewards in _scores(regraded)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _text(value: object) -> str:
    if isinstance(value, dict):
        return json.dumps(value, sort_keys=True)
    return f"{value:.6g}" if isinstance(value, float) else str(value)
