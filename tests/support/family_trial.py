"""Try one family of models in engine hf from its folder to a resumed run, and put what happened into a row of docs/models.md."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from engine_calls import data, sample, sample_reference, wait
from hf_calls import load, requests, train, trainer
from model_families import FAMILIES, make_family
from transformers import AutoModelForCausalLM

from espl_bench.engines.hf.engine import HfEngine
from espl_bench.errors import ModelError
from espl_bench.types import Completion, Datum, SampleRequest

SAME = 1e-5
"""Nats by which two log-probabilities of one token may differ in float32."""
TURNED = 0.01
"""Share of tokens whose choice of experts may be turned by the last bit of a router's score, which depends on the processor."""
PAGE = Path(__file__).parents[2] / "docs" / "models.md"
TABLE = re.compile(r"(<!-- families -->\n).*?(<!-- end of families -->)", re.DOTALL)
HEADINGS = ("family", "samples", "trains", "resumes", "same log-probabilities", "adapted weights", "remark")
READINGS = {
    "shared": "",
    "padded": "prompts are not shared in memory",
    "equal": "rows of one length are sampled together; trained one by one",
    "reread": "sampled without a cache: slow",
}


@dataclass(frozen=True)
class Row:
    """What a family does."""

    family: str
    samples: bool = False
    trains: bool = False
    resumes: bool = False
    same: bool = False
    """The sampler's log-probabilities are the trainer's, and those of transformers alone, before and after a step."""
    share: str = "–"
    remark: str = ""

    @property
    def works(self) -> bool:
        return self.samples and self.trains and self.resumes and self.same

    def line(self) -> str:
        marks = ["yes" if mark else "no" for mark in (self.samples, self.trains, self.resumes, self.same)]
        return f"| {' | '.join((self.family, *marks, self.share, self.remark))} |"


def try_family(name: str, folder: Path) -> Row:
    """Open, sample, train, save and resume; a family that is refused at opening has the reason as its remark."""
    model = make_family(name, folder / "model")
    try:
        engine = load(model)
    except ModelError as error:
        return Row(name, remark=str(error).replace(str(model), "…"))
    asked = requests(24, max_tokens=16)
    base, said = sample_reference(engine, asked), sample(engine, asked)
    turned = TURNED if FAMILIES[name].routes else 0.0
    gaps = [_gap(_alone(model, data(asked, said)), said, turned), _gap(_scores(engine, data(asked, said)), said, turned)]
    metrics = train(engine, data(asked, said), lr=5e-3)
    after = sample(engine, asked)
    gaps.append(_gap(_scores(engine, data(asked, after)), after, turned))
    trains = metrics["skipped_steps"] == 0 and metrics["grad_norm"] > 0 and after != said and sample_reference(engine, asked) == base
    use = engine.model_use
    remark = "; ".join(filter(None, (READINGS[use.reading], f"not adapted: {', '.join(use.fixed)}" if use.fixed else "")))
    resumed = _resumes(engine, model, folder / "checkpoint", asked, after)
    fresh = [completion.tokens_T for completion in said]  # an adapter that is not trained changes nothing
    samples = all(fresh) and fresh == [completion.tokens_T for completion in base]
    return Row(name, samples, trains, resumed, max(gaps) <= SAME, f"{use.share:.0%}", remark)


def table(rows: list[Row]) -> str:
    head = [f"| {' | '.join(HEADINGS)} |", f"|{'---|' * len(HEADINGS)}"]
    return "\n".join([*head, *(row.line() for row in rows)]) + "\n"


def _resumes(engine: HfEngine, model: Path, checkpoint: Path, asked: list[SampleRequest], after: list[Completion]) -> bool:
    """A fresh engine that loads what was saved says the same, and its next step is the same."""
    checkpoint.mkdir()
    wait(engine.save(checkpoint))
    other = load(model)
    wait(other.load(checkpoint))
    same = sample(other, asked) == after
    return same and train(other, data(asked, after), lr=5e-3) == train(engine, data(asked, after), lr=5e-3)


def _scores(engine: HfEngine, rollouts: list[Datum]) -> list[tuple[float, ...]]:
    """The trainer's log-probabilities, all rollouts in micro-batches together."""
    return trainer(engine).score(rollouts)


@torch.inference_mode()
def _alone(folder: Path, rollouts: list[Datum]) -> list[list[float]]:
    """The log-probabilities that transformers computes by itself: one whole rollout at a time, no cache, no padding."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    scores: list[list[float]] = []
    for rollout in rollouts:
        logprobs_TV = model(input_ids=torch.tensor([rollout.tokens_T]), use_cache=False).logits[0].float().log_softmax(-1)
        places = [place for place, sampled in enumerate(rollout.mask_T) if sampled]
        scores.append([float(logprobs_TV[place - 1, rollout.tokens_T[place]]) for place in places])
    return scores


def _gap(scores: Sequence[Sequence[float]], completions: list[Completion], turned: float) -> float:
    """The largest difference, apart from those of this share of the tokens."""
    pairs = [
        abs(ours - theirs)
        for row, completion in zip(scores, completions, strict=True)
        for ours, theirs in zip(row, completion.logprobs_T, strict=True)
    ]
    return sorted(pairs)[len(pairs) - 1 - int(turned * len(pairs))]
