"""A model of two layers that speaks the laboratory's language badly: it answers at random and always proposes some edit.

That is what the tests of the loop need of a real model: right and wrong answers side by side, and children.
"""

import random
from pathlib import Path

import torch
from espl_envs.lab.language import NAMES, as_principles, draw_beliefs, draw_chain, draw_world, write_edits
from espl_envs.lab.pretrain import Curriculum, Recipe, build_model, train_step
from espl_envs.lab.skills import DIALECT, Example, Skill, aggregate, critique, crossover, summarise
from espl_envs.lab.tokenizer import build_tokenizer
from espl_envs.rulebook.meanings import SYMBOLS, principle

from espl_bench.dialect import Placement
from espl_bench.operators.edits import Add

STEPS = 70
RECIPE = Recipe(batch_size=24, lr=1e-2, width=32, layers=2, heads=2)


def make_lab_like_model(folder: Path) -> Path:
    """Train it, a matter of seconds, and write it as transformers writes a model."""
    tokenizer = build_tokenizer()
    model = build_model(RECIPE, tokenizer)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RECIPE.lr)
    curriculum = Curriculum(RECIPE, tokenizer)
    rng = random.Random(0)
    for _ in range(STEPS):
        train_step(model, optimizer, curriculum.batch([_example(rng) for _ in range(RECIPE.batch_size)]), "cpu")
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _example(rng: random.Random) -> Example:
    """A prompt of a run with an answer that fits its kind, and nothing else about it."""
    addition = write_edits([Add(principle(rng.choice(SYMBOLS), rng.choice(NAMES)))])
    match rng.choices(tuple(Skill), (12, 2, 5, 2, 3))[0]:
        case Skill.SOLVE:
            pairs = draw_beliefs(rng, draw_world(rng), known=rng.choice((0.0, 0.3)), wrong=0.0)
            question = draw_chain(rng, rng.choice((1, 2, 3))).question
            messages = DIALECT.prompt_messages(as_principles(pairs), question, rng.choice(tuple(Placement)))
            return Example(Skill.SOLVE, messages, f"answer {rng.randrange(10)}", decided=False)
        case Skill.SUMMARISE:
            return Example(Skill.SUMMARISE, summarise(rng).messages, f"@ {rng.choice(NAMES)} {rng.randrange(10)}", decided=False)
        case Skill.CRITIQUE:
            return Example(Skill.CRITIQUE, critique(rng).messages, addition, decided=False)
        case Skill.AGGREGATE:
            return Example(Skill.AGGREGATE, aggregate(rng).messages, "[ ]", decided=True)
        case Skill.CROSSOVER:
            return Example(Skill.CROSSOVER, crossover(rng).messages, addition, decided=False)
