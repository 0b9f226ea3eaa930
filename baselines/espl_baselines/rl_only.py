"""RL alone: the weights learn under the root prompt (GRPO without division by the standard deviation; CISPO and PPO by --loss).

The root prompt is sampled as often as E-SPL samples prompts, so rollouts match. By default they form one group of K·G
per problem, the stronger baseline; `--baseline per_prompt` gives the reference code's K groups of G.
"""

from espl_bench.method import Method

RL_ONLY = Method(
    name="rl_only",
    summary="weights learn by RL under the root prompt; one group of K·G rollouts per problem",
    learns_weights=True,
    baseline="across_prompts",
)
