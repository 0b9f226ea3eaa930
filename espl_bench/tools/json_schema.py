"""JSON Schemas of tools' arguments: values are checked against them by `jsonschema`, which fetches nothing.

A schema is kept as its text, so that it compares and hashes, and so that templates show it as it was written.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# the library is partly untyped

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, cast

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, best_match
from jsonschema.validators import validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

from espl_bench.errors import EnvError, first_line
from espl_bench.tools.schema_words import leads_somewhere, part_of, resolved

MAX_FAULT: Final = 200
"""Maximum characters of a fault."""


@dataclass(frozen=True, slots=True)
class JsonSchema:
    """A JSON Schema, or a part of one."""

    text: str
    """The whole schema as JSON, in the order in which it was written."""
    within: tuple[str, ...] = ()
    """Keys that lead to the part."""

    @classmethod
    def of(cls, schema: Mapping[str, Any] | bool) -> "JsonSchema":
        """Keep a schema. Raises EnvError if it is none, refers to something outside itself or nowhere, or has a pattern that is none."""
        try:
            made = cls(json.dumps(schema, ensure_ascii=False, allow_nan=False))
            root = made.root
            validator_for(root, default=Draft202012Validator).check_schema(root)
            for keyword, value in _keywords(root):
                _require_usable(keyword, value, root)
        except (TypeError, ValueError, SchemaError, re.error, RecursionError) as error:
            raise EnvError(f"{str(schema)[:MAX_FAULT]} is no JSON Schema: {first_line(error)[:MAX_FAULT]}") from error
        return made

    def inside(self, *keys: str) -> "JsonSchema":
        """Return the part that further keys lead to."""
        return JsonSchema(self.text, (*self.within, *keys))

    @property
    def root(self) -> Any:
        """The whole schema."""
        return json.loads(self.text)

    @property
    def part(self) -> Any:
        """The part."""
        return part_of(self.root, self.within)

    def fault_of(self, value: object) -> str | None:
        """Say in one line why a JSON value does not fit; None if it does. Raises EnvError if the schema cannot be used."""
        try:
            error: Any = best_match(_validator(self.text, self.within).iter_errors(value))
        except (Unresolvable, RecursionError, re.error) as error:
            raise EnvError(f"the JSON Schema {self.text[:MAX_FAULT]} cannot be used: {first_line(error)[:MAX_FAULT]}") from error
        if error is None:
            return None
        where = ".".join(map(str, error.absolute_path))
        said = " ".join(str(error.message).split())[:MAX_FAULT]
        return f"{where}: {said}" if where else said

    def accepts(self, value: object) -> bool:
        """Return True if a JSON value fits."""
        return self.fault_of(value) is None


_VALUES: Final = frozenset({"default", "const", "enum", "examples"})
"""Keywords that hold values, and not schemas."""


def _keywords(schema: Any) -> Iterator[tuple[str, Any]]:
    """Yield the keywords of a schema and of all inside it that may name something unusable."""
    if isinstance(schema, list):
        for each in cast(list[Any], schema):
            yield from _keywords(each)
    elif isinstance(schema, dict):
        for key, value in cast(dict[str, Any], schema).items():
            if key in ("$ref", "pattern") and isinstance(value, str):
                yield key, value
            elif key == "patternProperties" and isinstance(value, dict):
                yield from (("pattern", pattern) for pattern in cast(dict[str, Any], value))
            if key not in _VALUES:
                yield from _keywords(value)


def _require_usable(keyword: str, value: str, root: Any) -> None:
    if keyword == "pattern":
        re.compile(value)
        return
    if not value.startswith("#"):
        raise ValueError(f"it refers to {value}, and nothing is fetched; put it under $defs")
    if "$ref" in resolved({"$ref": value}, root) or (value.startswith("#/") and not leads_somewhere(value, root)):
        raise ValueError(f"its reference {value} leads nowhere")


@lru_cache(maxsize=256)
def _validator(text: str, within: tuple[str, ...]) -> Any:
    root = json.loads(text)
    whole: Any = validator_for(root, default=Draft202012Validator)(root, registry=Registry())
    return whole.evolve(schema=part_of(root, within)) if within else whole


def is_finite(value: object) -> bool:
    """Return False for a JSON value with a number that is none, as NaN, or is infinite."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, Mapping):
        return all(is_finite(item) for item in cast(Mapping[str, object], value).values())
    return not isinstance(value, list) or all(is_finite(item) for item in cast(Sequence[object], value))
