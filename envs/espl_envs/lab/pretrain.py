"""Pre-train the lab model: `python -m espl_envs.lab.pretrain --out FOLDER`.

The first lesson is look-up: one-step problems, a handful of principles, no slips. One example in twenty is already of the
mixture, or its first batch would come as a shock that undoes the lesson. Then the mixture of all five skills takes over
little by little. The loss is the mean over the tokens that are to be written; prompts are not learned, they are random by
design.

Step s draws its examples from (seed, s) alone, so a resumed run sees what an unbroken one would.
"""

# pyright: reportArgumentType=false, reportCallIssue=false
# (a tokenizer's ids and outputs are unions of every kind it could have)

import argparse
import json
import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch.utils.data import DataLoader, Dataset
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from espl_bench.seeding import seed_for
from espl_envs.lab.skills import Example, draw, lookup
from espl_envs.lab.tokenizer import build_tokenizer

IGNORED = -100

Row = tuple[list[int], list[int]]
"""Token ids of a prompt and of what is to be written."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights."""

    steps: int = 2600
    lookup_steps: int = 200
    """Length of the first lesson."""
    blend_steps: int = 300
    """Steps over which the mixture takes over from it."""
    batch_size: int = 128
    """Examples per optimiser step."""
    micro_tokens: int = 2048
    """The batch is sorted by length and cut into pieces of about so many tokens; gradients are summed."""
    lr: float = 1.5e-3
    warmup: int = 100
    width: int = 128
    layers: int = 4
    heads: int = 4
    seed: int = 0

    def mixture_share(self, step: int) -> float:
        """Share of examples of the full mixture: 5 % in the first lesson, 90 % after the blend; the rest is look-up."""
        return 0.05 + 0.85 * min(1.0, max(0.0, (step - self.lookup_steps) / self.blend_steps))

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, constant through the first lesson, then a cosine down to a twentieth."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        progress = max(0, step - self.lookup_steps) / max(1, self.steps - self.lookup_steps)
        return self.lr * (0.05 + 0.95 * (1 + math.cos(math.pi * progress)) / 2)


def build_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A Llama small enough to train on a laptop, with untied embeddings and a wide initialisation.

    With the usual 0.02 and tied embeddings, look-up was not learned within 1,500 steps of a trial.
    """
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.width,
        intermediate_size=2 * recipe.width,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        max_position_embeddings=1024,
        tie_word_embeddings=False,
        initializer_range=0.08,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        return LlamaForCausalLM(config)


@dataclass(frozen=True)
class MicroBatch:
    """Right-padded rows: `tokens_BT` and, IGNORED outside the target, `labels_BT` (already shifted by one)."""

    tokens_BT: torch.Tensor
    labels_BT: torch.Tensor


class Curriculum(Dataset[list[MicroBatch]]):
    """Item s is the batch of step s."""

    def __init__(self, recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> None:
        """Examples are drawn when asked for; nothing is kept."""
        self.recipe = recipe
        self.tokenizer = tokenizer

    def __len__(self) -> int:
        """Steps of the recipe."""
        return self.recipe.steps

    def __getitem__(self, step: int) -> list[MicroBatch]:
        """The micro-batches of one step, shortest rows first."""
        rng = random.Random(seed_for(self.recipe.seed, "pretrain", step))
        mixed = self.recipe.mixture_share(step)
        examples = [draw(rng) if rng.random() < mixed else lookup(rng) for _ in range(self.recipe.batch_size)]
        return self.batch(examples)

    def batch(self, examples: Sequence[Example]) -> list[MicroBatch]:
        """Examples as micro-batches, shortest rows first."""
        rows = sorted(self._encode(examples), key=lambda row: len(row[0]) + len(row[1]))
        return [self._pad(piece) for piece in self._pieces(rows)]

    def _pieces(self, rows: Sequence[Row]) -> Iterator[list[Row]]:
        """Consecutive rows, so many that their padded size stays near the limit."""
        piece: list[Row] = []
        for row in rows:
            if piece and (len(piece) + 1) * (len(row[0]) + len(row[1])) > self.recipe.micro_tokens:
                yield piece
                piece = []
            piece.append(row)
        yield piece

    def _encode(self, examples: Sequence[Example]) -> list[Row]:
        prompts = [
            self.tokenizer.apply_chat_template(
                [{"role": message.role, "content": message.content} for message in example.messages],
                add_generation_prompt=True,
                tokenize=False,
            )
            for example in examples
        ]
        prompt_ids = self.tokenizer(prompts, add_special_tokens=False)["input_ids"]
        target_ids = self.tokenizer([f"{example.target} <|end|>" for example in examples], add_special_tokens=False)["input_ids"]
        return list(zip(prompt_ids, target_ids, strict=True))

    def _pad(self, rows: Sequence[Row]) -> MicroBatch:
        length = max(len(prompt) + len(target) for prompt, target in rows) - 1
        tokens_BT = torch.full((len(rows), length), self.tokenizer.pad_token_id)
        labels_BT = torch.full((len(rows), length), IGNORED)
        for row, (prompt, target) in enumerate(rows):
            sequence = torch.tensor(prompt + target)
            tokens_BT[row, : len(sequence) - 1] = sequence[:-1]
            labels_BT[row, len(prompt) - 1 : len(sequence) - 1] = sequence[len(prompt) :]
        return MicroBatch(tokens_BT, labels_BT)


def _loss(model: LlamaForCausalLM, micro: MicroBatch, device: str) -> torch.Tensor:
    """Summed over the tokens that are to be written, in nats."""
    tokens_BT, labels_BT = micro.tokens_BT.to(device), micro.labels_BT.to(device)
    hidden = model.model(input_ids=tokens_BT).last_hidden_state  # right padding needs no mask under a causal one
    written = labels_BT != IGNORED
    return torch.nn.functional.cross_entropy(model.lm_head(hidden[written]), labels_BT[written], reduction="sum")


def train_step(model: LlamaForCausalLM, optimizer: torch.optim.Optimizer, batch: Sequence[MicroBatch], device: str) -> float:
    """One optimiser step; returns the mean loss per written token, in nats."""
    count = sum(int((micro.labels_BT != IGNORED).sum()) for micro in batch)
    total = 0.0
    for micro in batch:
        loss = _loss(model, micro, device) / count
        loss.backward()
        total += float(loss.detach())
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return total


def save(folder: Path, model: LlamaForCausalLM, optimizer: torch.optim.Optimizer, recipe: Recipe, step: int, seconds: float) -> None:
    """Write a resumable state atomically: a kill leaves the old one or the new one."""
    part = folder / "state.part"
    torch.save(
        {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "seconds": seconds, "recipe": asdict(recipe)}, part
    )
    part.replace(folder / "state.pt")


def pretrain(recipe: Recipe, out: Path, *, device: str, workers: int = 1, save_every: int = 250) -> LlamaForCausalLM:
    """Train, or go on where `out` was left, and write the model there. Raises SystemExit if `out` holds another recipe."""
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = build_tokenizer()
    model = build_model(recipe, tokenizer).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.lr, betas=(0.9, 0.98), weight_decay=0.01)
    first, seconds = 0, 0.0
    if (out / "state.pt").exists():
        state = torch.load(out / "state.pt", map_location=device, weights_only=True)
        if state["recipe"] != asdict(recipe):
            raise SystemExit(f"{out / 'state.pt'} was trained by another recipe; choose another --out or remove it")
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first, seconds = state["step"], state["seconds"]
    started = time.monotonic() - seconds
    curriculum = Curriculum(recipe, tokenizer)
    loader = DataLoader(curriculum, batch_size=None, sampler=range(first, recipe.steps), num_workers=workers)
    with (out / "log.jsonl").open("a") as log:
        for step, batch in enumerate(_with_bar(loader, first, recipe.steps), start=first):
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate(step)
            loss = train_step(model, optimizer, batch, device)
            if step % 50 == 0:
                log.write(json.dumps({"step": step, "loss": round(loss, 4), "seconds": round(time.monotonic() - started, 1)}) + "\n")
                log.flush()
            if (step + 1) % save_every == 0 or step + 1 == recipe.steps:
                save(out, model, optimizer, recipe, step + 1, time.monotonic() - started)
    model.eval()
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return model


def _with_bar(loader: DataLoader[list[MicroBatch]], first: int, steps: int) -> Iterator[list[MicroBatch]]:
    clocks = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    with Progress(TextColumn("pre-training"), BarColumn(), MofNCompleteColumn(), *clocks) as progress:
        task = progress.add_task("steps", total=steps, completed=first)
        for batch in loader:
            yield batch
            progress.advance(task)


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the model; an unfinished one is continued")
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument("--lookup-steps", type=int, default=Recipe.lookup_steps)
    parser.add_argument("--batch-size", type=int, default=Recipe.batch_size)
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw examples")
    options = parser.parse_args()
    recipe = Recipe(steps=options.steps, lookup_steps=options.lookup_steps, batch_size=options.batch_size, seed=options.seed)
    pretrain(recipe, options.out, device=options.device, workers=options.workers)


if __name__ == "__main__":
    main()
