"""Stop the clock of a chat template: some (Llama 3.2, gpt-oss) write today's date into every prompt, through ``strftime_now(format)``.

A run that is resumed on another day must render the ids of its first day. transformers gives templates this function itself, and makes
inert whatever function a caller passes. So the template gets a macro of that name in front, which knows one moment.
"""

import json
import string
from datetime import datetime

CLOCK = "strftime_now"
"""Name of the function in templates."""

_MACRO = """\
{%- macro NAME(format) -%}
{%- set moment = MOMENT -%}
{%- filter replace('\\ue000', '%') -%}
{%- for part in format.replace('%%', '\\ue000').split('%') -%}
{%- if loop.first -%}{{ part }}
{%- elif part[:2] in moment -%}{{ moment[part[:2]] ~ part[2:] }}
{%- else -%}{{ moment.get(part[:1], '\\ue000' ~ part[:1]) ~ part[1:] }}
{%- endif -%}
{%- endfor -%}
{%- endfilter -%}
{%- endmacro %}
"""
"""It prints nothing, and ends with a line end that `trim_blocks` removes, so that the template still begins at the start of a line."""


def clock_at(now: datetime) -> str:
    """Return the text to put in front of a template, so that `CLOCK` formats this moment as `datetime.strftime` does."""
    plain = {letter: now.strftime(f"%{letter}") for letter in string.ascii_letters}
    unpadded = {f"-{letter}": str(int(plain[letter])) for letter in "dmHIMSjyUW"}
    return _MACRO.replace("NAME", CLOCK).replace("MOMENT", json.dumps(plain | unpadded))
