"""What becomes of chat templates at opening: `python tests/support/template_fates.py FOLDER …` prints a row for each, and the counts.

A row says where the principles can stand, or why the template is refused, and whether its calls of tools are read back.
"""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chat_models import build_real
from marker_attacks import SEARCH

from espl_bench.engines.chat import HfChat
from espl_bench.errors import ModelError

NO_CHAT = "words no plain chat"


@dataclass(frozen=True)
class Fate:
    """What becomes of one template."""

    principles: str
    """`in the system message`, `in the user message`, or `refused`."""
    tools: str
    """`read`, `none` or `refused`."""
    reason: str = ""
    """Of the last refusal."""


def fate(name: str, template: str) -> Fate:
    """Open a template as a run does. Its calls count as read if they are with markers that are special tokens, or with plain ones."""
    try:
        chats = [chat for special in (True, False) if (chat := build_real(name, template, special=special))]
    except ModelError as error:
        return Fate("refused", "none", str(error))
    if not chats:
        return Fate("refused", "none", NO_CHAT)
    principles, reason = _principles(chats[0])
    refusals = [_refusal(chat) for chat in chats]
    if "" in refusals:
        return Fate(principles, "read", reason)
    return Fate(principles, "none", reason) if "knows no tools" in refusals[0] else Fate(principles, "refused", refusals[0])


def _principles(chat: HfChat) -> tuple[str, str]:
    reason = ""
    for words, system in (("in the system message", True), ("in the user message", False)):
        try:
            chat.prove(system=system, replies=True)
        except ModelError as error:
            reason = str(error)
            continue
        return words, reason
    return "refused", reason


def _refusal(chat: HfChat) -> str:
    try:
        chat.with_tools([SEARCH])
    except ModelError as error:
        return str(error)
    return ""


def main(folders: Sequence[str]) -> None:
    """Print the fates of the templates in these folders."""
    for folder in folders:
        fates = {path.stem: fate(path.stem, path.read_text(encoding="utf-8")) for path in sorted(Path(folder).glob("*.jinja"))}
        for name, each in fates.items():
            sys.stdout.write(f"{name}: principles {each.principles}; calls {each.tools}. {each.reason}\n")
        counts = [Counter(each.principles for each in fates.values()), Counter(each.tools for each in fates.values())]
        sys.stdout.write(f"{len(fates)} templates; principles {dict(counts[0])}; calls of tools {dict(counts[1])}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
