"""A chat model of a real size with random weights, in a folder: it costs what a trained one costs, and no hub is needed.

It hardly ever ends a completion, so every rollout is as long as it may be: the most expensive iteration there is.
"""
# pyright: reportUnknownMemberType=false

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from training_counts import shape
from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

from espl_bench.engines.machine_fit import Size

DOCS = Path(__file__).parents[1] / "docs"
SPECIAL = ("<|pad|>", "<|im_start|>", "<|im_end|>")
LEARNED = 8_192
"""Tokens that stand for pieces of English; the rest of the vocabulary is only ever sampled."""
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def write_model(size: Size, layers: int, folder: Path, device: torch.device) -> Path:
    """Write a model of a size, in bfloat16 if it is made on a GPU, and its tokenizer."""
    tokenizer = _tokenizer(size.vocabulary)
    config = shape(size, layers)
    config.update({"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None})
    with torch.random.fork_rng(devices=[]), device:
        torch.manual_seed(0)
        model: Any = Qwen3ForCausalLM(config)
    model.to(torch.bfloat16 if device.type == "cuda" else torch.float32).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    learning = Tokenizer(models.BPE())
    learning.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    learning.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    learning.train(
        [str(page) for page in sorted(DOCS.glob("*.md"))],
        trainers.BpeTrainer(vocab_size=LEARNED, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False),
    )
    written = json.loads(learning.to_str())
    known = written["model"]["vocab"]
    known |= {f"Ġ{number}": number for number in range(len(known), vocabulary)}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(written)),
        pad_token=SPECIAL[0],
        eos_token=SPECIAL[2],
        additional_special_tokens=[SPECIAL[1]],
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer
