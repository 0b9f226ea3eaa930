"""What a mixture is made of, as its options say it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import isfinite
from typing import Any, Final, cast
from urllib.parse import parse_qsl

from espl_bench.errors import UsageError
from espl_bench.utils.names import fault_of_line

MIXTURE: Final = "mixture"
EXAMPLE: Final = """--env-option parts='["rulebook", "rulebook?world=1"]'"""


@dataclass(frozen=True, slots=True)
class Part:
    """One environment of a mixture."""

    name: str
    """As it was written, e.g. ``rulebook?world=1``; unique in the mixture."""
    env: str
    """Name of the environment."""
    options: Mapping[str, Any]
    share: Fraction
    """Of the training items; 0: the part is only tested."""


def read_parts(parts: object, shares: object) -> tuple[Part, ...]:
    """Read the options of a mixture.

    Args:
        parts: two or more environments, each with its options behind a question mark, as in an address: ``rulebook?world=1``.
        shares: a number for each part, in any unit; None: equal shares.

    Raises UsageError in one line.
    """
    if parts is None:
        raise UsageError(f"mixture: name its parts: {EXAMPLE}")
    texts = _texts(parts)
    if len(texts) < 2:
        raise UsageError(f"mixture: parts names {len(texts)} environment; name two or more: {EXAMPLE}")
    if twice := next((text for text in texts if texts.count(text) > 1), None):
        raise UsageError(f"mixture: parts names '{twice}' twice; give each part once, and its weight in shares")
    amounts = _shares(shares, texts)
    return tuple(Part(text, *_read(text), amount / sum(amounts)) for text, amount in zip(texts, amounts, strict=True))


def _texts(parts: object) -> list[str]:
    listed = cast(Sequence[object], parts) if isinstance(parts, list | tuple) else ()
    texts = [text for text in listed if isinstance(text, str)]
    if not texts or len(texts) != len(listed):
        raise UsageError(f"mixture: parts must be a list of texts, not {parts!r}; write it so: {EXAMPLE}")
    for text in texts:
        if fault := fault_of_line(text):
            raise UsageError(f"mixture: {text!r} cannot name a part: {fault}; write ENVIRONMENT?OPTION=VALUE")
    return texts


def _read(text: str) -> tuple[str, dict[str, Any]]:
    """Split ``rulebook?world=1`` into name and options; a value is JSON if it reads as such, else text."""
    env, _, query = text.partition("?")
    if env == MIXTURE:
        raise UsageError("mixture: a mixture cannot be a part of another; name its parts instead")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError as error:
        raise UsageError(f"mixture: the options of '{text}' cannot be read; write ENVIRONMENT?OPTION=VALUE&OPTION=VALUE") from error
    return env, {key: _value(value) for key, value in pairs}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _shares(shares: object, texts: Sequence[str]) -> list[Fraction]:
    if shares is None:
        return [Fraction(1)] * len(texts)
    listed = list(cast(Sequence[object], shares)) if isinstance(shares, list | tuple) else []
    amounts = [Fraction(str(share)) for share in listed if _is_amount(share)]
    if len(amounts) != len(texts) or len(listed) != len(texts) or not any(amounts):
        raise UsageError(
            f"mixture: shares must be {len(texts)} numbers from 0, one for each part and not all 0, not {shares!r}; "
            f"e.g. --env-option shares='{[len(texts), *[1] * (len(texts) - 1)]}'"
        )
    return amounts


def _is_amount(share: object) -> bool:
    return isinstance(share, int | float) and not isinstance(share, bool) and isfinite(share) and share >= 0
