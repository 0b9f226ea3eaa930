"""What can be done to a chat that is rendered on this machine (`TemplateChat`), and what becomes of one that is not."""

from collections.abc import Sequence
from datetime import datetime

from espl_bench.engines.engine import Chat, TemplateChat
from espl_bench.errors import UsageError
from espl_bench.types import Message


def dated(chat: Chat, now: datetime) -> Chat:
    """Return a chat whose template reads this time wherever it asks for the present; the same chat if it is not rendered here."""
    if not isinstance(chat, TemplateChat):
        return chat
    fixed: Chat = chat.dated(now)
    return fixed


def with_thinking(chat: Chat, thinking: str | None, option: str) -> Chat:
    """Return a chat whose template's switch for thinking is set.

    Args:
        chat: the chat.
        thinking: ``on`` or ``off``; None: as the template has it.
        option: the option that asks for it, for error messages.

    Raises:
        UsageError: the chat is not rendered here.
        ModelError: its template has no such switch.
    """
    if thinking is None:
        return chat
    if not isinstance(chat, TemplateChat):
        raise UsageError(f"{option} {thinking} is a switch of a chat template, and this engine renders none here; leave it out")
    switched: Chat = chat.thinking(thinking == "on", option)
    return switched


def prove(chat: Chat, *, system: bool, replies: bool) -> None:
    """Prove the chat's template as `TemplateChat.prove` does, if it is rendered here. Raises ModelError."""
    if isinstance(chat, TemplateChat):
        chat.prove(system=system, replies=replies)


def opened_by(chat: Chat, messages: Sequence[Message]) -> str:
    """Return the opening of thoughts at the end of rendered messages (`TemplateChat.opened`); empty if they are not rendered here."""
    return chat.opened(messages) if isinstance(chat, TemplateChat) else ""
