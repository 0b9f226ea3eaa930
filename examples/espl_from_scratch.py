"""Evolutionary system prompt learning (arXiv 2602.14697) in one file, to be read from top to bottom.

A language model of 0.7 M parameters works out chains of digits under operators of hidden meaning. The meaning of an operator can be
stated in a system prompt; carrying out a chain without a slip takes practice. Both learn from the same rollouts: the weights by policy
gradient, a population of system prompts by reflection on what went right and wrong. Run `python examples/espl_from_scratch.py`.
The environment, the wording of reflections and the parsing of their JSON come from espl-bench; loop, sampling, training, rating and
mutation are all here. Departures from the paper:
1. There is no crossover (the paper's variant "mutation only").
2. Early iterations roll out as many prompts as there are, which is fewer than K.
3. The prompt that is evaluated has the highest mu - 2 sigma; the paper does not say which one it takes.
4. Identical proposals from several problems reach the aggregation as one, with its number of votes.
5. The model is small: its learning rate is 1e-3 instead of 4e-5, and rollouts are sampled at temperature 1 without top-p.
"""

import argparse
import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from statistics import fmean as mean
from typing import Any

import torch
import trueskill
from espl_envs.lab import MODEL
from espl_envs.rulebook.env import RulebookEnv
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from espl_bench import Message, Problem, Split
from espl_bench.evolution.operators.edits import Modify, UnparseableEditsError, apply_edits, parse_edits
from espl_bench.prompts.dialect import Dialect, Placement, TemplateName

WINDOW, OPTIMISM, SIGMA_GROWTH, TIE = 10, 2.0, 1.0, 0.01  # prompts in the window; lambda; delta sigma; a draw in reward
MAX_EDITS, MAX_WORDS = 2, 32  # per critique; per principle
TRUESKILL = trueskill.TrueSkill(mu=25, sigma=25 / 3, beta=25 / 6, tau=25 / 300, draw_probability=0.1)
ENV, DIALECT = RulebookEnv(), Dialect.load("compact")


@dataclass(eq=False)
class Prompt:
    """A list of principles, and the belief about its skill."""

    principles: tuple[str, ...] = ()
    rating: trueskill.Rating = field(default_factory=TRUESKILL.create_rating)


@dataclass
class Sample:
    """One completion, with the log-probabilities of its tokens under the weights that sampled it."""

    prompt_T: list[int]
    tokens_T: list[int]
    logprobs_T: list[float]
    text: str


@dataclass
class Rollout:
    """One attempt at a problem under a prompt."""

    prompt: Prompt
    problem: Problem
    sample: Sample
    reward: float


class Policy:
    """The model with a LoRA adapter; without the adapter it is the reference, which writes the reflections."""

    def __init__(self, lr: float) -> None:
        self.tokenizer: Any = AutoTokenizer.from_pretrained(MODEL, padding_side="left")
        lora = LoraConfig(r=32, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
        self.model: Any = get_peft_model(AutoModelForCausalLM.from_pretrained(MODEL), lora).eval()
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.Adam(trained, lr=lr, betas=(0.9, 0.95))

    @torch.no_grad()
    def sample(self, conversations: Sequence[Sequence[Message]], max_tokens: int, temperature: float) -> list[Sample]:
        """Sample one completion of each conversation, all in one batch."""
        rendered = [[{"role": message.role, "content": message.content} for message in messages] for messages in conversations]
        texts = self.tokenizer.apply_chat_template(rendered, add_generation_prompt=True, tokenize=False)
        batch = self.tokenizer(texts, add_special_tokens=False, padding=True, return_tensors="pt")
        ids, mask = batch["input_ids"], batch["attention_mask"]
        how = {"do_sample": True, "temperature": temperature, "top_k": 0, "max_new_tokens": max_tokens, "output_logits": True}
        made = self.model.generate(ids, attention_mask=mask, return_dict_in_generate=True, **how)
        new_BT = made.sequences[:, ids.shape[1] :]
        logprobs_BT = logprobs_of(torch.stack(made.logits, dim=1) / temperature, new_BT)
        samples: list[Sample] = []
        for prompt_T, mask_T, new_T, logprobs_T in zip(ids, mask, new_BT, logprobs_BT, strict=True):
            length = min(len(new_T), 1 + int((new_T != self.tokenizer.eos_token_id).cumprod(0).sum()))  # including the end token
            text = self.tokenizer.decode(new_T[:length], skip_special_tokens=True)
            samples.append(Sample(prompt_T[mask_T.bool()].tolist(), new_T[:length].tolist(), logprobs_T[:length].tolist(), text))
        return samples

    def learn(self, samples: Sequence[Sample], advantages: Sequence[float]) -> float:
        """Take one step on -sum ratio * A over all sampled tokens. Returns the mean ratio: 1 where trainer and sampler agree."""
        scored = [pair for pair in zip(samples, advantages, strict=True) if pair[1] != 0]
        if not scored:
            return 1.0
        width = max(len(sample.prompt_T) + len(sample.tokens_T) for sample, _ in scored)
        tokens_BT = torch.zeros(len(scored), width, dtype=torch.long)  # padded on the right, where no token attends to it
        sampler_BT = torch.full((len(scored), width), math.nan)
        for row, (sample, _) in enumerate(scored):
            start, end = len(sample.prompt_T), len(sample.prompt_T) + len(sample.tokens_T)
            tokens_BT[row, :end] = torch.tensor(sample.prompt_T + sample.tokens_T)
            sampler_BT[row, start:end] = torch.tensor(sample.logprobs_T)
        logprobs_BT = logprobs_of(self.model(input_ids=tokens_BT[:, :-1]).logits, tokens_BT[:, 1:])
        advantages_BT = torch.tensor([advantage for _, advantage in scored])[:, None].expand_as(logprobs_BT)
        sampled_BT = ~sampler_BT[:, 1:].isnan()
        ratio_N = torch.exp(logprobs_BT[sampled_BT] - sampler_BT[:, 1:][sampled_BT])
        self.optimizer.zero_grad()
        (-(ratio_N * advantages_BT[sampled_BT]).sum()).backward()
        self.optimizer.step()
        return ratio_N.mean().item()

    def reflect(self, template: TemplateName, contexts: Sequence[Mapping[str, object]]) -> list[str]:
        """Have the reference model write one text per context."""
        with self.model.disable_adapter():
            samples = self.sample([DIALECT.reflection_messages(template, each) for each in contexts], max_tokens=256, temperature=0.3)
        return [sample.text for sample in samples]


def logprobs_of(logits_BTV: torch.Tensor, tokens_BT: torch.Tensor) -> torch.Tensor:
    """Return the log-probability of each token."""
    return logits_BTV.log_softmax(-1).gather(-1, tokens_BT[..., None])[..., 0]


def roll_out(policy: Policy, prompts: Sequence[Prompt], problems: Sequence[Problem], group: int) -> list[list[Rollout]]:
    """Sample one group per prompt and problem: `group` attempts by the current weights."""
    plan = [(prompt, problem) for prompt in prompts for problem in problems for _ in range(group)]
    shown = [DIALECT.prompt_messages(prompt.principles, problem.question, Placement.SYSTEM) for prompt, problem in plan]
    samples = policy.sample(shown, max_tokens=56, temperature=1.0)
    rollouts = [Rollout(*pair, sample, ENV.grade(pair[1], sample.text).reward) for pair, sample in zip(plan, samples, strict=True)]
    return [rollouts[start : start + group] for start in range(0, len(rollouts), group)]


def select(population: Sequence[Prompt], number: int, rng: random.Random) -> list[Prompt]:
    """Return the prompt of the window with the highest mu + lambda * sigma, and others at random."""
    best, *rest = sorted(population[-WINDOW:], key=lambda prompt: prompt.rating.mu + OPTIMISM * prompt.rating.sigma, reverse=True)
    return [best, *rng.sample(rest, min(number - 1, len(rest)))]


def rate(means: Mapping[Prompt, float]) -> None:
    """Update ratings once by the ranking of mean rewards; means within TIE of the first of a rank are a draw."""
    order, ranks = sorted(means, key=lambda prompt: means[prompt], reverse=True), [0]
    for place, prompt in enumerate(order[1:], start=1):
        ranks.append(ranks[-1] if means[order[ranks[-1]]] - means[prompt] <= TIE else place)
    if len(order) > 1:
        for prompt, team in zip(order, TRUESKILL.rate([(prompt.rating,) for prompt in order], ranks=ranks), strict=True):
            prompt.rating = team[0]


def mutate(policy: Policy, parent: Prompt, groups: Sequence[Sequence[Rollout]]) -> Prompt | None:
    """Summarise, criticise, aggregate and apply: return a child of the parent, or None if nothing came of it."""
    cases = [own for own in groups if 0 < mean([each.reward for each in own]) < 1]
    if not cases:
        return None
    shown = [{"principles": None, "correct": None, "question": x.problem.question, "response": x.sample.text} for own in cases for x in own]
    summaries = iter(policy.reflect(TemplateName.SUMMARY, shown))
    problems = [{"question": own[0].problem.question, "answer": own[0].problem.answer} for own in cases]
    attempts = [[{"correct": each.reward == 1, "summary": next(summaries)} for each in own] for own in cases]
    contexts = [{"principles": parent.principles, "attempts": own, **told} for own, told in zip(attempts, problems, strict=True)]
    votes: Counter[tuple[int | None, str]] = Counter()
    for text in policy.reflect(TemplateName.CRITIQUE, contexts):
        with suppress(UnparseableEditsError):  # skip a critique that cannot be parsed
            edits = parse_edits(text, {"add", "modify"}, parent.principles, MAX_EDITS, MAX_WORDS).edits
            votes.update(dict.fromkeys((edit.id if isinstance(edit, Modify) else None, edit.principle) for edit in edits).keys())
    new = [(text, count) for (index, text), count in votes.most_common() if index is None and text not in parent.principles]
    added = [{"index": index, "principle": text, "votes": count} for index, (text, count) in enumerate(new, len(parent.principles))]
    changes = [{"index": index, "principle": text, "votes": count} for (index, text), count in votes.most_common() if index is not None]
    if not added and not changes:
        return None
    candidates = (*parent.principles, *(text for text, _ in new))  # an edit of the aggregation may name an addition too
    [text] = policy.reflect(TemplateName.AGGREGATE, [{"principles": parent.principles, "added": added, "changes": changes}])
    with suppress(UnparseableEditsError):
        principles = apply_edits(candidates, parse_edits(text, {"modify", "merge"}, candidates, None, MAX_WORDS).edits).principles
        rating = TRUESKILL.create_rating(parent.rating.mu, math.hypot(parent.rating.sigma, SIGMA_GROWTH))
        return Prompt(principles, rating) if principles != parent.principles else None
    return None


def evaluate(policy: Policy, prompt: Prompt, items: int) -> float:
    """Return the mean reward on the first items of the test, one sample each."""
    groups = roll_out(policy, [prompt], [ENV.problem(Split.TEST, index) for index in range(items)], 1)
    return mean([rollout.reward for [rollout] in groups])


def train(steps: int, prompts: int, batch: int, group: int, items: int, seed: int) -> tuple[Policy, list[Prompt]]:
    """Run the method, printing one line per iteration and the test score before and after. Returns policy and population."""
    torch.set_num_threads(1)  # operations this small are slower when split across threads
    torch.manual_seed(seed)
    policy, population, rng = Policy(lr=1e-3), [Prompt()], random.Random(seed)
    before = evaluate(policy, population[0], items)
    for step in range(1, steps + 1):
        chosen = select(population, prompts, rng)
        problems = [ENV.problem(Split.TRAIN, index) for index in rng.sample(range(ENV.size(Split.TRAIN)), batch)]
        groups = roll_out(policy, chosen, problems, group)
        values = [mean([each.reward for each in own]) for own in groups]
        advantages = [each.reward - value for own, value in zip(groups, values, strict=True) for each in own]
        ratio = policy.learn([each.sample for own in groups for each in own], advantages)
        means = {prompt: mean([each.reward for own in groups for each in own if each.prompt is prompt]) for prompt in chosen}
        rate(means)
        best = max(chosen, key=lambda prompt: means[prompt])
        if child := mutate(policy, best, [own for own in groups if own[0].prompt is best]):
            population.append(child)
        print(f"{step:3}  reward {mean(values):.3f}  ratio {ratio:.3f}  prompts {len(population)}  best {best.rating.mu:.1f}", flush=True)
    shown = max(population[-WINDOW:], key=lambda prompt: prompt.rating.mu - 2 * prompt.rating.sigma)
    after = evaluate(policy, shown, items)
    print(f"test {before:.3f} -> {after:.3f} with\n" + "\n".join(f"[G{index}] {text}" for index, text in enumerate(shown.principles)))
    return policy, population


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Evolutionary system prompt learning from scratch.")
    for name, default in {"steps": 30, "prompts": 3, "batch": 10, "group": 5, "items": 100, "seed": 0}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    train(**vars(parser.parse_args()))
