"""Write a package with a working environment, for an author to change: `espl-bench env new`."""

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from string import Template
from typing import Final

from espl_bench.errors import EnvError, UsageError, unknown
from espl_bench.registry import ENVIRONMENTS, FAMILIES, names

STARTER: Final = Path(__file__).parent / "starter"
"""The texts, with ``${…}`` where a name goes."""
_NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


class Kind(StrEnum):
    """What an episode is."""

    SINGLE = "single"
    MULTI = "multi"
    TOOLS = "tools"


@dataclass(frozen=True, slots=True)
class Sheet:
    """What the spec sheet and the tests of a starter say."""

    about: str
    action: str
    observation: str
    ending: str
    cases: tuple[tuple[str, str], ...]
    """Responses to the first test item, and the outcomes they must have."""


_RIGHT_LINE: Final = "a line `Answer: …`"
SHEETS: Final = {
    Kind.SINGLE: Sheet(
        "Spell a made-up word backwards.",
        f"text that ends with {_RIGHT_LINE}",
        "text: the word",
        "after one response; truncated if that is longer than 20,000 characters",
        (("Letter by letter.\nAnswer: {answer}", "correct"), ("Answer: abc", "wrong"), ("abc", "no_answer")),
    ),
    Kind.MULTI: Sheet(
        "Guess a number in three turns. After a wrong guess the environment says whether the number is higher or lower.",
        "text that ends with a line `Guess: …`, in each turn",
        "text: the range, then a hint per turn",
        "after a right guess or three turns; truncated by a response of more than 20,000 characters",
        (("The middle first.\nGuess: {answer}", "correct"), ("Guess: 1", "wrong"), ("1", "no_answer")),
    ),
    Kind.TOOLS: Sheet(
        "Work out what a purchase costs. A tool tells the prices.",
        f"text: calls of the tool `price`, then an answer that ends with {_RIGHT_LINE}",
        "text: the purchase, then the replies of the tool",
        "after an answer; truncated after five turns, after four calls, or by a response of more than 20,000 characters",
        (("Added up.\nAnswer: {answer}", "correct"), ("Answer: 1", "wrong"), ("1", "no_answer")),
    ),
}


def write_package(name: str, kind: str, folder: Path) -> tuple[Path, ...]:
    """Write the package and return its files, relative to the folder.

    Raises:
        UsageError: a name that is taken or cannot be one, an unknown kind, or a folder that holds something.
        EnvError: the folder cannot be written.
    """
    _check_name(name)
    if kind not in list(Kind):
        raise unknown("kind", kind, list(Kind))
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is there already and is not an empty folder; choose another with --out")
    texts = _texts(name, Kind(kind))
    try:
        for path, text in texts.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise EnvError(f"{folder} cannot be written ({error.strerror or error}); choose another folder with --out") from error
    return tuple(texts)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise UsageError(f"'{name}' cannot be the name of an environment; use small letters, digits and hyphens, e.g. word-games")
    if name in (*names(ENVIRONMENTS), *names(FAMILIES)):
        raise UsageError(f"environment '{name}' is installed already; choose another name")


def _package(name: str) -> str:
    return f"{name.replace('-', '_')}_env"


def _texts(name: str, kind: Kind) -> dict[Path, str]:
    """Return the texts of the files."""
    package, sheet = _package(name), SHEETS[kind]
    title = "".join(part.capitalize() for part in name.split("-"))
    values = {
        "name": name,
        "package": package,
        "distribution": f"{name}-env",
        "gym_id": f"{package.removesuffix('_env')}/{title}-v0",
        "cls": f"{title}Env",
        "about": sheet.about,
        "action": sheet.action,
        "observation": sheet.observation,
        "rewards": "1 for the right answer, else 0",
        "ending": sheet.ending,
    }
    values["cases"] = "\n".join(f"        ({case!r}, {outcome!r}),".replace("'", '"') for case, outcome in sheet.cases)
    sources = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        f"{package}/__init__.py": f"{kind}.init",
        f"{package}/environment.py": f"{kind}.environment",
        "tests/test_environment.py": "test_environment.py",
    }
    return {
        Path(path): Template((STARTER / f"{file}.txt").read_text(encoding="utf-8")).substitute(values) for path, file in sources.items()
    }
