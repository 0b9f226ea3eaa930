"""Specification of a tool that the policy may call: its name, purpose and arguments."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from espl_bench.errors import EnvError
from espl_bench.tools.json_schema import JsonSchema, is_finite
from espl_bench.tools.markers import neutralise_common
from espl_bench.tools.schema_words import EXAMPLE, PROBE, Leaves, in_words, instance

ParameterKind = Literal["string", "integer", "number", "boolean", "list of strings"]

_SCHEMAS: Final[Mapping[ParameterKind, Mapping[str, Any]]] = {
    "string": {"type": "string"},
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "list of strings": {"type": "array", "items": {"type": "string"}},
}
_NAME: Final = re.compile(r"[A-Za-z_][\w.-]{0,63}")
"""Names that every form of calls can write."""


class BadArgumentsError(ValueError):
    """Arguments that a tool does not take. The message is one line for the policy that says what to change."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of a tool."""

    name: str
    kind: ParameterKind | JsonSchema
    about: str
    """Its meaning in a few words, for the policy."""
    required: bool = True

    @property
    def words(self) -> str:
        """Its kind in a few words."""
        return self.kind if isinstance(self.kind, str) else in_words(self.kind.part, self.kind.root)

    @property
    def noun(self) -> str:
        """Its kind as a sentence takes it."""
        return f"a {self.kind}" if isinstance(self.kind, str) else self.words

    def fault_of(self, value: object) -> str | None:
        """Say what is wrong with a JSON value, in words that follow the argument's name; None if it is of the kind."""
        if isinstance(self.kind, str):
            return None if _is_of(self.kind, value) else f"must be {self.noun}"
        fault = self.kind.fault_of(value) if is_finite(value) else "it holds a number that is not finite"
        return fault and f"must be {self.noun} ({fault})"

    def fits(self, value: object) -> bool:
        """Return True if a JSON value is of the kind."""
        return self.fault_of(value) is None

    def schema(self) -> dict[str, Any]:
        """Return its JSON Schema."""
        own: Any = _SCHEMAS[self.kind] if isinstance(self.kind, str) else self.kind.part
        return {**(own if isinstance(own, Mapping) else {}), "description": self.about}

    def instance(self, leaves: Leaves) -> Any:
        """Return a value of its shape."""
        own, root = (_SCHEMAS[self.kind], None) if isinstance(self.kind, str) else (self.kind.part, self.kind.root)
        return instance(own, root, leaves)


def _is_of(kind: ParameterKind, value: object) -> bool:
    match kind:
        case "string":
            return isinstance(value, str)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool) and is_finite(value)
        case "boolean":
            return isinstance(value, bool)
        case "list of strings":
            return isinstance(value, list) and all(isinstance(item, str) for item in cast(list[object], value))


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """One tool."""

    name: str
    about: str
    """Its effect in a sentence, for the policy."""
    parameters: tuple[Parameter, ...]
    whole: JsonSchema | None = None
    """Schema of all arguments together, for a tool that comes with one; `parameters` are then its properties."""

    @classmethod
    def of_schema(cls, name: str, about: str, schema: Mapping[str, Any]) -> "ToolSpec":
        """Describe a tool by the JSON Schema of its arguments, as the tools of an MCP server have it (``inputSchema``).

        Raises EnvError for a name that calls cannot be written with, and for a schema that describes no object or cannot be used.
        """
        if not _NAME.fullmatch(name):
            raise EnvError(f"{name[:80]!r} is no name for a tool: letters, digits, _, . and -, at most 64, the first a letter or _")
        if schema.get("type", "object") != "object":
            raise EnvError(f"the schema of tool '{name}' describes no object with the arguments as its properties")
        harmless = cast(Mapping[str, Any], _neutralised(schema))
        whole = JsonSchema.of({"type": "object", "properties": {}, **harmless})
        required = whole.root.get("required", ())
        properties: Mapping[str, Any] = whole.root["properties"]
        abouts = {
            key: str(cast(Mapping[str, Any], part).get("description", "")) if isinstance(part, Mapping) else ""
            for key, part in properties.items()
        }
        parameters = tuple(Parameter(key, whole.inside("properties", key), about_it, key in required) for key, about_it in abouts.items())
        return cls(name, neutralise_common(about), parameters, whole)

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Raise BadArgumentsError unless these are the tool's arguments, each of its kind."""
        known = {parameter.name for parameter in self.parameters}
        if (surplus := [name for name in arguments if name not in known]) and not self._takes_others:
            raise BadArgumentsError(f"{self.name} takes no argument {surplus[0][:80]!r}; it takes {self.signature}")
        for parameter in self.parameters:
            if parameter.name not in arguments:
                if parameter.required:
                    raise BadArgumentsError(f"{self.name} needs the argument {parameter.name!r}, {parameter.noun}")
                continue
            if fault := parameter.fault_of(arguments[parameter.name]):
                raise BadArgumentsError(f"the argument {parameter.name!r} of {self.name} {fault}")
        if self.whole is None:
            return
        fault = self.whole.fault_of(arguments) if is_finite(arguments) else "one holds a number that is not finite"
        if fault is not None:
            raise BadArgumentsError(f"{self.name} does not take these arguments: {fault}")

    @property
    def _takes_others(self) -> bool:
        return self.whole is not None and self.whole.root.get("additionalProperties", True) is not False

    @property
    def signature(self) -> str:
        """Return the arguments in a few words."""
        return ", ".join(map(self._described, self.parameters)) or "no arguments"

    def _described(self, parameter: Parameter) -> str:
        about = f"; {' '.join(parameter.about.split())}" if self.whole is not None and parameter.about else ""
        return f"{parameter.name} ({parameter.words}{'' if parameter.required else ', optional'}{about})"

    def parameter(self, name: str) -> Parameter | None:
        """Return the argument of that name, if it has one."""
        return next((parameter for parameter in self.parameters if parameter.name == name), None)

    def schema(self) -> dict[str, Any]:
        """Return the function schema for chat templates, with a JSON Schema of its arguments."""
        properties = {parameter.name: parameter.schema() for parameter in self.parameters}
        required = [parameter.name for parameter in self.parameters if parameter.required]
        shape = {"type": "object", "properties": properties, "required": required} if self.whole is None else self.whole.root
        return {"type": "function", "function": {"name": self.name, "description": self.about, "parameters": shape}}

    def example(self) -> str:
        """Return a call as JSON, with placeholders for the arguments that it needs."""
        arguments = {parameter.name: parameter.instance(EXAMPLE) for parameter in self.parameters if parameter.required}
        return json.dumps({"name": self.name, "arguments": arguments}, ensure_ascii=False)

    def probe(self) -> dict[str, Any]:
        """Return arguments that show whether a form of calls keeps them: texts that look like numbers, with quotes and over lines.

        They have the shape of the tool's arguments, and may be out of bounds.
        """
        return {parameter.name: parameter.instance(PROBE) for parameter in self.parameters}


def _neutralised(schema: object) -> object:
    """Break up markers of chat formats in the descriptions of a schema, which may come from a server."""
    if isinstance(schema, Mapping):
        return {
            key: neutralise_common(value) if key in ("description", "title") and isinstance(value, str) else _neutralised(value)
            for key, value in cast(Mapping[str, object], schema).items()
        }
    return [_neutralised(value) for value in cast(Sequence[object], schema)] if isinstance(schema, list) else schema


def named(tools: Sequence[ToolSpec]) -> str:
    """Join the tools' names, for messages."""
    return ", ".join(tool.name for tool in tools) or "none"
