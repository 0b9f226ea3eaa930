"""Separate a reasoning model's thinking from its reply. Training uses whole turns; graders and editors see the reply only.

A thinking block is enclosed in ``<think>`` and ``</think>``. Some chat templates open the block in the prompt, so that a
response begins inside it and holds the closing tag alone; a response that was cut off may hold the opening tag alone.
"""

from typing import Final

OPEN: Final = "<think>"
CLOSE: Final = "</think>"


def strip_reasoning(text: str) -> str:
    """Remove thinking: closed blocks, text before a lone closing tag, and text after a lone opening one. Time is linear.

    A text without tags is returned unchanged; one that ends inside its only block becomes empty.
    """
    said = _without_blocks(text).rpartition(CLOSE)[2].partition(OPEN)[0]
    return text if said == text else said.strip()


def _without_blocks(text: str) -> str:
    """Remove each block, from an opening tag to the next closing one. A last opening tag without one stays, and all behind it."""
    kept: list[str] = []
    position = 0
    while (start := text.find(OPEN, position)) >= 0 and (end := text.find(CLOSE, start + len(OPEN))) >= 0:
        kept.append(text[position:start])
        position = end + len(CLOSE)
    return "".join((*kept, text[position:]))
