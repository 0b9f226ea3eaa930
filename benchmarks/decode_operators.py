"""How many operations a decode step of engine hf launches: what a GPU waits for when a step is not captured. Needs no GPU.

The model has the layers of a 0.6B Qwen3 in bfloat16, but is narrow; 150 rows continue 30 prompts. Counted are the innermost operations of
torch's profiler that compute or copy; a kernel of a GPU stands for about each of them.

    python benchmarks/decode_operators.py          one to two minutes
"""

import torch
from torch.profiler import ProfilerActivity, profile
from transformers import Qwen3Config, Qwen3ForCausalLM

from espl_bench.engines.hf.adapter import lora_views
from espl_bench.engines.hf.decoding.sampling import BatchSampler
from espl_bench.engines.hf.reading.forward import Reading
from espl_bench.types import SampleRequest

LAYERS = 28
SHORT, LONG = 3, 5
"""Tokens of two calls, whose difference is that of so many steps."""
FREE = {
    *(
        "view",
        "_unsafe_view",
        "transpose",
        "t",
        "slice",
        "select",
        "expand",
        "unsqueeze",
        "squeeze",
        "reshape",
        "split",
        "split_with_sizes",
    ),
    *("permute", "as_strided", "detach", "alias", "unflatten", "flatten", "_reshape_alias", "unbind", "chunk", "view_as", "narrow", "to"),
    *("empty", "empty_like", "empty_strided", "new_empty", "resize_", "lift_fresh", "result_type", "item", "_local_scalar_dense"),
    *("resolve_conj", "resolve_neg", "is_nonzero"),
}
"""Operations that neither compute nor copy by themselves."""


def model() -> Qwen3ForCausalLM:
    """A narrow Qwen3 of many layers."""
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=96,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=LAYERS,
        head_dim=8,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    return Qwen3ForCausalLM(config).bfloat16().eval().requires_grad_(False)


def adapted(plain: Qwen3ForCausalLM) -> Qwen3ForCausalLM:
    """The same with an adapter on every linear layer but the last."""
    names = [name for name, layer in plain.named_modules() if isinstance(layer, torch.nn.Linear) and name != "lm_head"]
    policy = lora_views.share_weights(plain)
    lora_views.attach_adapter(policy, lora_views.with_adapter(lora_views.share_weights(plain), 8, 16.0, names))
    return policy


def operations(tree: Qwen3ForCausalLM, tokens: int, *, fixed: bool) -> int:
    """Operations of sampling so many tokens per row, at fixed addresses or as on the CPU."""
    sampler = BatchSampler(tree, eos_ids=frozenset(), max_batch_tokens=10**9, reading=Reading.SHARED, may_replay=fixed)
    requests = [SampleRequest((5, 6, 7 + row // 5), row, tokens, 1.0) for row in range(150)]
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        sampler.sample(requests)
    return sum(works(event) for event in profiler.events())


def works(event: torch.autograd.profiler_util.FunctionEvent) -> bool:
    """Return True for an innermost operation that computes or copies."""
    return (
        event.name.startswith("aten::") and event.name.removeprefix("aten::") not in FREE and not any(map(holds_work, event.cpu_children))
    )


def holds_work(event: torch.autograd.profiler_util.FunctionEvent) -> bool:
    """Return True if an operation is such a one, or has one inside."""
    return works(event) or any(map(holds_work, event.cpu_children))


def main() -> None:
    """Print a table."""
    plain = model()
    print("operations of a decode step      as on the CPU   at fixed addresses")
    for name, tree in (("adapter off", plain), ("adapter on", adapted(plain))):
        grown, fixed = ((operations(tree, LONG, fixed=way) - operations(tree, SHORT, fixed=way)) / (LONG - SHORT) for way in (False, True))
        print(f"{name:30} {grown:15.0f} {fixed:20.0f}")


if __name__ == "__main__":
    main()
