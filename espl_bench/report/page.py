"""The page: its parts from assets/, put together into one file that loads nothing and may run only the script it came with.

Data stand in the file as inert text: what the page begins with as JSON whose ``<``, ``>`` and ``&`` are escaped, what it
opens later as base64 of gzipped JSON. The content security policy names the one script and the one style sheet by hash, so
nothing else can run, whatever the data hold.
"""

import base64
import gzip
import hashlib
import html
import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

SCRIPTS: Final = (
    "dom", "format", "colour", "store", "router", "chart", "table", "leaderboard", "curves", "diff", "prompt", "tree", "fold", "tokens",
    "rollout", "list", "rollouts", "progress", "card", "runs", "theme", "main",
)  # fmt: skip
"""Modules of assets/, each after what it imports: they become one script."""
STYLES: Final = ("tokens", "page", "table", "charts", "tree", "rollouts")
_IMPORT = re.compile(r"^import .*\n", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const|class|let)\b)", re.MULTILINE)


def _asset(name: str) -> str:
    return (files("espl_bench.report") / "assets" / name).read_text(encoding="utf-8")


@cache
def script() -> str:
    """All modules in one scope: their import lines and the word ``export`` left out."""
    parts = (_EXPORT.sub("", _IMPORT.sub("", _asset(f"{name}.js"))) for name in SCRIPTS)
    return '"use strict";\n' + "".join(parts)


@cache
def style() -> str:
    """All style sheets in one."""
    return "".join(_asset(f"{name}.css") for name in STYLES)


def policy(connect: str = "'none'") -> str:
    """The content security policy; `connect` is where the script may ask for data."""
    return (
        f"default-src 'none'; script-src 'sha256-{_digest(script())}'; style-src 'sha256-{_digest(style())}'; "
        f"connect-src {connect}; base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def page(title: str, study: Mapping[str, Any] | None, blobs: Mapping[str, bytes], connect: str = "'none'") -> bytes:
    """The whole file.

    Args:
        title: of the window.
        study: what `payload.study_json` gives; None: the page asks its server for it.
        blobs: name → what :func:`pack` gives, for what is opened later.
        connect: see :func:`policy`.
    """
    embedded = [f'<script type="application/json" id="study">{inert(study)}</script>\n'.encode()] if study is not None else []
    for name, data in blobs.items():
        embedded.append(b'<script type="text/plain" data-blob="%s">%s</script>\n' % (html.escape(name).encode(), base64.b64encode(data)))
    # the text is cut at its markers before anything is put in, so that what is put in is never searched for markers
    parts = {
        "TITLE": html.escape(title).encode("utf-8", "replace"),
        "POLICY": policy(connect).encode(),
        "STYLE": style().encode(),
        "SCRIPT": script().encode(),
        "DATA": b"".join(embedded),
    }
    pieces = re.split(r"\{\{([A-Z]+)\}\}", _asset("page.html"))
    return b"".join(parts[piece] if place % 2 else piece.encode() for place, piece in enumerate(pieces))


def inert(data: Mapping[str, Any]) -> str:
    """JSON that no HTML parser can take for anything but text. A lone surrogate, which UTF-8 has no form for, stays as its escape."""
    text = encode(data).decode()
    return (
        text.replace("&", "\\u0026")
        .replace("<", "\\u003c")
        .replace(">", "\\u003e")
        .replace("\u2028", "\\u2028")
        .replace("\u2029", "\\u2029")
    )


def encode(data: object) -> bytes:
    """Compact JSON in UTF-8; NaN and infinities, which JSON does not know, are null."""
    try:
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(data), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode("utf-8", "backslashreplace")


def pack(data: object) -> bytes:
    """Gzipped JSON; the same bytes for the same data."""
    return gzip.compress(encode(data), compresslevel=6, mtime=0)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0.0 else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    return value
