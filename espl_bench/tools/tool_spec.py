"""Specification of a tool that the policy may call: its name, purpose and arguments."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

ParameterKind = Literal["string", "integer", "list of strings"]

_SCHEMAS: Mapping[ParameterKind, Mapping[str, Any]] = {
    "string": {"type": "string"},
    "integer": {"type": "integer"},
    "list of strings": {"type": "array", "items": {"type": "string"}},
}


class BadArgumentsError(ValueError):
    """Arguments that a tool does not take. The message is one line for the policy that says what to change."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of a tool. All arguments are required."""

    name: str
    kind: ParameterKind
    about: str
    """Its meaning in a few words, for the policy."""

    def fits(self, value: object) -> bool:
        """Return True if a JSON value is of the kind."""
        match self.kind:
            case "string":
                return isinstance(value, str)
            case "integer":
                return isinstance(value, int) and not isinstance(value, bool)
            case "list of strings":
                return isinstance(value, list) and all(isinstance(item, str) for item in value)  # pyright: ignore[reportUnknownVariableType]


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """One tool."""

    name: str
    about: str
    """Its effect in a sentence, for the policy."""
    parameters: tuple[Parameter, ...]

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Raise BadArgumentsError unless these are the tool's arguments, each of its kind."""
        known = {parameter.name for parameter in self.parameters}
        if surplus := [name for name in arguments if name not in known]:
            raise BadArgumentsError(f"{self.name} takes no argument {surplus[0][:80]!r}; it takes {self.signature}")
        for parameter in self.parameters:
            if parameter.name not in arguments:
                raise BadArgumentsError(f"{self.name} needs the argument {parameter.name!r}, a {parameter.kind}")
            if not parameter.fits(arguments[parameter.name]):
                raise BadArgumentsError(f"the argument {parameter.name!r} of {self.name} must be a {parameter.kind}")

    @property
    def signature(self) -> str:
        """Return the arguments in a few words."""
        return ", ".join(f"{parameter.name} ({parameter.kind})" for parameter in self.parameters) or "no arguments"

    def schema(self) -> dict[str, Any]:
        """Return the function schema for chat templates, with a JSON Schema of its arguments."""
        properties = {parameter.name: {**_SCHEMAS[parameter.kind], "description": parameter.about} for parameter in self.parameters}
        required = [parameter.name for parameter in self.parameters]
        shape = {"type": "object", "properties": properties, "required": required}
        return {"type": "function", "function": {"name": self.name, "description": self.about, "parameters": shape}}

    def example(self) -> str:
        """Return a call as JSON, with placeholders for the arguments."""
        placeholders: dict[ParameterKind, object] = {"string": "…", "integer": 1, "list of strings": ["…"]}
        arguments = {parameter.name: placeholders[parameter.kind] for parameter in self.parameters}
        return json.dumps({"name": self.name, "arguments": arguments}, ensure_ascii=False)

    def probe(self) -> dict[str, Any]:
        """Return arguments that show whether a form of calls keeps them: texts that look like numbers, with quotes and over lines."""
        probes: dict[ParameterKind, object] = {"string": 'the "7",\nü: {1}', "integer": 17, "list of strings": ["8", "it's [a], b", ""]}
        return {parameter.name: probes[parameter.kind] for parameter in self.parameters}


def named(tools: Sequence[ToolSpec]) -> str:
    """Join the tools' names, for messages."""
    return ", ".join(tool.name for tool in tools) or "none"
