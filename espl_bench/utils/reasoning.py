"""Separate a reasoning model's thinking from its reply. Training uses whole turns; graders and editors see the reply only.

A thinking block is enclosed in ``<think>`` and ``</think>``. Some chat templates open the block in the prompt, so that a
response begins inside it and holds the closing tag alone; a response that was cut off may hold the opening tag alone.
"""

import re
from typing import Final

OPEN: Final = "<think>"
CLOSE: Final = "</think>"

_BLOCK = re.compile(f"{OPEN}.*?{CLOSE}", re.DOTALL)


def strip_reasoning(text: str) -> str:
    """Remove thinking: closed blocks, text before a lone closing tag, and text after a lone opening one.

    A text without tags is returned unchanged; one that ends inside its only block becomes empty.
    """
    said = _BLOCK.sub("", text).rpartition(CLOSE)[2].partition(OPEN)[0]
    return text if said == text else said.strip()
