"""What a reasoning model thinks, and what it says. Tokens are trained on whole; texts for graders and editors are what it says.

A thinking block stands between ``<think>`` and ``</think>``. Some chat templates open the block in the prompt, so that a
response begins inside it and holds the closing tag alone; a response that was cut off may hold the opening tag alone.
"""

import re
from typing import Final

OPEN: Final = "<think>"
CLOSE: Final = "</think>"

_BLOCK = re.compile(f"{OPEN}.*?{CLOSE}", re.DOTALL)


def strip_reasoning(text: str) -> str:
    """The text without its thinking: closed blocks, what stands before a lone closing tag, and what follows a lone opening one.

    A text without tags is returned as it is. Nothing is left of one that ends inside its only block.
    """
    said = _BLOCK.sub("", text).rpartition(CLOSE)[2].partition(OPEN)[0]
    return text if said == text else said.strip()
