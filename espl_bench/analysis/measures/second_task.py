"""Plasticity: learn a second task from the weights of a finished run, and from the base, and see who gets further.

As FST (arXiv 2605.12484) probes it: RL on another task from each checkpoint. Both start with a fresh optimiser, under the root prompt, and
have the same items and seeds. The run's own folder is not touched: the logs of the second run are temporary.
"""

from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from espl_bench.accounting.ledger import Ledger
from espl_bench.analysis.measures.bench import Bench, Tell, over_items, score_of
from espl_bench.build import GivenObjects, open_run
from espl_bench.config.resolve import resolve
from espl_bench.config.run_config import RunConfig
from espl_bench.environment.pool import close_env
from espl_bench.errors import UsageError
from espl_bench.evolution.population import Population
from espl_bench.loop import LoopState, RunContext, evaluate_split, train
from espl_bench.method import Method
from espl_bench.monitoring.recorder import RunRecorder
from espl_bench.monitoring.reporter import Silent, StepReport
from espl_bench.rollouts.evaluate import Evaluation
from espl_bench.runs.log_rows import read_evaluations
from espl_bench.runs.measures_file import Progress, SecondTask
from espl_bench.runs.run_dir import RunDir
from espl_bench.tools.tool_env import ToolEnv
from espl_bench.types import Split
from espl_bench.utils.stop_signal import StopSignal

CARRIED: Final = (
    *("num_prompts", "batch_size", "group_size", "lr", "lora_rank", "lora_alpha", "train_device", "token_budget"),
    *("train_quantization", "gradient_checkpointing", "eval_samples", "temperature", "top_p", "sampling_groups"),
)
"""Options that the second run takes from the first, by flat name: none that defines a method."""
OF_THE_TASK: Final = ("max_tokens", "max_episode_tokens", "dialect", "placement", "tool_format", "root_principles")
"""Those that it takes too if its environment is the same."""
OWN_TASK: Final = "the second task is the run's own; name another with --env or --env-option"
FromBase = dict[str, Progress]
"""How the base learned a second task, by configuration: it is learned once for all runs of a seed."""


@dataclass(frozen=True, slots=True)
class SecondChoice:
    """Which task is learned second, and how."""

    method: Method
    env: str | None = None
    """None: the run's environment with other options."""
    options: Mapping[str, Any] | None = None
    steps: int = 20
    eval_every: int = 2
    target: float | None = None
    """Score to reach, 0..1; None: the last score of the base."""


def second_config(config: RunConfig, choice: SecondChoice) -> RunConfig:
    """Return the configuration of the second run. Raises UsageError if its method learns no weights."""
    if not choice.method.learns_weights:
        raise UsageError(f"a second task is learned by weights, and {choice.method.name} freezes them; name another --learn-by")
    env = choice.env or config.env
    same = env == config.env
    options = {**(config.env_options if same else {}), **(choice.options or {})}
    flat = config.flat()
    carried = {name: flat[name] for name in (*CARRIED, *(OF_THE_TASK if same else ()))}
    own = {"model": config.model, "engine": config.engine, "seed": config.seed, "env_options": options}
    every = {"steps": choice.steps, "eval_every": choice.eval_every, "test_every": 0, "checkpoint_every": choice.steps}
    return resolve(choice.method, env, {**carried, **own, **every})


@contextmanager
def opened_second(bench: Bench, choice: SecondChoice | None) -> Generator[RunContext | None]:
    """Open the second task with the engine on the bench, for the block; None for no choice.

    Raises UsageError if it cannot be learned, or has the first task's items.
    """
    if choice is None:
        yield None
        return
    config = second_config(bench.context.config, choice)
    context = open_run(config, given=GivenObjects(engine=bench.context.engine))
    try:
        if dict(context.data_identity) == dict(bench.context.data_identity):
            raise UsageError(OWN_TASK)
        if Split.VALIDATION not in context.env.splits:
            raise UsageError(f"environment '{config.env}' has no validation split to watch a second task by; name another --env")
        yield context
    finally:
        context.spec.pool.close()
        close_env(context.env)


async def second_task(
    bench: Bench,
    context: RunContext,
    target: float | None,
    before: Evaluation,
    known: FromBase,
    perplexity_now: Callable[[], Awaitable[float | None]],
) -> tuple[SecondTask, float | None]:
    """Learn the second task from the run's weights, test the first one again, and learn the second from the base.

    Args:
        bench: holds the run's final weights, and afterwards those of the last learning.
        context: as `opened_second` yields it.
        target: score to reach, 0..1; None: the last score of the base.
        before: the first task's test before.
        known: how the base learned, by configuration; extended.
        perplexity_now: measures the text, if there is one.

    Returns the measures, and the perplexity after the second task.
    """
    config = context.config
    unprompted = await bench.test("second task, root prompt", context.root.principles, context=context)
    learned = await _learn(bench, context, "second task")
    afterwards, text = await bench.test("first task again", bench.summary.shown_prompt), await perplexity_now()
    key = config.model_dump_json()
    if key not in known:
        await bench.engine.load_weights(bench.fresh)
        known[key] = await _learn(bench, context, "second task from the base")
    changes = [after - first for after, first in zip(afterwards.item_scores, before.item_scores, strict=True)]
    measured = SecondTask(
        env=config.env,
        env_options=config.env_options,
        method=config.method.name,
        unprompted=score_of(unprompted),
        learned=learned,
        from_base=known[key],
        target=known[key].scores[-1] if target is None else target,
        first_task=score_of(afterwards),
        change=over_items(changes),
    )
    return measured, text


async def _learn(bench: Bench, context: RunContext, what: str) -> Progress:
    """Learn from the engine's present weights, and leave them trained. Returns the validation scores."""
    config, context = context.config, replace(context, ledger=Ledger())
    with TemporaryDirectory(prefix="espl-bench-second-") as place:
        run_dir = RunDir.create(Path(place) / "run", config, {})
        recorder = RunRecorder(run_dir, context.ledger, _Steps(bench.tell, what, config.steps), has_tools=isinstance(context.env, ToolEnv))
        population = Population.start(config.evolution.root_principles, config.method.population_size)
        recorder.root(population.members[0])
        with run_dir.lock():
            state = await train(context, LoopState(0, population), recorder, StopSignal())
            await evaluate_split(context, state, Split.VALIDATION, recorder)
        rows = read_evaluations(run_dir)
    bench.spent.append(context.ledger.totals())
    return Progress(steps=tuple(row.step for row in rows), scores=tuple(row.score for row in rows))


class _Steps(Silent):
    """Tells the iterations of a second run."""

    def __init__(self, tell: Tell, what: str, steps: int) -> None:
        self._tell, self._what, self._steps = tell, what, steps

    def stepped(self, report: StepReport) -> None:
        """Tell that one more is done."""
        self._tell(self._what, report.step, self._steps)
