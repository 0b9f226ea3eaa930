"""Errors a user may meet. Each is one line that names the thing and the remedy; the CLI prints it without a traceback."""

import difflib
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class EsplError(Exception):
    """Something outside the harness went wrong: exit code 1."""


class UsageError(EsplError):
    """The command line or a configuration asks for something that does not exist or cannot be: exit code 2."""


class OptionError(UsageError):
    """Options that cannot be, or not together. Reads as fields to a caller in Python; the command line spells them as flags.

    ``OptionError("{sleep} shares a device with {train_device}")``: braces name fields, and others `values`.
    """

    def __init__(self, template: str, values: Mapping[str, object] | None = None) -> None:
        """Args: the message, and the values of those braces that name no field."""
        super().__init__(template, dict(values or {}))

    def spelled(self, spell: Callable[[str], str]) -> str:
        """Return the message with every field as `spell` writes it."""
        template, values = self.args
        return template.format_map(_Spelling(spell, values))

    def within(self, place: str) -> "OptionError":
        """Return the same error with the place of the fault before it."""
        template, values = self.args
        return OptionError(f"{{where}}: {template}", {**values, "where": place})

    def __str__(self) -> str:
        return self.spelled(str)


class _Spelling(dict[str, Any]):
    """Values by name; a name without one is a field's."""

    def __init__(self, spell: Callable[[str], str], values: Mapping[str, object]) -> None:
        super().__init__(values)
        self._spell = spell

    def __missing__(self, field: str) -> str:
        return self._spell(field)


class ModelError(EsplError):
    """A model folder is missing, incomplete, or lacks a chat template."""


class CheckpointError(EsplError):
    """A checkpoint cannot be read."""


class RunDirError(EsplError):
    """A run directory is missing, locked, damaged, or belongs to another configuration."""


class RunTakenError(RunDirError):
    """Another process is writing the run directory."""


class TemplateError(EsplError):
    """A prompt template does not render."""


class DataError(EsplError):
    """A data set is missing, cannot be read, or is not the one that was recorded."""


class DeviceMemoryError(EsplError):
    """A device has too little memory; the message says what to lower."""


class EngineError(EsplError):
    """An engine that ran has failed, or serves what it should not."""


class EndpointError(EsplError):
    """An endpoint cannot be used, or did not answer after every try."""


class EnvError(EsplError):
    """An environment broke its own contract."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """``unknown method 'esp'; did you mean 'espl'? known: base, espl, …``."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean '{close[0]}'?" if close else ";"
    return UsageError(f"unknown {kind} '{name}'{hint} known: {', '.join(known) or 'none'}")


@contextmanager
def reading(what: Path | str, remedy: str, kind: type[EsplError] = RunDirError) -> Generator[None]:
    """Turn an OSError inside the block into one line of the given kind: ``WHAT cannot be read (no such file); REMEDY``."""
    try:
        yield
    except OSError as error:
        raise kind(f"{what} cannot be read ({error.strerror or error}); {remedy}") from error


def first_line(error: BaseException) -> str:
    """The first line of what an error says, without its full stop; of one that says nothing, its kind."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
