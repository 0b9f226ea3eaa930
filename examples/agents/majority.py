"""An agent that knows nothing of espl-bench: it draws a few answers to a question and hands in one of those that agree.

    OPENAI_BASE_URL=… OPENAI_API_KEY=… OPENAI_MODEL=… python examples/agents/majority.py <question.txt

It speaks to any server of the chat completions API. To train the model that it asks:

    espl-bench run --method rl_only --env agent:rulebook --env-option command="python examples/agents/majority.py"
"""

import os
import sys
from collections import Counter

from openai import OpenAI

ATTEMPTS = 3


def solve(question: str, client: OpenAI, model: str) -> str:
    """Draw attempts, and return the first of those that most agree with."""
    attempts: list[str] = []
    for _ in range(ATTEMPTS):
        completion = client.chat.completions.create(model=model, messages=[{"role": "user", "content": question}])
        attempts.append(completion.choices[0].message.content or "")
    [(most, _)] = Counter(map(answer_of, attempts)).most_common(1)
    return next(text for text in attempts if answer_of(text) == most)


def answer_of(text: str) -> str:
    """Return what stands behind the last ``answer``."""
    return " ".join(text.rpartition("answer")[2].split())


if __name__ == "__main__":
    print(solve(sys.stdin.read(), OpenAI(), os.environ["OPENAI_MODEL"]))
