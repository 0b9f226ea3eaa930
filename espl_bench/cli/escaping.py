"""Print every character, whatever the encoding of the terminal or of the file that the output goes to."""

import codecs
import io
import json
import sys
from typing import Final

ESCAPED: Final = "espl_bench.escaped"
"""Name of the error handler that `print_anything` registers."""


def print_anything() -> None:
    r"""Let stdout and stderr take every character: one that their encoding lacks is written as JSON escapes it, ``\u00e9``."""
    codecs.register_error(ESCAPED, _escape)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ESCAPED)


def _escape(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end
