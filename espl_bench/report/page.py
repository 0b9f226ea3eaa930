"""Assemble the page from assets/ into one file that loads nothing and can run only its own script.

Data are embedded as inert text: the first document as JSON with ``<``, ``>`` and ``&`` escaped, the parts opened later as
base64 of gzipped JSON. The content security policy names the one script and the one style sheet by hash, so nothing else
can run, whatever the data contain.
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
    "dom", "format", "colour", "store", "router", "chart", "table", "state", "prompts", "diff", "prompt", "tree", "fold", "tokens",
    "rollout", "list", "rollouts", "progress", "card", "runs", "leaderboard", "curves", "compare", "theme", "main",
)  # fmt: skip
"""Modules of assets/, each after its imports; they become one script."""
STYLES: Final = ("tokens", "page", "table", "charts", "tree", "rollouts")
_IMPORT = re.compile(r"^import .*\n", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const|class|let)\b)", re.MULTILINE)


def _asset(name: str) -> str:
    return (files("espl_bench.report") / "assets" / name).read_text(encoding="utf-8")


@cache
def script() -> str:
    """Join all modules in one scope, without their import lines and the word ``export``."""
    parts = (_EXPORT.sub("", _IMPORT.sub("", _asset(f"{name}.js"))) for name in SCRIPTS)
    return '"use strict";\n' + "".join(parts)


@cache
def style() -> str:
    """Join all style sheets."""
    return "".join(_asset(f"{name}.css") for name in STYLES)


def policy(connect: str = "'none'") -> str:
    """Make the content security policy; `connect` is the source that the script may request data from."""
    return (
        f"default-src 'none'; script-src 'sha256-{_digest(script())}'; style-src 'sha256-{_digest(style())}'; "
        f"connect-src {connect}; base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def page(title: str, study: Mapping[str, Any] | None, blobs: Mapping[str, bytes], connect: str = "'none'") -> bytes:
    """Assemble the whole file.

    Args:
        title: title of the window.
        study: result of `payload.study_json`; None: the page requests it from its server.
        blobs: name → result of :func:`pack`, for the parts opened later.
        connect: see :func:`policy`.
    """
    embedded = [f'<script type="application/json" id="study">{inert(study)}</script>\n'.encode()] if study is not None else []
    for name, data in blobs.items():
        embedded.append(b'<script type="text/plain" data-blob="%s">%s</script>\n' % (html.escape(name).encode(), base64.b64encode(data)))
    # the template is split at its markers before anything is inserted, so inserted text is never searched for markers
    parts = {
        "TITLE": html.escape(title).encode("utf-8", "replace"),
        "POLICY": policy(connect).encode(),
        "STYLE": style().encode(),
        "SCRIPT": script().encode(),
        "DATA": b"".join(embedded),
    }
    pieces = re.split(r"\{\{([A-Z]+)\}\}", _asset("page.html"))
    return b"".join(parts[piece] if index % 2 else piece.encode() for index, piece in enumerate(pieces))


def inert(data: Mapping[str, Any]) -> str:
    """Encode JSON that every HTML parser reads as text. A lone surrogate, which UTF-8 cannot encode, stays as its escape."""
    text = encode(data).decode()
    return (
        text.replace("&", "\\u0026")
        .replace("<", "\\u003c")
        .replace(">", "\\u003e")
        .replace("\u2028", "\\u2028")
        .replace("\u2029", "\\u2029")
    )


def encode(data: object) -> bytes:
    """Encode compact JSON in UTF-8. NaN and infinities, which JSON lacks, become null."""
    try:
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(data), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode("utf-8", "backslashreplace")


def pack(data: object) -> bytes:
    """Encode gzipped JSON; the same data give the same bytes."""
    return gzip.compress(encode(data), compresslevel=6, mtime=0)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0.0 else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    return value
