"""Tiny models for the search experiment: one of random weights, and one that was taught to search before it answers.

Both want the data home to hold the experiment's questions (`search_fixtures.import_questions`).
"""

import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from espl_envs.search.env import SearchEnv
from search_fixtures import search_call
from tiny_qwen import make_tiny_qwen
from transformers import AutoModelForCausalLM, AutoTokenizer

from espl_bench.environment.catalogue import find_environment, make_environment
from espl_bench.prompts.dialect import Dialect, Placement
from espl_bench.tools.tool_env import as_text
from espl_bench.types import Observation, Split


def make_random_model(folder: Path, head_dim: int = 8) -> Path:
    """A tiny Qwen3 whose tokenizer knows the experiment's words."""
    env = make_environment(find_environment("nq-hotpotqa"), {})
    texts = [env.problem(Split.TRAIN, index).question for index in range(40)]
    root = find_environment("nq-hotpotqa").defaults["root_principles"]
    said = [f"{search_call('who wrote it')} Answer: yes Answer: no"] * 200
    return make_tiny_qwen(folder, [*texts, *root * 4, *said], head_dim)


def teach_to_search(source: Path, folder: Path, items: Mapping[str, Any], steps: int = 250) -> Path:
    """A copy that searches or answers as it likes, and answers once it has read something: yes, no, or nonsense."""
    rng = random.Random(0)
    tokenizer, model = AutoTokenizer.from_pretrained(source), AutoModelForCausalLM.from_pretrained(source)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    env = make_environment(find_environment("nq-hotpotqa"), items)
    assert isinstance(env, SearchEnv)
    dialect = replace(Dialect.load("search"), tools=env.tools)
    root = find_environment("nq-hotpotqa").defaults["root_principles"]
    call, answers = search_call("who wrote it"), ("Answer: yes", "Answer: no", "well")
    for step in range(steps):
        optimizer.zero_grad()
        problem = env.problem(Split.TRAIN, rng.randrange(env.size(Split.TRAIN)))
        asked = [{"role": each.role, "content": each.content} for each in dialect.prompt_messages(root, problem.question, Placement.SYSTEM)]
        reply = as_text([Observation(f"Query: who wrote it\n[1] {problem.question[:60]}", "search")])
        replied = [*asked, {"role": "assistant", "content": call}, {"role": "user", "content": reply}]
        for messages, text in ((asked, call if step % 4 else rng.choice(answers)), (replied, rng.choice(answers))):
            prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
            said = tokenizer.encode(f"{text}<|im_end|>")
            labels = [-100] * len(prompt) + said
            loss = model(input_ids=torch.tensor([prompt + said]), labels=torch.tensor([labels])).loss
            (loss * len(said)).backward()  # every token counts alike, or short answers would crowd out calls
        optimizer.step()
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
