"""Names that become names of files and folders."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator

LONGEST: Final = 200
"""Bytes; a file system takes 255, and endings are added."""
_DEVICES: Final = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")
"""Names that mean devices on Windows, with any ending."""
_SEPARATORS: Final = frozenset('/\\:*?"<>|')


def fault_of_name(name: str, taken: frozenset[str] = frozenset()) -> str | None:
    """Say why a text cannot be the name of a folder inside another; None if it can.

    Args:
        name: the text, which may come from anybody.
        taken: names, in small letters, that mean something else there.
    """
    if not name:
        return "it is empty"
    if name[0] in ".-~ " or name[-1] in ". ":
        return "it begins with '.', '-', '~' or a space, or ends with '.' or a space"
    if wrong := next((char for char in name if char in _SEPARATORS or not char.isprintable()), None):
        return f"it holds {wrong!r}"
    if len(name.encode("utf-8")) > LONGEST:
        return f"it is longer than {LONGEST} bytes"
    if _DEVICES.fullmatch(name) or name.casefold() in taken:
        return "it means something else there"
    return None


def fault_of_environment(name: str) -> str | None:
    """Say why a text cannot be the name of an environment, alone or as ``family:member``; None if it can."""
    family, between, member = name.partition(":")
    return fault_of_name(family) or (fault_of_name(member) if between else None)


def in_file_names(environment: str) -> str:
    """Return the name of an environment as names of files have it: with a hyphen between family and member."""
    return environment.replace(":", "-")


def fault_of_line(text: str) -> str | None:
    """Say why a text cannot stand for a name in a table or a list; None if it can."""
    if not text or text != text.strip():
        return "it is empty, or has blanks around it"
    if wrong := next((char for char in text if not char.isprintable()), None):
        return f"it holds {wrong!r}"
    return f"it is longer than {LONGEST} bytes" if len(text.encode("utf-8")) > LONGEST else None


def _file_name(name: str) -> str:
    if fault := fault_of_name(name):
        raise ValueError(f"{name!r} is no name of a file: {fault}")
    return name


FileName = Annotated[str, AfterValidator(_file_name)]
"""Field of a stored record that names a file beside it, and can name no other."""
