"""Keep credentials out of records and messages.

Only command lines, diffs and error texts are masked, never what a model or a user wrote to be used: a mask there would change results.
"""

import re
from collections.abc import Sequence

MASK = "***"

_SECRET_NAME = re.compile(r"key|token(?!iz)|secret|passw|credential", re.IGNORECASE)
_COUNT_NAME = re.compile(r"tokens([-_]total)?$|token[-_]?(budget|limit|count)$", re.IGNORECASE)
"""Options that count tokens."""

_SECRET_TEXT = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"(?:hf|gsk|r8|fw|npm|tgp_v1|api_org|sk_live|sk_test|rk_live|lsv2_pt|lsv2_sk|gh[pousr])_[A-Za-z0-9_]{16,}"
    r"|(?:sk|rk|xai|nvapi|tml|pplx|csk|esecret|glpat|pypi|dop_v1|whsec|wandb_v1)-[A-Za-z0-9_-]{16,}"
    r"|github_pat_[A-Za-z0-9_]{16,}|xox[abeprs]-[A-Za-z0-9-]{10,}|dapi[a-f0-9]{32}|A[KS]IA[A-Z0-9]{16}|AIza[A-Za-z0-9_-]{30,}"
    r"|ya29\.[A-Za-z0-9_-]{16,}|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"
    r"|eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}(?:\.[A-Za-z0-9_-]*){0,3}"  # a JSON web token, signed or encrypted
    r")"
)
_HEADER = re.compile(r"(?i)(?<![A-Za-z0-9])(bearer\s+|basic\s+|(?:x-)?api-key['\"]?\s*[:=]\s*['\"]?)[A-Za-z0-9._~+/=-]{16,}")
_URL_LOGIN = re.compile(r"(://)[^/\s?#]*@")

UNMISTAKABLE = 16
"""Characters from which a key cannot stand in a text by accident."""


def mask_argv(argv: Sequence[str]) -> list[str]:
    """Mask credentials in a command line: values of options and of ``name=value`` pairs named like a key, and known forms.

    The program's folder is dropped. ``--max-tokens 64`` stays, ``--api-key X`` becomes ``--api-key ***``.
    """
    masked: list[str] = []
    awaited = ""
    for index, word in enumerate(argv):
        name, equals, value = word.partition("=")
        if index == 0:
            word = re.split(r"[/\\]", word)[-1]
        elif awaited and not word.startswith("-"):
            word = _masked(awaited, word)
        elif equals:
            word = f"{name}={_masked(name, value)}"
        awaited = word if index > 0 and word.startswith("-") and not equals else ""
        masked.append(mask_text(word))
    return masked


def mask_text(text: str) -> str:
    """Mask strings in the form of a known service's credential, headers that hold one, and logins in URLs."""
    return _HEADER.sub(rf"\g<1>{MASK}", _URL_LOGIN.sub(rf"\g<1>{MASK}@", _SECRET_TEXT.sub(MASK, text)))


def holds_secret(address: str) -> bool:
    """Return whether an address has a login, or a credential of a known form in its path or query."""
    return mask_text(address) != address


def mask_key(text: str, key: str | None) -> str:
    """Mask one key in an error text, and strings in the form of a known service's credential.

    A short key, as servers of one's own have (``x``, ``local``), is masked as a whole token only, so that it spoils no other word.
    """
    if key:
        own = re.escape(key)
        text = re.sub(own if len(key) >= UNMISTAKABLE else rf"(?<![\w-]){own}(?![\w-])", MASK, text)
    return mask_text(text)


def _masked(name: str, value: str) -> str:
    """Return the value of an option, or the mask. ``a=b`` inside a value is checked too: ``--env-option api_key=X``."""
    if _SECRET_NAME.search(name) and not (_COUNT_NAME.search(name) and value.isdecimal()):
        return MASK
    inner, equals, rest = value.partition("=")
    return f"{inner}={_masked(inner, rest)}" if equals else value
