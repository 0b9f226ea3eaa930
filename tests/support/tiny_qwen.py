"""A tiny Qwen3 with a chat model's habits: a byte-level tokenizer, ChatML, thinking tags. Its weights are drawn at random.

`teach_to_guess` makes it answer in the form that is asked for, with one of a few given numbers at random: right and wrong answers
side by side are what reflections start from. It learns nothing else, so whatever else it is asked for it answers with a number.
"""

import random
from collections.abc import Sequence
from pathlib import Path

import torch
from checked import integer
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
VOCABULARY = 700


def make_tiny_qwen(folder: Path, texts: Sequence[str], head_dim: int = 8) -> Path:
    """Train the tokenizer on the texts and write it with a random model, as transformers writes a model."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(texts, BpeTrainer(vocab_size=VOCABULARY, special_tokens=special, initial_alphabet=alphabet))
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    fast.add_tokens(["<think>", "</think>"])
    fast.chat_template = CHAT_TEMPLATE
    config = Qwen3Config(
        vocab_size=len(fast),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=head_dim,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        eos_token_id=fast.convert_tokens_to_ids("<|im_end|>"),
        pad_token_id=integer(fast.pad_token_id),
        bos_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        model = Qwen3ForCausalLM(config)
    model.eval().save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def teach_to_guess(source: Path, folder: Path, questions: Sequence[str], numbers: Sequence[str], steps: int = 60) -> Path:
    """A copy that, whatever it is asked, thinks nothing and puts one of the numbers into a box."""
    tokenizer = AutoTokenizer.from_pretrained(source)
    model = AutoModelForCausalLM.from_pretrained(source)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    rng = random.Random(0)
    for _ in range(steps):
        optimizer.zero_grad()
        for _ in range(4):
            start = rng.randrange(200)
            asked = [{"role": "user", "content": rng.choice(questions)[start : start + 400]}]
            prompt = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_dict=False)
            said = tokenizer.encode(f"<think>\n</think>\\boxed{{{rng.choice(numbers)}}}<|im_end|>")
            labels = [-100] * len(prompt) + said
            model(input_ids=torch.tensor([prompt + said]), labels=torch.tensor([labels])).loss.backward()
        optimizer.step()
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
