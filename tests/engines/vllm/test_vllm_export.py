"""An exported run in plain vLLM, without this project: the model loads, and answers the test as transformers does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from loop_fixtures import make_config, run
from patience import PATIENCE_S
from transformers import AutoModelForCausalLM, AutoTokenizer

from espl_bench.build import environment_of
from espl_bench.cli.app import invoke
from espl_bench.environment.pool import close_env
from espl_bench.runs.run_dir import RunDir
from espl_bench.types import Outcome, Split

ASKED = 40
"""Items of the test."""
LONGEST = 40
"""Tokens of an answer."""
PLAIN = """
import json, sys
from vllm import LLM, SamplingParams

model, prompts = sys.argv[1], json.load(open(sys.argv[2]))
llm = LLM(model, dtype="float32", enforce_eager=True, block_size=32, kv_cache_memory_bytes=2**28, disable_log_stats=True)
wanted = SamplingParams(temperature=0.0, max_tokens=int(sys.argv[3]))
written = llm.generate([{"prompt_token_ids": each} for each in prompts], wanted)
json.dump([list(each.outputs[0].token_ids) for each in written], open(sys.argv[4], "w"))
"""
"""What a user of vLLM writes."""


def test_it_answers_and_scores_in_plain_vllm_as_in_transformers(lab_model: Path, tmp_path: Path):
    config = make_config(lab_model, "espl", steps=4, lr=0.005, eval_samples=1)
    run(config, tmp_path / "run")
    assert invoke(["export", str(tmp_path / "run"), f"--out={tmp_path / 'out'}", "--quiet"]) == 0
    model, prompt = tmp_path / "out" / "model", json.loads((tmp_path / "out" / "prompt.json").read_text())
    assert len(prompt["principles"]) == len(RunDir(tmp_path / "run").summary().shown_prompt)
    tokenizer, env = AutoTokenizer.from_pretrained(model), environment_of(config)
    problems = [env.problem(Split.TEST, index) for index in range(ASKED)]

    def rendered(question: str) -> list[int]:
        messages = [{**each, "content": each["content"].replace("{question}", question)} for each in prompt["messages"]]
        return tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]

    prompts = [rendered(problem.question) for problem in problems]
    by_vllm = answered_by_vllm(model, prompts, tmp_path)
    by_transformers = answered_by_transformers(model, prompts)
    differ = sum(one != other for one, other in zip(by_vllm, by_transformers, strict=True))
    assert differ <= 1, "the last bits of a logit may turn a choice between two tokens"

    def right(answers: list[list[int]]) -> int:
        texts = [tokenizer.decode(answer, skip_special_tokens=True) for answer in answers]
        outcomes = []
        for problem, text in zip(problems, texts, strict=True):
            env.reset(options={"split": problem.split, "index": problem.index})
            outcomes.append(env.step(text)[4]["outcome"])
        return outcomes.count(Outcome.CORRECT)

    assert abs(right(by_vllm) - right(by_transformers)) <= differ
    close_env(env)


def answered_by_vllm(model: Path, prompts: list[list[int]], folder: Path) -> list[list[int]]:
    asked, script, answers = folder / "prompts.json", folder / "plain.py", folder / "answers.json"
    asked.write_text(json.dumps(prompts))
    script.write_text(PLAIN)
    environment = os.environ | {"VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "WARNING", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
    command = [sys.executable, str(script), str(model), str(asked), str(LONGEST), str(answers)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return json.loads(answers.read_text())


def answered_by_transformers(model: Path, prompts: list[list[int]]) -> list[list[int]]:
    plain = AutoModelForCausalLM.from_pretrained(model)
    written = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        output = plain.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=LONGEST, do_sample=False)  # pyright: ignore[reportAttributeAccessIssue]
        written.append(output[0, len(prompt) :].tolist())
    return written
