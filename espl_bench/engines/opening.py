"""From a configuration to an engine. The only place that knows which engines exist; each loads its packages when opened."""

from espl_bench.config import RunConfig
from espl_bench.engines.protocol import Engine
from espl_bench.seeding import seed_for


def open_engine(config: RunConfig) -> Engine:
    """Load the model of a run. Raises ModelError in one line if it cannot be used."""
    match config.engine:
        case "hf":
            from espl_bench.engines.hf import HfEngine

            return HfEngine.from_pretrained(
                config.model,
                lora_rank=config.lora_rank,
                lora_alpha=config.lora_alpha,
                seed=seed_for(config.seed, "adapter"),
                token_budget=config.token_budget,
                gradient_checkpointing=config.gradient_checkpointing,
            )
