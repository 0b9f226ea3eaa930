"""A value of the command line that is a number, or a word for the number that the program works out."""

from collections.abc import Callable

import typer


def number_or(word: str) -> Callable[[str], int | None]:
    """Return the parser of a whole number, or of the word, which is no value at all."""

    def parse(text: str) -> int | None:
        if text == word:
            return None
        try:
            return int(text)
        except ValueError:
            raise typer.BadParameter(f"'{text}' is neither a whole number nor {word}") from None

    return parse
