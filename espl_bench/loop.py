"""The one loop of every method.

Each iteration lets every selected prompt meet every problem with the current weights; then weights and words learn from
the same groups, side by side. How this departs from the paper and its reference code:

1. Advantages are centred per baseline set and not divided by a standard deviation (as the paper); RL-only's copies of the
   root prompt form one set of K·G by default (the reference code: K sets of G).
2. The prompt is rendered by one function in training and in evaluation.
3. The test split is reported and steers nothing: no best checkpoint, no resume by test score.
4. Before the first and after the last step, and every `eval_every` steps between, the shown prompt is validated.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from espl_bench.accounting.budgeted_client import BudgetedClients
from espl_bench.accounting.cost_tracker import ModelRole
from espl_bench.accounting.ledger import Ledger, MeteredClient, Purpose, metered_score, metered_train_step
from espl_bench.config.run_config import RunConfig
from espl_bench.controls import Control
from espl_bench.engines.engine import AdamParams, Chat, Engine, SamplingClient, ScoringEngine
from espl_bench.environment.text_env import TextEnv
from espl_bench.evolution.acceptance import find_acceptance
from espl_bench.evolution.operators.editor import Editor
from espl_bench.evolution.operators.proposal import EditLimits
from espl_bench.evolution.population import Population
from espl_bench.evolution.schedule import Halves, Progress, Prompts, find_schedule
from espl_bench.evolution.selection import find_selector
from espl_bench.evolve import Generation, evolve, mean_rewards
from espl_bench.learning.advantages import compute_advantages, find_baseline, find_normalisation
from espl_bench.learning.datums import to_datums
from espl_bench.learning.distillation import mean_gap, seen_under, towards
from espl_bench.learning.loss_spec import LossSpec
from espl_bench.method import EditorChoice, Teacher
from espl_bench.monitoring.recorder import RunRecorder
from espl_bench.rollouts.batches import training_batch, whole_split
from espl_bench.rollouts.evaluate import Evaluation, evaluate
from espl_bench.rollouts.rollout import RolloutSpec, roll_out
from espl_bench.rollouts.watchdog import Watchdog
from espl_bench.runs.binding import Binding
from espl_bench.runs.run_dir import TRIAL
from espl_bench.seeding import rng_for, seed_for
from espl_bench.types import Datum, Lineage, Problem, Rating, Split, SystemPrompt, TrajectoryGroup
from espl_bench.utils.stop_signal import InterruptedRunError, StopSignal


@dataclass(frozen=True)
class LoopState:
    """Everything that changes during a run, apart from the weights."""

    step: int
    """Iterations finished."""
    population: Population
    checkpoint: Path | None = None
    """Checkpoint folder that a resumed run starts from."""


@dataclass(frozen=True)
class RunContext:
    """The opened parts of a run."""

    config: RunConfig
    env: TextEnv
    control: Control
    spec: RolloutSpec
    engine: Engine
    editor: Engine
    """Same object as `engine` unless the editor is another model."""
    editor_chat: Chat
    """The editor's chat format, at the time of the run's start."""
    clients: BudgetedClients
    ledger: Ledger
    loss: LossSpec
    limits: EditLimits
    data_identity: Mapping[str, str]
    """Hashes that two runs are compared by, by split."""
    binding: Binding
    """What the numbers depend on."""

    async def policy(self, purpose: Purpose) -> SamplingClient:
        """Return a client of the current weights, metered."""
        return MeteredClient(self.clients.client(await self.engine.current(), ModelRole.POLICY), self.ledger, purpose)

    async def reflecting(self) -> SamplingClient:
        """Return the editor's client, metered: of a separate model, or of the policy, frozen or current as the method says."""
        frozen = self.editor is not self.engine or self.config.method.editor is EditorChoice.REFERENCE
        client = await (self.editor.reference() if frozen else self.editor.current())
        return MeteredClient(self.clients.client(client, ModelRole.EDITOR), self.ledger, Purpose.REFLECTION)

    async def edits(self, step: int) -> Editor:
        """Return the editor of the iteration after `step`."""
        config = self.config
        return Editor(
            client=await self.reflecting(),
            chat=self.editor_chat,
            dialect=self.spec.dialect,
            run_seed=config.seed,
            step=step,
            temperature=config.editor.temperature,
            max_tokens=config.editor.max_tokens,
            top_p=config.editor.top_p,
        )

    def watchdog(self, recorder: RunRecorder) -> Watchdog:
        """Return a watchdog that reports stuck rollouts."""
        return Watchdog(self.config.stuck_after, recorder.reporter.stuck)

    @property
    def learns_side_by_side(self) -> bool:
        """True if words may be written while weights move. False if they need these weights, or the engine updates weights in place."""
        if find_acceptance(self.config.method.acceptance).rolls_out:  # a child must be judged with the weights that made the rollouts
            return False
        own_weights = self.config.method.editor is EditorChoice.REFERENCE and self.engine.isolates_snapshots
        return own_weights or self.editor is not self.engine

    @property
    def root(self) -> SystemPrompt:
        """Return the run's first prompt, as it was at the start."""
        return Population.start(self.config.evolution.root_principles, 1).newest

    def shown(self, population: Population) -> SystemPrompt:
        """Return the prompt that the run is evaluated with now."""
        return self.config.method.shown_prompt(population, self.root)

    def prompts(self, population: Population, halves: Halves, step: int) -> tuple[SystemPrompt, ...]:
        """Return the prompts to roll out after `step`, one for each place."""
        method, places = self.config.method, self.config.batch.num_prompts
        match halves.prompts:
            case Prompts.SELECTED:
                rng = rng_for(self.config.seed, "selection", step)
                return find_selector(method.selector).select(population.members, population.history, places, rng)
            case Prompts.EVOLVED:
                return (method.evolved_prompt(population),) * places
            case Prompts.ROOT:
                return (self.root,) * places

    def halves(self, step: int) -> Halves:
        """Return which halves learn from the iteration after `step`."""
        method, spent = self.config.method, self.ledger.totals()
        progress = Progress(step, self.config.iterations, spent.rollouts, spent.generated_tokens)
        return find_schedule(method.schedule)(progress, method.schedule_period)


async def iterate(context: RunContext, state: LoopState, recorder: RunRecorder) -> LoopState:
    """Run one iteration: act, then learn weights and words from the same groups."""
    config, step = context.config, state.step
    started = time.monotonic()
    halves = context.halves(step)
    prompts_K = context.prompts(state.population, halves, step)
    problems_P = training_batch(context.env, config.seed, step, config.batch.batch_size)
    policy = await context.policy(Purpose.ROLLOUT)
    watchdog = context.watchdog(recorder)
    groups_KP = await roll_out(policy, context.spec, prompts_K, problems_P, config.batch.group_size, "rollout", step, watchdog=watchdog)
    context.ledger.record_episodes(Purpose.ROLLOUT, sum(len(group.trajectories_G) for group in groups_KP))

    graded_KP = context.control.rewards(groups_KP, config.seed, step)
    trial = StepTrial(context, policy, problems_P, step, watchdog)
    if context.learns_side_by_side:
        learned, generation = await asyncio.gather(
            learn_weights(context, state, graded_KP, halves), learn_words(context, state, graded_KP, trial, halves)
        )
    else:  # writing or judging with the current weights must come before they move
        generation = await learn_words(context, state, graded_KP, trial, halves)
        learned = await learn_weights(context, state, graded_KP, halves)
    shown = context.shown(generation.population)
    recorder.trial(step + 1, trial.groups)
    recorder.iteration(step + 1, groups_KP, generation, shown, learned, time.monotonic() - started)
    return LoopState(step + 1, generation.population)


@dataclass
class StepTrial:
    """Rollouts that judge children, on the problems of one step. Their prompt ids count down from -1."""

    context: RunContext
    policy: SamplingClient
    problems_P: Sequence[Problem]
    step: int
    watchdog: Watchdog
    groups: list[TrajectoryGroup] = field(default_factory=list[TrajectoryGroup])
    candidates: int = 0

    async def roll_out(self, principles: Sequence[str], problems: Sequence[Problem] | None = None) -> tuple[TrajectoryGroup, ...]:
        """Roll out one candidate, metered like training, by default on all problems of the step."""
        self.candidates += 1
        prompt = SystemPrompt(-self.candidates, tuple(principles), Rating(), Lineage(TRIAL))
        size, keys = self.context.config.batch.group_size, ("trial", self.step, self.candidates)
        problems_P = self.problems_P if problems is None else problems
        groups = await roll_out(self.policy, self.context.spec, [prompt], problems_P, size, *keys, watchdog=self.watchdog)
        self.context.ledger.record_episodes(Purpose.ROLLOUT, sum(len(group.trajectories_G) for group in groups))
        self.groups.extend(groups)
        own = seed_for(self.context.config.seed, "trial", self.candidates)  # a control that draws draws anew for each candidate
        return self.context.control.rewards(groups, own, self.step)


async def learn_weights(
    context: RunContext, state: LoopState, groups_KP: tuple[TrajectoryGroup, ...], halves: Halves
) -> Mapping[str, float]:
    """Take one step by policy gradient or towards the teacher, if the method learns weights and this step is scheduled for it."""
    config, method = context.config, context.config.method
    if not (method.learns_weights and halves.weights):
        return {}
    if halves.distil:
        return await distil_weights(context, state, groups_KP)
    baseline, normalisation = find_baseline(method.baseline), find_normalisation(method.normalisation)
    scored = compute_advantages(groups_KP, baseline, normalisation, method.reduction)
    learnable = [s for s in scored if not (config.optimisation.mask_truncated and s.trajectory.was_cut)]
    data = [datum for s in learnable for datum in to_datums(s.trajectory, s.advantage, config.sampling.temperature)]
    return await train_on(context, data)


async def distil_weights(context: RunContext, state: LoopState, groups_KP: tuple[TrajectoryGroup, ...]) -> Mapping[str, float]:
    """Take one step towards the method's teacher, which sees the same rollouts under the evolved prompt. Rewards do not matter."""
    config, method = context.config, context.config.method
    temperature, principles = config.sampling.temperature, method.evolved_prompt(state.population).principles
    rollouts = [
        rollout
        for group in groups_KP
        for rollout in group.trajectories_G
        if rollout.generated_tokens and not (config.optimisation.mask_truncated and rollout.was_cut)
    ]
    taught = [seen_under(rollout, context.spec.prompt_tokens(principles, rollout.problem.question), temperature) for rollout in rollouts]
    assert isinstance(context.engine, ScoringEngine), "open_run requires it"
    logprobs = await metered_score(context.engine, context.ledger, taught, reference=method.teacher is Teacher.REFERENCE)
    students = [datum for rollout in rollouts for datum in to_datums(rollout, 0.0, temperature)]
    scale = 1.0 / max(1, sum(map(len, logprobs))) if method.reduction == "token_mean" else 1.0
    data = [towards(datum, teacher, scale) for datum, teacher in zip(students, logprobs, strict=True)]
    return {**await train_on(context, data), "teacher_gap": mean_gap(students, logprobs)}


async def train_on(context: RunContext, data: Sequence[Datum]) -> Mapping[str, float]:
    """Take one optimiser step, metered."""
    adam = AdamParams(lr=context.config.optimisation.lr, grad_clip=context.config.optimisation.grad_clip)
    metrics = await metered_train_step(context.engine, context.ledger, data, context.loss, adam)
    context.clients.cost_tracker.record_training_cost(sum(len(datum.tokens_T) for datum in data))
    return metrics


async def learn_words(
    context: RunContext, state: LoopState, groups_KP: tuple[TrajectoryGroup, ...], trial: StepTrial, halves: Halves
) -> Generation:
    """Breed one generation of prompts, if the method breeds and this step is scheduled for it."""
    config = context.config
    if halves.prompts is Prompts.ROOT:  # it may have left the population
        return Generation(state.population, mean_rewards(groups_KP), {}, (), ())
    editor = await context.edits(state.step)
    rng = rng_for(config.seed, "operators", state.step)
    return await evolve(config.method, state.population, groups_KP, editor, context.limits, config.evolution.tie, rng, trial, halves.words)


async def evaluate_split(context: RunContext, state: LoopState, split: Split, recorder: RunRecorder) -> Evaluation:
    """Evaluate the shown prompt with the current weights on a held-out split."""
    policy = await context.policy(Purpose.EVALUATION)
    result = await evaluate(
        policy,
        context.spec,
        context.shown(state.population),
        whole_split(context.env, split),
        context.config.evaluation.eval_samples,
        state.step,
        lambda done, total: recorder.reporter.evaluating(split, done, total),
        context.watchdog(recorder),
    )
    result = replace(result, parts=context.env.parts(split))
    context.ledger.record_episodes(Purpose.EVALUATION, len(result.scores_IG) * context.config.evaluation.eval_samples)
    recorder.evaluation(result)
    return result


async def save_checkpoint(context: RunContext, state: LoopState, recorder: RunRecorder) -> None:
    """Commit the state to disk."""
    await recorder.commit(state.step, state.population, context.engine.save)
    context.clients.begin(recorder.folder, state.step)


async def train(context: RunContext, state: LoopState, recorder: RunRecorder, stop: StopSignal) -> LoopState:
    """Iterate to the configured end, evaluating and committing on the way. Raises InterruptedRunError after saving."""
    config = context.config
    if state.step == 0:
        await save_checkpoint(context, state, recorder)
    while state.step < config.iterations:
        if config.evaluation.eval_every and state.step % config.evaluation.eval_every == 0 and Split.VALIDATION in context.env.splits:
            await evaluate_split(context, state, Split.VALIDATION, recorder)
        if config.evaluation.test_every and state.step % config.evaluation.test_every == 0:
            await evaluate_split(context, state, Split.TEST, recorder)
        state = await iterate(context, state, recorder)
        if state.step % config.checkpoint_every == 0 or state.step == config.iterations or stop.wanted:
            await save_checkpoint(context, state, recorder)
        if stop.wanted and state.step < config.iterations:
            raise InterruptedRunError(state.step, recorder.folder)
    return state
