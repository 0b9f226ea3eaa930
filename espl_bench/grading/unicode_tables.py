# ruff: noqa: SIM905  (tables of words)
"""What characters beyond ASCII stand for. Adding one is a row here."""

import unicodedata
from types import MappingProxyType
from typing import Final

_SUPERSCRIPTS: Final = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿⁱ⁽⁾", ("^0 ^1 ^2 ^3 ^4 ^5 ^6 ^7 ^8 ^9 ^+ ^- ^n ^i ^( ^)").split(), strict=True))
_SUBSCRIPTS: Final = {char: f"_{number}" for number, char in enumerate("₀₁₂₃₄₅₆₇₈₉")}
_GREEK: Final = dict(
    zip(
        "αβγδεζηθικλμνξρστυφχψωΓΔΘΛΞΣΦΨΩϕϵ",
        (
            "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau upsilon phi chi psi omega "
            "Gamma Delta Theta Lambda Xi Sigma Phi Psi Omega phi epsilon"
        ).split(),
        strict=True,
    )
)
_FRACTIONS: Final = {
    char: f"\\frac{{{top}}}{{{bottom}}}"
    for char, (top, bottom) in zip(
        "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅐⅛⅜⅝⅞⅑⅒",
        [
            (1, 2),
            (1, 3),
            (2, 3),
            (1, 4),
            (3, 4),
            (1, 5),
            (2, 5),
            (3, 5),
            (4, 5),
            (1, 6),
            (5, 6),
            (1, 7),
            (1, 8),
            (3, 8),
            (5, 8),
            (7, 8),
            (1, 9),
            (1, 10),
        ],
        strict=True,
    )
}
_FULL_WIDTH: Final = {chr(code + 0xFEE0): chr(code) for code in range(0x21, 0x7F) if not chr(code).isdigit()}
"""Without digits: only ASCII digits are digits."""
_STYLED_LETTERS: Final = {chr(code): unicodedata.normalize("NFKC", chr(code)) for code in range(0x1D400, 0x1D800)}
"""Letters of mathematical alphabets: bold, italic, script."""
_PLAIN_GREEK: Final = {char: f"\\{name} " for char, name in _GREEK.items()} | {"π": "\\pi ", "∂": "\\partial ", "∇": "\\nabla "}

UNICODE: Final = MappingProxyType(
    {
        **{char: "\\" if char == "＼" else plain for char, plain in _FULL_WIDTH.items()},
        **{char: _PLAIN_GREEK.get(plain, plain) for char, plain in _STYLED_LETTERS.items() if plain != char and not plain.isdigit()},
        **_SUPERSCRIPTS,
        **_SUBSCRIPTS,
        **{char: f"\\{name} " for char, name in _GREEK.items()},
        **_FRACTIONS,
        **dict.fromkeys("−–—﹣‐‑‒", "-"),
        **dict.fromkeys("×⋅·∙⨯✕∗", "*"),
        **dict.fromkeys("÷∕⁄", "/"),
        **dict.fromkeys("≤⩽≦", "<="),
        **dict.fromkeys("≥⩾≧", ">="),
        **dict.fromkeys("…⋯", "\\dots "),
        **dict.fromkeys("、،", ","),
        **dict.fromkeys("∅⌀", "\\emptyset "),
        **dict.fromkeys("°˚º", "^\\circ "),
        **dict.fromkeys("∖", "\\setminus "),
        **dict.fromkeys("∣∥", "|"),
        "≠": "!=",
        "∶": ":",
        "₹": "\\rupee ",
        "≈": "\\approx ",
        "π": "\\pi ",
        "∞": "\\infty ",
        "√": "\\sqrt ",
        "∛": "\\sqrt[3]",
        "∜": "\\sqrt[4]",
        "±": "\\pm ",
        "∓": "\\mp ",
        "∪": "\\cup ",
        "∩": "\\cap ",
        "∈": "\\in ",
        "∉": "\\notin ",
        "≡": "\\equiv ",
        "→": "\\to ",
        "⇒": "\\implies ",
        "⇔": "\\iff ",
        "∨": "\\lor ",
        "∧": "\\land ",
        "¬": "\\neg ",
        "∑": "\\sum ",
        "∏": "\\prod ",
        "Σ": "\\Sigma ",
        "⌊": "\\lfloor ",
        "⌋": "\\rfloor ",
        "⌈": "\\lceil ",
        "⌉": "\\rceil ",
        "⟨": "\\langle ",
        "⟩": "\\rangle ",
        "〈": "\\langle ",
        "〉": "\\rangle ",
        "ℝ": "\\mathbb{R}",
        "ℤ": "\\mathbb{Z}",
        "ℕ": "\\mathbb{N}",
        "ℚ": "\\mathbb{Q}",
        "ℂ": "\\mathbb{C}",
        "△": "\\triangle ",
        "∆": "\\Delta ",
        "∠": "\\angle ",
        "∀": "\\forall ",
        "∃": "\\exists ",
        **dict.fromkeys("✓✔☑■□∎", "\\checkmark "),
        "ⅰ": "i",
        "ⅈ": "i",
        "№": "\\# ",
        "µ": "\\mu ",
        "ℓ": "\\ell ",
        "ℏ": "\\hbar ",
        "′": "'",
        "‰": "/1000",
        "￥": "\\yen ",
        "¥": "\\yen ",
        "€": "\\euro ",
        "£": "\\pounds ",
        "％": "%",
        "。": ".",
        "【": "(",
        "】": ")",
    }
)
"""Characters, with what they stand for."""
