r"""Cut an answer into tokens of one alphabet, whichever way it is written: LaTeX, plain, or unicode.

Ways to write the same become the same token here and nowhere else: ``\dfrac``, ``\tfrac`` and ``\frac``; ``≤``, ``\leq`` and ``<=``;
``×``, ``\cdot`` and ``*``. What only styles or spaces is dropped. Anything that is not understood is `UnreadableError`, so that it can
be compared as text alone: nothing is dropped because it is unknown. Time is linear in the text.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from espl_bench.grading.notation_tables import (
    ACCENTS,
    COMMANDS,
    DROPPED,
    DROPPED_WITH_ARGUMENT,
    FUNCTIONS,
    NUMBER_SETS,
    PLAIN,
    STYLES,
    SYMBOLS,
    WORD_STYLES,
)
from espl_bench.grading.number_tokens import number_at
from espl_bench.grading.unicode_tables import UNICODE


class UnreadableError(ValueError):
    """The text is no mathematics that is known here."""


@dataclass(frozen=True, slots=True)
class Token:
    """One token."""

    kind: str
    """num, letters, symbol, words, cmd, op, open, close, group or end."""
    text: str
    """Its canonical text."""
    spaced: bool = False
    """True if white space stands before it."""


OPENERS: Final = {"(": ")", "[": "]", "lbrace": "rbrace", "langle": "rangle", "lfloor": "rfloor", "lceil": "rceil", "{": "}"}
CLOSERS: Final = frozenset(OPENERS.values())

_WIDE_POINT: Final = re.compile("(?<=[0-9])．(?=[0-9])")
_ROW_GAP: Final = re.compile(r"\s*+\[[0-9.]+[a-z]{2}\]")
_OPTION: Final = re.compile(r"\*?(?:\[[^\[\]{}]{0,40}\])?(?=\{)")
_COMMAND: Final = re.compile(r"\\([A-Za-z]++|.)", re.DOTALL)
_LETTERS: Final = re.compile(r"[A-Za-z]++")
_FOREIGN: Final = re.compile(r"[^\W\d_a-zA-Z]++")
_RAISED_ROOT: Final = re.compile("([²³⁴⁵⁶⁷⁸⁹]|[¹²³⁴⁵⁶⁷⁸⁹][⁰¹²³⁴⁵⁶⁷⁸⁹])√")
"""The degree of a root before its sign: ``³√2``. Behind a number without a blank it is an exponent."""
_MAX_TOKENS: Final = 4_000


def tokens(text: str, grouped: bool = True) -> tuple[Token, ...]:
    """Cut a text into tokens. `grouped`: ``1,234`` is one number. Raises UnreadableError."""
    text = _WIDE_POINT.sub(".", unicodedata.normalize("NFC", text))
    return tuple(_Lexer(text, grouped).all())


class _Lexer:
    """Cursor over a text."""

    def __init__(self, text: str, grouped: bool) -> None:
        self.text = text
        self.at = 0
        self.grouped = grouped
        self.out: list[Token] = []
        self.depth = 0
        """Brackets that are open, without braces."""
        self.spaced = False
        self.aligned = 0
        """Environments that are open in which ``&`` only aligns."""

    def all(self) -> list[Token]:
        while self.at < len(self.text):
            self._next()
            if len(self.out) > _MAX_TOKENS:
                raise UnreadableError("it is too long")
        return self.out

    def _emit(self, kind: str, text: str) -> None:
        self.out.append(Token(kind, text, self.spaced))
        self.spaced = False
        if kind == "open" and text != "{":
            self.depth += 1
        elif kind == "close" and text != "}":
            self.depth = max(0, self.depth - 1)

    def _next(self) -> None:
        char = self.text[self.at]
        if self.text.startswith("~~", self.at):
            raise UnreadableError("it is struck out")
        if char.isspace() or char == "~":
            self.at += 1
            self.spaced = True
        elif char.isascii() and (char.isdigit() or (char == "." and self.text[self.at + 1 : self.at + 2].isdigit())):
            self._number()
        elif char == "\\":
            self._command()
        elif match := _LETTERS.match(self.text, self.at):
            self.at = match.end()
            self._emit("letters", match.group())
        else:
            self._character(char)

    def _number(self) -> None:
        number, self.at = number_at(self.text, self.at, self.grouped, self.depth > 0, self._follows_list())
        self._emit("num", number)

    def _follows_list(self) -> bool:
        """Return True after a number and a comma: then this is the next item."""
        return len(self.out) >= 2 and self.out[-1] == Token("op", ",") and self.out[-2].kind == "num"

    def _command(self) -> None:
        match = _COMMAND.match(self.text, self.at)
        if match is None:  # a backslash at the end means nothing
            self.at += 1
            return
        name = match[1]
        self.at = match.end()
        if name in DROPPED:
            self.spaced = self.spaced or name in ", ;:!quadqquad"
            if name in ("left", "right") and self.text[self.at : self.at + 1] == ".":
                self.at += 1
        elif name in DROPPED_WITH_ARGUMENT:
            self._skip_option()
            self._argument()
            for _ in range(DROPPED_WITH_ARGUMENT[name]):
                self._inline(self._argument())
        elif name in STYLES or name in WORD_STYLES:
            self._styled(name, self._argument())
            if name in ("underbrace", "overbrace") and self.text[self.at : self.at + 2] in ("_{", "^{"):
                self.at += 1
                self._argument()
        elif name == "prime" and self.out[-1:] == [Token("op", "^")]:
            self.out[-1] = Token("op", "'")
        elif name in ACCENTS:
            self._emit("cmd", f"accent {ACCENTS[name]}")
        elif name == "mathbb":
            letter = self._argument().strip()
            if letter not in NUMBER_SETS:
                raise UnreadableError(f"\\mathbb{{{letter}}}")
            self._emit("cmd", f"set {letter}")
        elif name in ("mathcal", "mathfrak", "mathscr"):
            self._emit("symbol", f"{name[4:]}_{self._argument().strip()}")
        elif name in COMMANDS:
            self._emit(*COMMANDS[name])
            if name == "\\" and (gap := _ROW_GAP.match(self.text, self.at)):
                self.at = gap.end()
        elif name in FUNCTIONS:
            self._emit("cmd", FUNCTIONS[name])
        elif name in SYMBOLS:
            self._emit("symbol", SYMBOLS[name])
        elif name in ("begin", "end"):
            self._environment(name, self._argument())
        else:
            raise UnreadableError(f"\\{name}")

    def _environment(self, side: str, name: str) -> None:
        name = name.rstrip("*")
        if name in ("aligned", "align", "gathered", "split", "equation", "center"):
            self.aligned += 1 if side == "begin" else -1
            self._emit("open" if side == "begin" else "close", "{" if side == "begin" else "}")
        elif name in ("pmatrix", "bmatrix", "Bmatrix", "matrix", "vmatrix", "cases", "smallmatrix", "array"):
            if name == "array" and side == "begin":
                self._argument()
            self._emit("cmd", f"{side} {name}")
        else:
            raise UnreadableError(f"\\begin{{{name}}}")

    def _skip_option(self) -> None:
        r"""Skip a star and an option in square brackets: ``\hspace*{1em}``, ``\color[rgb]{1,0,0}``."""
        option = _OPTION.match(self.text, self.at)
        self.at = option.end() if option else self.at

    def _argument(self) -> str:
        """Return the text of the next argument: a group, or one character or command."""
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1
        if self.text[self.at : self.at + 1] != "{":
            match = _COMMAND.match(self.text, self.at)
            end = match.end() if match else self.at + 1
            found, self.at = self.text[self.at : end], end
            return found
        depth, start = 0, self.at + 1
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == "\\":
                self.at += 1
            elif char in "{}":
                depth += 1 if char == "{" else -1
                if not depth:
                    self.at += 1
                    return self.text[start : self.at - 1]
            self.at += 1
        raise UnreadableError("an argument is not closed")

    def _styled(self, name: str, content: str) -> None:
        content = content.replace("~", " ")
        bare = content.strip()
        letter = len(bare) == 1 and bare.isascii() and bare.isalpha()
        if name in STYLES and STYLES[name] and letter:
            self._emit("symbol", f"{STYLES[name]}_{bare}")
        elif letter and (name in ("mathrm", "mathit") or (bare == "i" and self.out and self.out[-1].kind in ("num", "op", "close"))):
            self._emit("letters", bare)
        elif name == "mathbf" and bare.isalpha() and len(bare) < 4 and self.out and self.out[-1].kind in ("num", "close"):
            self._emit("symbol", f"bold_{bare}")
        elif bare in FUNCTIONS and (
            self.text[self.at : self.at + 1] == "("
            or name in ("mathrm", "operatorname", "mathit", "mathsf", "mathbf")
            or (bare in ("cis", "arccot", "arcsec", "arccsc") and self.text[self.at :].strip())
        ):
            self._emit("cmd", FUNCTIONS[bare])
        elif name in WORD_STYLES and any(char.isalpha() for char in bare) and "\\" not in bare.replace("\\ ", "").replace("\\%", ""):
            self._emit("words", bare.replace("\\ ", " ").replace("\\%", "%"))
        elif bare:
            self._inline(content, units=name in ("mathrm", "text", "textrm") and bool(self.out) and self.out[-1].kind in ("num", "close"))

    def _inline(self, content: str, units: bool = False) -> None:
        r"""Cut a text that stands here. `units`: its letters are units, ``\mathrm{m\,s^{-2}}``."""
        inner = _Lexer(content, self.grouped)
        inner.depth = self.depth
        found = [Token("words", token.text, token.spaced) if units and token.kind == "letters" else token for token in inner.all()]
        if units or all(token.kind == "op" and token.text in (".", ",", ";", ":", "!", "?") for token in found):
            self.out.extend(found)
        elif len(found) == 1:
            self._emit(found[0].kind, found[0].text)
        elif found:
            self._emit("open", "{")
            self.out.extend(found)
            self._emit("close", "}")

    def _character(self, char: str) -> None:
        if (root := _RAISED_ROOT.match(self.text, self.at)) and (self.spaced or not self.out or self.out[-1].kind in ("op", "open")):
            self.at = root.end()
            degree = "".join(UNICODE[char][1:] for char in root[1])
            for kind, text in (("cmd", "sqrt"), ("open", "["), ("num", degree), ("close", "]")):
                self._emit(kind, text)
            return
        for length in (3, 2, 1):
            piece = self.text[self.at : self.at + length]
            if piece in PLAIN:
                self.at += length
                if PLAIN[piece] and not (piece == "&" and self.aligned > 0):
                    self._emit(*PLAIN[piece])
                return
        if char in UNICODE:
            self.at += 1
            rest = UNICODE[char]
            if rest[0] in "^_" and char != "＿" and char != "＾":
                self._shifted(rest[0], rest[1:])
                return
            saved, self.text, at = self.text, rest, self.at
            self.at = 0
            while self.at < len(self.text):
                self._next()
            self.text, self.at = saved, at
        elif match := _FOREIGN.match(self.text, self.at):
            self.at = match.end()
            self._emit("words", match.group())
        else:
            raise UnreadableError(f"the character U+{ord(char):04X}")

    def _shifted(self, sign: str, text: str) -> None:
        """Cut a run of superscript or subscript characters as one exponent or index."""
        while self.at < len(self.text) and UNICODE.get(self.text[self.at], "").startswith(sign):
            text += UNICODE[self.text[self.at]][1:]
            self.at += 1
        self._emit("op", sign)
        self._inline(text)
