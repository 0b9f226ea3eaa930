"""A tiny random model of every family of causal language models that people bring, from its configuration class."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from engines_fixtures import SPECIAL, WORDS, make_tokenizer
from transformers import AutoModelForCausalLM

WINDOW = 8
"""Tokens that a layer with a window sees: fewer than a prompt has."""

COMMON: Mapping[str, Any] = {
    "vocab_size": len(SPECIAL) + len(WORDS),
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": None,
}
MLA = {"kv_lora_rank": 16, "q_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8, "num_key_value_heads": 4}
EXPERT_COUNTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
LOCAL = {"num_local_experts": 4, "num_experts_per_tok": 2}
ROUTED = {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "n_group": 1, "topk_group": 1}
DELTA = {
    "initializer_range": 0.1,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "head_dim": 8,
    "layer_types": ["linear_attention", "full_attention"],
}
MAMBA = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_expand": 2, "mamba_chunk_size": 8}
SLIDING = {"sliding_window": WINDOW, "layer_types": ["sliding_attention", "full_attention"]}


@dataclass(frozen=True)
class Family:
    """One kind of model."""

    module: str
    """Folder of transformers' models."""
    config: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    """To `COMMON`."""

    @property
    def routes(self) -> bool:
        """True if a router sends every token to a few of several experts."""
        return any(self.changes.get(name) for name in EXPERT_COUNTS)


FAMILIES: Mapping[str, Family] = {
    "llama": Family("llama", "LlamaConfig"),
    "llama4 (text)": Family(
        "llama4",
        "Llama4TextConfig",
        LOCAL
        | {
            "head_dim": 8,
            "intermediate_size_mlp": 48,
            "attention_chunk_size": WINDOW,
            "no_rope_layers": [1, 0],
            "interleave_moe_layer_step": 2,
        },
    ),
    "qwen2": Family("qwen2", "Qwen2Config"),
    "qwen2_moe": Family("qwen2_moe", "Qwen2MoeConfig", EXPERTS | {"shared_expert_intermediate_size": 16}),
    "qwen3": Family("qwen3", "Qwen3Config", {"head_dim": 8}),
    "qwen3_moe": Family("qwen3_moe", "Qwen3MoeConfig", EXPERTS | {"head_dim": 8}),
    "qwen3_next": Family("qwen3_next", "Qwen3NextConfig", EXPERTS | DELTA | {"shared_expert_intermediate_size": 16}),
    "qwen3_5 (text)": Family("qwen3_5", "Qwen3_5TextConfig", DELTA),
    "qwen3_5_moe (text)": Family("qwen3_5_moe", "Qwen3_5MoeTextConfig", EXPERTS | DELTA | {"shared_expert_intermediate_size": 16}),
    "gemma": Family("gemma", "GemmaConfig", {"head_dim": 8}),
    "gemma2": Family("gemma2", "Gemma2Config", SLIDING | {"head_dim": 8}),
    "gemma3 (text)": Family("gemma3", "Gemma3TextConfig", SLIDING | {"head_dim": 8}),
    "gemma3n (text)": Family(
        "gemma3n",
        "Gemma3nTextConfig",
        SLIDING
        | {
            "head_dim": 8,
            "vocab_size_per_layer_input": 96,
            "hidden_size_per_layer_input": 8,
            "num_kv_shared_layers": 0,
            "laurel_rank": 4,
            "intermediate_size": [48, 48],
            "activation_sparsity_pattern": [0.0, 0.0],
        },
    ),
    "gemma4 (text)": Family(
        "gemma4",
        "Gemma4TextConfig",
        SLIDING | {"head_dim": 8, "global_head_dim": 8, "vocab_size_per_layer_input": 96, "hidden_size_per_layer_input": 8},
    ),
    "gemma4 (experts)": Family(
        "gemma4",
        "Gemma4TextConfig",
        SLIDING
        | {
            "head_dim": 8,
            "global_head_dim": 8,
            "vocab_size_per_layer_input": 96,
            "hidden_size_per_layer_input": 0,
            "enable_moe_block": True,
            "num_experts": 4,
            "top_k_experts": 2,
            "moe_intermediate_size": 16,
        },
    ),
    "gemma4 (shared caches)": Family(
        "gemma4",
        "Gemma4TextConfig",
        {
            "sliding_window": WINDOW,
            "num_hidden_layers": 4,
            "layer_types": ["sliding_attention", "full_attention"] * 2,
            "initializer_range": 0.1,
            "num_kv_shared_layers": 2,
            "head_dim": 8,
            "global_head_dim": 8,
            "vocab_size_per_layer_input": 96,
            "hidden_size_per_layer_input": 8,
        },
    ),
    "mistral": Family("mistral", "MistralConfig", {"sliding_window": None}),
    "mistral (window)": Family("mistral", "MistralConfig", {"sliding_window": WINDOW}),
    "ministral": Family("ministral", "MinistralConfig", SLIDING | {"head_dim": 8}),
    "ministral3": Family("ministral3", "Ministral3Config", {"head_dim": 8}),
    "mixtral": Family("mixtral", "MixtralConfig", LOCAL),
    "phi3": Family("phi3", "Phi3Config", {"sliding_window": None}),
    "phi4 (phi3)": Family("phi3", "Phi3Config", {"sliding_window": None, "partial_rotary_factor": 0.5, "num_key_value_heads": 2}),
    "phimoe": Family("phimoe", "PhimoeConfig", LOCAL),
    "granite": Family("granite", "GraniteConfig", {"logits_scaling": 2.0, "embedding_multiplier": 3.0}),
    "granitemoe": Family("granitemoe", "GraniteMoeConfig", LOCAL),
    "granitemoehybrid": Family(
        "granitemoehybrid",
        "GraniteMoeHybridConfig",
        LOCAL | MAMBA | {"shared_intermediate_size": 16, "layer_types": ["mamba", "attention"]},
    ),
    "granitemoehybrid (dense)": Family(
        "granitemoehybrid",
        "GraniteMoeHybridConfig",
        MAMBA | {"num_local_experts": 0, "shared_intermediate_size": 48, "layer_types": ["mamba", "attention"]},
    ),
    "olmo2": Family("olmo2", "Olmo2Config"),
    "olmo3": Family("olmo3", "Olmo3Config", SLIDING),
    "olmo_hybrid": Family("olmo_hybrid", "OlmoHybridConfig", DELTA | {"linear_num_key_heads": 4}),
    "olmoe": Family("olmoe", "OlmoeConfig", {"num_experts": 4, "num_experts_per_tok": 2}),
    "gpt_oss": Family("gpt_oss", "GptOssConfig", LOCAL | SLIDING | {"head_dim": 8}),
    "glm4": Family("glm4", "Glm4Config", {"head_dim": 8}),
    "glm4_moe": Family("glm4_moe", "Glm4MoeConfig", ROUTED | {"head_dim": 8, "first_k_dense_replace": 1}),
    "glm4_moe_lite": Family("glm4_moe_lite", "Glm4MoeLiteConfig", ROUTED | MLA),
    "glm_moe_dsa": Family("glm_moe_dsa", "GlmMoeDsaConfig", ROUTED | MLA | {"index_n_heads": 64, "index_head_dim": 32, "index_topk": 8}),
    "deepseek_v2": Family("deepseek_v2", "DeepseekV2Config", ROUTED | MLA | {"first_k_dense_replace": 1, "topk_method": "greedy"}),
    "deepseek_v3": Family("deepseek_v3", "DeepseekV3Config", ROUTED | MLA | {"first_k_dense_replace": 1}),
    "deepseek_v32": Family(
        "deepseek_v32",
        "DeepseekV32Config",
        ROUTED | MLA | {"first_k_dense_replace": 1, "index_n_heads": 64, "index_head_dim": 32, "index_topk": 8},
    ),
    "smollm3": Family("smollm3", "SmolLM3Config"),
    "lfm2": Family("lfm2", "Lfm2Config", {"layer_types": ["conv", "full_attention"], "block_multiple_of": 8}),
    "lfm2_moe": Family("lfm2_moe", "Lfm2MoeConfig", EXPERTS | {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1}),
    "lfm3": Family("lfm3", "Lfm3Config", {"layer_types": ["conv", "sliding_attention"], "sliding_window": WINDOW, "head_dim": 8}),
    "falcon_h1": Family("falcon_h1", "FalconH1Config", MAMBA | {"mamba_d_ssm": 64, "head_dim": 8}),
    "falcon_mamba": Family("falcon_mamba", "FalconMambaConfig", {"state_size": 8}),
    "mamba": Family("mamba", "MambaConfig", {"state_size": 8}),
    "mamba2": Family("mamba2", "Mamba2Config", {"num_heads": 8, "head_dim": 8, "state_size": 8, "n_groups": 1, "chunk_size": 8}),
    "jamba": Family(
        "jamba",
        "JambaConfig",
        LOCAL | {"num_experts": 4, "attn_layer_period": 2, "attn_layer_offset": 1, "mamba_d_state": 8, "use_mamba_kernels": False},
    ),
    "bamba": Family("bamba", "BambaConfig", MAMBA | {"attn_layer_indices": [1]}),
    "zamba2": Family(
        "zamba2",
        "Zamba2Config",
        {
            "mamba_d_state": 8,
            "mamba_headdim": 8,
            "n_mamba_heads": 8,
            "chunk_size": 8,
            "layers_block_type": ["mamba", "hybrid"],
            "num_mem_blocks": 1,
            "use_mem_rope": True,
        },
    ),
    "cohere": Family("cohere", "CohereConfig"),
    "cohere2": Family("cohere2", "Cohere2Config", SLIDING),
    "nemotron": Family("nemotron", "NemotronConfig", {"head_dim": 8}),
    "nemotron_h": Family(
        "nemotron_h",
        "NemotronHConfig",
        {
            "layers_block_type": ["mamba", "attention", "moe", "mlp"],
            "head_dim": 8,
            "ssm_state_size": 8,
            "mamba_num_heads": 8,
            "mamba_head_dim": 8,
            "n_groups": 2,
            "chunk_size": 8,
            "n_routed_experts": 4,
            "moe_intermediate_size": 16,
            "moe_shared_expert_intermediate_size": 16,
        },
    ),
    "minimax_m2": Family("minimax_m2", "MiniMaxM2Config", LOCAL | {"head_dim": 8, "rotary_dim": 8}),
    "kimi_linear": Family(
        "kimi_linear",
        "KimiLinearConfig",
        MLA
        | LOCAL
        | {
            "moe_intermediate_size": 16,
            "linear_head_dim": 8,
            "linear_num_heads": 4,
            "layer_types": ["linear_attention", "full_attention"],
            "mlp_layer_types": ["dense", "sparse"],
        },
    ),
    "ernie4_5": Family("ernie4_5", "Ernie4_5Config", {"head_dim": 8}),
    "ernie4_5_moe": Family(
        "ernie4_5_moe", "Ernie4_5_MoeConfig", {"moe_num_experts": 4, "moe_k": 2, "moe_intermediate_size": 16, "moe_layer_start_index": 1}
    ),
    "exaone4": Family("exaone4", "Exaone4Config", SLIDING),
    "hunyuan_v1_dense": Family("hunyuan_v1_dense", "HunYuanDenseV1Config", {"head_dim": 8}),
    "seed_oss": Family("seed_oss", "SeedOssConfig", {"head_dim": 8}),
    "starcoder2": Family("starcoder2", "Starcoder2Config", {"sliding_window": None}),
    "stablelm": Family("stablelm", "StableLmConfig"),
    "gpt2": Family("gpt2", "GPT2Config"),
    "gpt_neox": Family("gpt_neox", "GPTNeoXConfig"),
    "bloom": Family("bloom", "BloomConfig"),
    "falcon": Family("falcon", "FalconConfig"),
    "opt": Family("opt", "OPTConfig", {"ffn_dim": 48, "word_embed_proj_dim": 32}),
    "rwkv": Family("rwkv", "RwkvConfig"),
    "recurrent_gemma": Family(
        "recurrent_gemma",
        "RecurrentGemmaConfig",
        {"lru_width": 32, "attention_window_size": WINDOW, "block_types": ["recurrent", "attention"], "head_dim": 8},
    ),
}


def make_family(name: str, folder: Path) -> Path:
    """Write a family's model and a tokenizer into a folder, as transformers writes them."""
    family = FAMILIES[name]
    configs = importlib.import_module(f"transformers.models.{family.module}.configuration_{family.module}")
    config = getattr(configs, family.config)(**{**COMMON, **family.changes})
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.eval().save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder
