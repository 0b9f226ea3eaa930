"""Pre-train a lab model: `python -m espl_envs.lab.pretrain --course NAME --out FOLDER`.

All five skills are taught from the start, but in small worlds: with two to four topics and problems of one step there is little to
look up and much to copy, the basis of every skill. Then worlds and problems grow to full size. The loss is the mean over the tokens
of the targets; prompts and replies are not learned, since they are random by design.

Step s draws its examples from (seed, s) alone, so a resumed run sees what an unbroken one would.
"""

# pyright: reportArgumentType=false, reportCallIssue=false
# (a tokenizer's ids and outputs are typed as unions)

import argparse
import json
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import rich.progress
import torch
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, Dataset
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from espl_bench.seeding import seed_for
from espl_envs.lab.courses import COURSES
from espl_envs.lab.skills import Course, Example, Lesson
from espl_envs.lab.tokenizer import build_tokenizer

IGNORED = -100
STATE = "state.pt"

Row = tuple[list[int], list[bool]]
"""Token ids of a conversation, and True for those to be written."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights."""

    course: str = "rulebook"
    """Name of the course in `courses.COURSES`."""
    steps: int = 1800
    small_steps: int = 250
    """Steps in the smallest worlds."""
    growth_steps: int = 750
    """Steps over which worlds and chains grow to full size."""
    batch_size: int = 128
    """Examples per optimiser step."""
    micro_tokens: int = 2048
    """The batch is sorted by length and cut into pieces of about this many tokens; gradients are summed."""
    lr: float = 1.5e-3
    """Learning rate of AdamW, for embeddings, norms and the output layer."""
    matrix_lr: float = 0.01
    """Learning rate of Muon, for the matrices of the layers. It reached the same skill in about half of AdamW's steps."""
    warmup: int = 50
    width: int = 128
    layers: int = 4
    heads: int = 4
    seed: int = 0

    def lesson(self, step: int) -> Lesson:
        """Return the difficulty of the examples of a step."""
        grown = min(1.0, max(0.0, (step - self.small_steps) / self.growth_steps))
        return self.taught.smallest.grown(self.taught.full, grown)

    @property
    def taught(self) -> Course:
        """Return the course."""
        return COURSES[self.course]

    def rate(self, step: int) -> float:
        """Return the share of the learning rates: linear warm-up, constant, then linear to zero over the last quarter."""
        return min(1.0, (step + 1) / self.warmup, (self.steps - step) / (0.25 * self.steps))


def build_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Build a Llama small enough to train on a laptop, with untied embeddings and a wide initialisation.

    With the usual 0.02 and tied embeddings, a trial did not learn to look up within 1,500 steps.
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
class PretrainingBatch:
    """Right-padded rows: `tokens_BT`, and `labels_BT` (already shifted by one), which is IGNORED outside the target."""

    tokens_BT: torch.Tensor
    labels_BT: torch.Tensor


class Curriculum(Dataset[list[PretrainingBatch]]):
    """Item s is the batch of step s."""

    def __init__(self, recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> None:
        self.recipe = recipe
        self.tokenizer = tokenizer

    def __len__(self) -> int:
        return self.recipe.steps

    def __getitem__(self, step: int) -> list[PretrainingBatch]:
        """Draw the micro-batches of one step, shortest rows first."""
        rng = random.Random(seed_for(self.recipe.seed, "pretrain", step))
        lesson = self.recipe.lesson(step)
        return self.batch([self.recipe.taught.draw(rng, lesson) for _ in range(self.recipe.batch_size)])

    def batch(self, examples: Sequence[Example]) -> list[PretrainingBatch]:
        """Collate examples into micro-batches, shortest rows first."""
        rows = sorted(self._encode(examples), key=lambda row: len(row[0]))
        return [self._pad(piece) for piece in self._pieces(rows)]

    def _pieces(self, rows: Sequence[Row]) -> Iterator[list[Row]]:
        """Yield consecutive rows, as many as keep their padded size near the limit."""
        piece: list[Row] = []
        for row in rows:
            if piece and (len(piece) + 1) * len(row[0]) > self.recipe.micro_tokens:
                yield piece
                piece = []
            piece.append(row)
        yield piece

    def _encode(self, examples: Sequence[Example]) -> list[Row]:
        conversations = [
            self.tokenizer.apply_chat_template(
                [*({"role": message.role, "content": message.content} for message in example.messages), _written(example)],
                tokenize=False,
            )
            for example in examples
        ]
        encoded = list[list[int]](self.tokenizer(conversations, add_special_tokens=False)["input_ids"])
        return [(ids, self._learned(ids)) for ids in encoded]

    def _learned(self, ids: Sequence[int]) -> list[bool]:
        """Mark the words that an assistant says, including the end of its turn."""
        opens, closes = map(self.tokenizer.convert_tokens_to_ids, ("<|assistant|>", "<|end|>"))
        learned, speaking = [], False
        for token in ids:
            learned.append(speaking)
            speaking = (speaking or token == opens) and token != closes
        return learned

    def _pad(self, rows: Sequence[Row]) -> PretrainingBatch:
        length = max(len(ids) for ids, _ in rows) - 1
        tokens_BT = torch.full((len(rows), length), self.tokenizer.pad_token_id)
        labels_BT = torch.full((len(rows), length), IGNORED)
        for row, (ids, learned) in enumerate(rows):
            sequence = torch.tensor(ids)
            tokens_BT[row, : len(sequence) - 1] = sequence[:-1]
            labels_BT[row, : len(sequence) - 1] = torch.where(torch.tensor(learned[1:]), sequence[1:], IGNORED)
        return PretrainingBatch(tokens_BT, labels_BT)


def _written(example: Example) -> dict[str, str]:
    return {"role": "assistant", "content": example.target}


def _loss(model: LlamaForCausalLM, micro: PretrainingBatch, device: str) -> torch.Tensor:
    """Return the loss summed over the tokens to be written, in nats."""
    tokens_BT, labels_BT = micro.tokens_BT.to(device), micro.labels_BT.to(device)
    hidden = model.model(input_ids=tokens_BT).last_hidden_state  # right padding needs no mask under a causal one
    written = labels_BT != IGNORED
    return torch.nn.functional.cross_entropy(model.lm_head(hidden[written]), labels_BT[written], reduction="sum")


def build_optimizers(model: LlamaForCausalLM, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Return Muon for the matrices inside the layers, and AdamW for everything else."""
    matrices = [parameter for parameter in model.model.layers.parameters() if parameter.ndim == 2]
    inside = {id(parameter) for parameter in matrices}
    others = [parameter for parameter in model.parameters() if id(parameter) not in inside]
    return [
        torch.optim.Muon(matrices, lr=recipe.matrix_lr, weight_decay=0.01),
        torch.optim.AdamW(others, lr=recipe.lr, betas=(0.9, 0.98), weight_decay=0.01),
    ]


def train_step(
    model: LlamaForCausalLM, optimizers: Sequence[torch.optim.Optimizer], batch: Sequence[PretrainingBatch], device: str
) -> float:
    """Take one optimiser step; return the mean loss per written token, in nats."""
    count = sum(int((micro.labels_BT != IGNORED).sum()) for micro in batch)
    total = 0.0
    for micro in batch:
        loss = _loss(model, micro, device) / count
        loss.backward()
        total += float(loss.detach())
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return total


class PretrainingProgress:
    """State of a pre-training: what is saved, and what a resumed one starts from."""

    def __init__(self, recipe: Recipe, tokenizer: PreTrainedTokenizerFast, device: str) -> None:
        self.recipe = recipe
        self.device = device
        self.model = build_model(recipe, tokenizer).to(device)
        self.optimizers = build_optimizers(self.model, recipe)
        self.schedules = [LambdaLR(optimizer, recipe.rate) for optimizer in self.optimizers]
        self.step = 0
        self.seconds = 0.0

    def advance(self, batch: Sequence[PretrainingBatch]) -> float:
        """Take one step; return the mean loss per written token, in nats."""
        started = time.monotonic()
        loss = train_step(self.model, self.optimizers, batch, self.device)
        for schedule in self.schedules:
            schedule.step()
        self.step += 1
        self.seconds += time.monotonic() - started
        return loss

    def save(self, folder: Path) -> None:
        """Write the state atomically: a kill leaves the old state or the new one."""
        part = folder / "state.part"
        parts = [piece.state_dict() for piece in self._parts()]
        torch.save({"parts": parts, "recipe": asdict(self.recipe), "step": self.step, "seconds": self.seconds}, part)
        part.replace(folder / STATE)

    def load(self, folder: Path) -> None:
        """Continue from the state in `folder`. Raises SystemExit if that is of another recipe."""
        state = torch.load(folder / STATE, map_location=self.device, weights_only=True)
        if state["recipe"] != asdict(self.recipe):
            raise SystemExit(f"{folder / STATE} was trained by another recipe; choose another --out or remove it")
        for part, saved in zip(self._parts(), state["parts"], strict=True):
            part.load_state_dict(saved)
        self.step, self.seconds = state["step"], state["seconds"]

    def _parts(self) -> tuple[LlamaForCausalLM | torch.optim.Optimizer | LambdaLR, ...]:
        return (self.model, *self.optimizers, *self.schedules)


def pretrain(recipe: Recipe, out: Path, *, device: str, workers: int = 1, save_every: int = 250) -> LlamaForCausalLM:
    """Train, or continue from `out`, and write the model there. Raises SystemExit if `out` holds another recipe."""
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = build_tokenizer(recipe.taught)
    progress = PretrainingProgress(recipe, tokenizer, device)
    if (out / STATE).exists():
        progress.load(out)
    loader = DataLoader(Curriculum(recipe, tokenizer), batch_size=None, sampler=range(progress.step, recipe.steps), num_workers=workers)
    with (out / "log.jsonl").open("a") as log:
        for batch in _with_bar(loader, progress.step, recipe.steps):
            loss = progress.advance(batch)
            if progress.step % 50 == 0 or progress.step == recipe.steps:
                log.write(json.dumps({"step": progress.step, "loss": round(loss, 4), "seconds": round(progress.seconds, 1)}) + "\n")
                log.flush()
            if progress.step % save_every == 0 or progress.step == recipe.steps:
                progress.save(out)
    progress.model.eval()
    progress.model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return progress.model


def _with_bar(loader: DataLoader[list[PretrainingBatch]], first: int, steps: int) -> Iterator[list[PretrainingBatch]]:
    clocks = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    with rich.progress.Progress(TextColumn("pre-training"), BarColumn(), MofNCompleteColumn(), *clocks) as progress:
        task = progress.add_task("steps", total=steps, completed=first)
        for batch in loader:
            yield batch
            progress.advance(task)


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--course", choices=list(COURSES), default=Recipe.course)
    parser.add_argument("--out", type=Path, required=True, help="folder of the model; an unfinished one is continued")
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument("--small-steps", type=int, default=Recipe.small_steps)
    parser.add_argument("--growth-steps", type=int, default=Recipe.growth_steps)
    parser.add_argument("--batch-size", type=int, default=Recipe.batch_size)
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw examples")
    options = parser.parse_args()
    recipe = Recipe(options.course, options.steps, options.small_steps, options.growth_steps, options.batch_size, seed=options.seed)
    pretrain(recipe, options.out, device=options.device, workers=options.workers)


if __name__ == "__main__":
    main()
