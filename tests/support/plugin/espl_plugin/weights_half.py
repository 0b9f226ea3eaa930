"""What a method's weights half can be given: a loss, a baseline, a normalisation."""

from statistics import median

from espl_bench.learning.losses import Loss


def logprob(logprobs_N, sampler_N, advantages_N, spec):
    """REINFORCE without a correction for the sampler."""
    return -(logprobs_N * advantages_N).sum()


class Median:
    """The median of a problem's rollouts under all prompts."""

    def key(self, problem_id, prompt_id, slot):
        return problem_id

    def value(self, rewards):
        return median(rewards)


def signs(differences):
    """The sign of each difference."""
    return [float((value > 0) - (value < 0)) for value in differences]


LOGPROB, MEDIAN = Loss(logprob), Median()
