"""How far a run's weights are from the base, and what its prompt is worth."""

from collections.abc import Sequence

from espl_bench.accounting.ledger import metered_divergence
from espl_bench.analysis.measures.bench import Bench, over_items, score_of
from espl_bench.errors import RunDirError
from espl_bench.learning.datums import to_datums
from espl_bench.learning.distillation import seen_under
from espl_bench.rollouts.evaluate import Evaluation
from espl_bench.runs.measures_file import Drift, Estimate, PromptUse
from espl_bench.types import Datum, Split, Trajectory

Read = tuple[Trajectory, Datum, Datum]
"""A rollout, as the run's weights read it and as the base does."""


async def drift_of(bench: Bench, shown: Evaluation) -> Drift:
    """Compare whole distributions at every token that the run's weights sampled on the test.

    The tokens are drawn from the run's weights, so the mean is KL(run || base) per token, without the noise of an estimate by the sampled
    token alone. A greedy policy is compared at temperature 1.
    """
    bench.tell("drift from the base", 0, 0)
    context = bench.context
    temperature = context.config.sampling.temperature or 1.0
    rollouts = [rollout for group in shown.groups_I for rollout in group.trajectories_G if rollout.generated_tokens]
    alike = [(rollout, datum, datum) for rollout in rollouts for datum in to_datums(rollout, 0.0, temperature)]
    weights = await _divergence(bench, alike)
    if len(alike) > len(rollouts):  # later segments repeat the conversation in their own rendering
        return Drift(weights=weights, behaviour=None)
    root = context.root.principles
    under_root = [
        (rollout, own, seen_under(rollout, context.spec.prompt_tokens(root, rollout.problem.question), temperature))
        for rollout, own, _ in alike
    ]
    return Drift(weights=weights, behaviour=await _divergence(bench, under_root))


async def _divergence(bench: Bench, read: Sequence[Read]) -> Estimate:
    """Return the mean over prompts of the mean over their tokens."""
    values = await metered_divergence(bench.engine, bench.ledger, [own for _, own, _ in read], [other for *_, other in read])
    of_problems: dict[str, list[float]] = {}
    for (rollout, *_), tokens in zip(read, values, strict=True):
        of_problems.setdefault(rollout.problem.id, []).extend(tokens)
    if not any(of_problems.values()):
        raise RunDirError("the run's weights sampled no token on the test, so there is no drift to measure")
    return over_items([sum(tokens) / len(tokens) for tokens in of_problems.values() if tokens])


async def prompt_use(bench: Bench, shown: Evaluation) -> PromptUse:
    """Test without the prompt, and without the training too."""
    context, principles = bench.context, bench.summary.shown_prompt
    root = context.root.principles
    question = context.env.problem(Split.TEST, 0).question
    with_prompt, without = (len(context.spec.prompt_tokens(each, question)) for each in (principles, root))
    unprompted = shown if principles == root else await bench.test("test, root prompt", root)
    base = await bench.test("test, base weights", root, base=True)
    return PromptUse(score=score_of(shown), unprompted=score_of(unprompted), base=score_of(base), prompt_tokens=with_prompt - without)
