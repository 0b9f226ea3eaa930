"""Errors a user may meet. Each is one line that names the problem and the remedy; the CLI prints it without a traceback."""

import difflib
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class EsplError(Exception):
    """Something outside the harness went wrong. Exit code 1."""


class UsageError(EsplError):
    """The command line or a configuration asks for something that does not exist or is not possible. Exit code 2."""


class OptionError(UsageError):
    """Options are invalid, or cannot be combined. The message names fields to a Python caller, and flags on the command line.

    ``OptionError("{sleep} shares a device with {train_device}")``: braces name fields, or a key of `values`.
    """

    def __init__(self, template: str, values: Mapping[str, object] | None = None) -> None:
        """Take the message, and values for those braces that name no field."""
        super().__init__(template, dict(values or {}))

    def spelled(self, spell: Callable[[str], str]) -> str:
        """Return the message with every field name replaced by `spell(field)`."""
        template, values = self.args
        return template.format_map(_Spelling(spell, values))

    def within(self, location: str) -> "OptionError":
        """Return the same error with its location in front."""
        template, values = self.args
        return OptionError(f"{{where}}: {template}", {**values, "where": location})

    def __str__(self) -> str:
        return self.spelled(str)


class _Spelling(dict[str, Any]):
    """Values by name; a missing name is taken for a field and spelled."""

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
    """Another process is writing to the run directory."""


class NoRunsError(RunDirError):
    """A path holds no run that has begun."""


class TemplateError(EsplError):
    """A prompt template does not render."""


class DataError(EsplError):
    """A data set is missing, cannot be read, or is not the one that was recorded."""


class MissingDataError(DataError):
    """The data home lacks sets that an environment needs; the message names the commands that bring them."""

    def __init__(self, message: str, sources: tuple[str, ...]) -> None:
        """Take the message and the names of the sets."""
        super().__init__(message)
        self.sources = sources


class DeviceMemoryError(EsplError):
    """A device does not have enough memory; the message says what to lower."""


class EngineError(EsplError):
    """A running engine failed, or serves the wrong model."""


class EndpointError(EsplError):
    """An endpoint cannot be used, or did not answer after every try."""


class EnvError(EsplError):
    """An environment broke its own contract."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """Build the error for an unknown name: ``unknown method 'esp'; did you mean 'espl'? known: base, espl, …``."""
    known = sorted(known)
    return UsageError(f"unknown {kind} '{name}'; {did_you_mean(name, known)}known: {', '.join(known) or 'none'}")


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """Return a question with the nearest known name, ``did you mean 'espl'? ``; empty if none is near."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'? " if close else ""


@contextmanager
def reading(what: Path | str, remedy: str, kind: type[EsplError] = RunDirError) -> Generator[None]:
    """Turn an OSError inside the block into one line of the given kind: ``WHAT cannot be read (no such file); REMEDY``."""
    try:
        yield
    except OSError as error:
        raise kind(f"{what} cannot be read ({error.strerror or error}); {remedy}") from error


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, without its full stop; the class name if the message is empty."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
