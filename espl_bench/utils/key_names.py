"""Names of the environment variables that hold keys of model APIs. No other variable is ever sent anywhere.

The list is fixed; a user adds to it for one command by naming a variable on the command line, or for good in their own configuration
(runs/consent.py). No file of a run, a sweep or a grid can.
"""

from collections.abc import Iterable
from typing import Final

from espl_bench.errors import UsageError

KNOWN: Final = frozenset(
    {
        *("ANTHROPIC_API_KEY", "ANYSCALE_API_KEY", "AZURE_OPENAI_API_KEY", "BASETEN_API_KEY", "CEREBRAS_API_KEY", "COHERE_API_KEY"),
        *("DASHSCOPE_API_KEY", "DEEPINFRA_API_KEY", "DEEPSEEK_API_KEY", "FIREWORKS_API_KEY", "GEMINI_API_KEY", "GROQ_API_KEY"),
        *("HYPERBOLIC_API_KEY", "LITELLM_API_KEY", "MISTRAL_API_KEY", "MOONSHOT_API_KEY", "NEBIUS_API_KEY", "NOVITA_API_KEY"),
        *("NVIDIA_API_KEY", "OPENAI_API_KEY", "OPENROUTER_API_KEY", "PERPLEXITY_API_KEY", "SAMBANOVA_API_KEY", "SGLANG_API_KEY"),
        *("TINKER_API_KEY", "TOGETHER_API_KEY", "VLLM_API_KEY", "XAI_API_KEY", "ZAI_API_KEY"),
    }
)

_allowed: set[str] = set()


def allow(names: Iterable[str]) -> None:
    """Add names for this process, because its user has named them."""
    _allowed.update(names)


def require(name: str) -> None:
    """Raise UsageError unless a variable may be sent."""
    if name not in KNOWN | _allowed:
        raise UsageError(
            f"{name} is not on the list of variables that hold keys of model APIs, so it is not sent; allow it with --send-key {name}"
        )
