"""The other way to learn words: an optimizer that owns its loop, using this harness's rollouts, editor, ledger and budget.

An alternative to `loop.train`, with the same kind of result: a state that is evaluated, summarised, verified and resumed like any other.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from espl_bench.accounting.ledger import Purpose
from espl_bench.engines.rendered_chat import opened_by
from espl_bench.errors import CheckpointError, UsageError
from espl_bench.evolution.operators.editor import Editor
from espl_bench.evolution.operators.proposal import Child, EditLimits
from espl_bench.evolution.optimizer import find_optimizer
from espl_bench.evolve import Generation, mean_rewards
from espl_bench.loop import LoopState, RunContext
from espl_bench.monitoring.recorder import RunRecorder
from espl_bench.rollouts.batches import whole_split
from espl_bench.rollouts.rollout import roll_out
from espl_bench.seeding import seed_for
from espl_bench.types import Lineage, Message, Problem, Rating, SampleRequest, Split, SystemPrompt, TrajectoryGroup
from espl_bench.utils import atomic_io, foreign_files
from espl_bench.utils.foreign_json import parse_object
from espl_bench.utils.foreign_text import readable
from espl_bench.utils.reasoning import strip_reasoning
from espl_bench.utils.stop_signal import InterruptedRunError, StopSignal

STATE = "optimizer.json"
"""File in a checkpoint that holds the optimizer's own state."""


async def optimize(context: RunContext, state: LoopState, recorder: RunRecorder, stop: StopSignal) -> LoopState:
    """Run the method's optimizer to its end; the prompt it returns becomes the newest of the population.

    Args:
        context: the run's parts.
        state: the run's current state, with the checkpoint it resumes from.
        recorder: writes the run's records.
        stop: checked at every checkpoint.
    """
    name = context.config.method.optimizer
    assert name is not None, "the method names an optimizer"
    harness = OptimizerHarness(context, recorder, stop, state, **read_state(state.checkpoint))
    if state.checkpoint is None:
        await harness.checkpoint({})
        harness.restored = None
    principles = tuple(await find_optimizer(name).optimise(harness))
    harness.finish(principles)
    await harness.save()
    return harness.state


def read_state(folder: Path | None) -> dict[str, Any]:
    """Read the optimizer's state from a checkpoint; empty without a checkpoint. Raises CheckpointError."""
    if folder is None:
        return {}
    try:
        record = parse_object(foreign_files.read_record(folder / STATE, folder.parent))
        return {"restored": record["state"] or None, "requests": record["requests"]}
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{folder / STATE} cannot be used ({error}); delete {folder} to go on from the checkpoint before") from error


@dataclass
class OptimizerHarness:
    """The harness of one run (`evolution.optimizer.Harness`)."""

    context: RunContext
    recorder: RunRecorder
    stop: StopSignal
    state: LoopState
    restored: Mapping[str, Any] | None = None
    requests: int = 0
    """Requests made to the editor so far; each has a seed of its own."""
    _latest: Mapping[str, Any] = field(default_factory=dict[str, Any])
    _problems: dict[Split, tuple[Problem, ...]] = field(default_factory=dict[Split, tuple[Problem, ...]])

    @property
    def root(self) -> tuple[str, ...]:
        """Return the principles that the run starts from."""
        return self.context.config.evolution.root_principles

    @property
    def seed(self) -> int:
        """Return the run's seed."""
        return self.context.config.seed

    @property
    def group_size(self) -> int:
        """Return the configured size of a group."""
        return self.context.config.batch.group_size

    @property
    def limits(self) -> EditLimits:
        """Return the configured bounds of operators."""
        return self.context.limits

    @property
    def training(self) -> Sequence[Problem]:
        """Return the training problems."""
        return self._split(Split.TRAIN)

    @property
    def validation(self) -> Sequence[Problem]:
        """Return the validation problems."""
        return self._split(Split.VALIDATION) if Split.VALIDATION in self.context.env.splits else ()

    @property
    def rollouts_left(self) -> int:
        """Return the number of episodes left in the budget."""
        config = self.context.config
        budget = config.iterations * config.batch.num_prompts * config.batch.batch_size * config.batch.group_size
        return budget - self.context.ledger.totals().rollouts

    async def roll_out(
        self, principles: Sequence[str], problems: Sequence[Problem], samples: int = 1, parents: Sequence[int] = ()
    ) -> tuple[TrajectoryGroup, ...]:
        """Roll out a prompt, store it as one iteration, and return the groups."""
        wanted = len(problems) * samples
        if any(problem.split is Split.TEST for problem in problems):
            raise UsageError(f"optimizer '{self._name}' asked for rollouts on the test split, which must not steer")
        if not 0 < wanted <= self.rollouts_left:
            raise UsageError(f"optimizer '{self._name}' asked for {wanted} rollouts with {self.rollouts_left} left; give it more --steps")
        started, step = time.monotonic(), self.state.step
        prompt, born = self._prompt(tuple(principles), tuple(parents))
        policy = await self.context.policy(Purpose.ROLLOUT)
        watchdog = self.context.watchdog(self.recorder)
        served = [self.context.env.problem(problem.split, problem.index) for problem in problems]  # a control may withhold their answers
        groups = await roll_out(policy, self.context.spec, [prompt], served, samples, "rollout", step, watchdog=watchdog)
        self.context.ledger.record_episodes(Purpose.ROLLOUT, wanted)
        graded = self.context.control.rewards(groups, self.seed, step)
        population = self.state.population.record(graded)
        generation = Generation(population, mean_rewards(graded), {prompt.id: prompt.rating}, born, ())
        self.recorder.iteration(step + 1, groups, generation, prompt, {}, time.monotonic() - started)
        self.state = LoopState(step + 1, population)
        return graded

    async def editor(self) -> Editor:
        """Return the editor of operators."""
        return await self.context.edits(self.state.step)

    async def write(self, request: str) -> str:
        """Return the editor's answer."""
        config, messages = self.context.config, (Message("user", self.context.editor_chat.harmless(request)),)
        asked = SampleRequest(
            prompt_T=self.context.editor_chat.encode(messages),
            seed=seed_for(config.seed, "optimizer", self.requests),
            max_tokens=config.editor.max_tokens,
            temperature=config.editor.temperature,
            top_p=config.editor.top_p,
            messages=messages,
        )
        self.requests += 1
        [completion] = await (await self.context.reflecting()).sample([asked])
        return strip_reasoning(readable(completion.after(opened_by(self.context.editor_chat, messages)).text))

    async def checkpoint(self, state: Mapping[str, Any]) -> None:
        """Save, and stop if the run was asked to."""
        self._latest = state
        await self.save()
        if self.stop.wanted:
            raise InterruptedRunError(self.state.step, self.recorder.folder)

    async def save(self) -> None:
        """Commit everything so far."""
        record = json.dumps({"state": dict(self._latest), "requests": self.requests})

        async def save(folder: Path) -> None:
            await self.context.engine.save(folder)
            atomic_io.write_atomic(folder / STATE, [record.encode("utf-8")])

        await self.recorder.commit(self.state.step, self.state.population, save)
        self.context.clients.begin(self.recorder.folder, self.state.step)

    def finish(self, principles: tuple[str, ...]) -> None:
        """Make the returned prompt the newest member."""
        population = self.state.population
        if population.newest.principles == principles:
            return
        known = next((member for member in population.members if member.principles == principles), None)
        child = self._child(principles, (known.id,) if known else ())
        population = population.admit(child.principles, child.rating, child.lineage)
        self.recorder.born(self.state.step, population.newest, child)
        self.state = LoopState(self.state.step, population)

    def _split(self, split: Split) -> tuple[Problem, ...]:
        """Return a split's problems as an optimizer may see them; read once."""
        if split not in self._problems:
            self._problems[split] = tuple(map(self.context.control.problem, whole_split(self.context.env, split)))
        return self._problems[split]

    @property
    def _name(self) -> str:
        return self.context.config.method.optimizer or ""

    def _child(self, principles: tuple[str, ...], parents: tuple[int, ...]) -> Child:
        return Child(principles, Rating(), Lineage(self._name, parents, self.state.step + 1), ())

    def _prompt(self, principles: tuple[str, ...], parents: tuple[int, ...]) -> tuple[SystemPrompt, tuple[tuple[SystemPrompt, Child], ...]]:
        """Return the living prompt with these principles, or admit a new one."""
        for member in self.state.population.members:
            if member.principles == principles:
                return member, ()
        child = self._child(principles, parents)
        population = self.state.population.admit(child.principles, child.rating, child.lineage)
        self.state = LoopState(self.state.step, population)
        return population.newest, ((population.newest, child),)
