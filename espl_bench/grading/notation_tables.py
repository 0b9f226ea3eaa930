# ruff: noqa: E501, SIM905  (tables of words)
r"""How mathematics is written: one table for each sort of command or character. Adding a way to write something is a row here."""

from types import MappingProxyType
from typing import Final

DROPPED: Final = frozenset(
    "left right middle big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr Biggl Biggr bigm Bigm displaystyle textstyle scriptstyle "
    "scriptscriptstyle limits nolimits quad qquad thinspace medspace thickspace negthinspace enspace Large large LARGE huge Huge small tiny "
    "normalsize footnotesize scriptsize bf it rm sf tt boldmath checkmark square Box Diamond blacksquare qed hfill cr displaylimits noindent centering # null relax strut mathstrut".split()
) | {",", ";", ":", "!", " ", "\n", ">", "/"}
"""Commands that style or space."""

DROPPED_WITH_ARGUMENT: Final = MappingProxyType(
    {
        "hspace": 0,
        "vspace": 0,
        "mspace": 0,
        "phantom": 0,
        "bbox": 1,
        "hphantom": 0,
        "vphantom": 0,
        "label": 0,
        "tag": 0,
        "color": 0,
        "textcolor": 1,
        "colorbox": 1,
    }
    | {"mathcolor": 1, "raisebox": 1, "fcolorbox": 2, "href": 1, "class": 1}
)
"""Commands whose first argument styles or spaces, with the number of arguments after it that count."""

STYLES: Final = MappingProxyType(
    {"mathbf": "bold", "boldsymbol": "bold", "bm": "bold", "pmb": "bold", "mathit": "", "mathsf": "", "mathtt": "", "mathnormal": ""}
    | {
        "displaystyle": "",
        "ensuremath": "",
        "underline": "",
        "boxed": "",
        "fbox": "",
        "mathbin": "",
        "mathord": "",
        "mathop": "",
        "math": "",
    }
    | {"smash": "", "vcenter": "", "underbrace": "", "textsuperscript": "", "framebox": "", "overbrace": ""}
)
"""Commands that style their argument, with the name of the style where a letter of that style is another letter."""

WORD_STYLES: Final = frozenset(
    "text textbf textit textrm textsf texttt textnormal textsc textup emph mbox hbox mathrm operatorname mathbf mathit mathsf mathtt".split()
)
"""Commands whose argument is words, if it holds more than one letter."""

ACCENTS: Final = MappingProxyType(
    {"vec": "vec", "overrightarrow": "vec", "hat": "hat", "widehat": "hat", "tilde": "tilde", "widetilde": "tilde", "overline": "bar"}
    | {"bar": "bar", "dot": "dot", "ddot": "ddot", "mathring": "ring", "overset": "over"}
)
NUMBER_SETS: Final = frozenset("RZQNCP")

SYMBOLS: Final = MappingProxyType(
    {
        name: name
        for name in (
            "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron rho sigma tau upsilon phi chi psi omega Gamma "
            "Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega hbar ell aleph star clubsuit spadesuit heartsuit diamondsuit nabla partial "
            "triangle parallel perp cong sim simeq propto oplus otimes odot bullet dagger angle diamond wp Re Im imath jmath models"
        ).split()
    }
    | {"varepsilon": "epsilon", "vartheta": "theta", "varphi": "phi", "varrho": "rho", "varsigma": "sigma", "sqcup": "sqcup"}
)

FUNCTIONS: Final = MappingProxyType(
    {
        name: name
        for name in (
            "sin cos tan cot sec csc arcsin arccos arctan arccot arcsec arccsc sinh cosh tanh coth ln log lg exp min max gcd lcm arg deg dim "
            "ker sgn erf det lim"
        ).split()
    }
    | {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "tg": "tan", "ctg": "cot", "arctg": "arctan", "sh": "sinh", "ch": "cosh"}
    | {
        "cosec": "csc",
        "sign": "sgn",
        "abs": "abs",
        "floor": "floor",
        "ceil": "ceil",
        "Log": "log",
        "Arg": "arg",
        "mod": "mod",
        "nCr": "nCr",
    }
    | {"cis": "cis", "factorial": "factorial", "cbrt": "cbrt", "binom": "binom", "binomial": "binom", "comb": "binom", "ceiling": "ceil"}
)

COMMANDS: Final = MappingProxyType(
    {
        **dict.fromkeys(("frac", "dfrac", "tfrac", "cfrac", "nicefrac", "sfrac", "flatfrac", "displayfrac"), ("cmd", "frac")),
        **dict.fromkeys(("binom", "dbinom", "tbinom"), ("cmd", "binom")),
        **dict.fromkeys(("cdot", "times", "cdotp", "ast"), ("op", "*")),
        **dict.fromkeys(("le", "leq", "leqslant", "leqq"), ("op", "<=")),
        **dict.fromkeys(("ge", "geq", "geqslant", "geqq"), ("op", ">=")),
        **dict.fromkeys(("ne", "neq"), ("op", "!=")),
        **dict.fromkeys(("approx", "approxeq", "thickapprox", "doteq"), ("op", "approx")),
        **dict.fromkeys(("ldots", "cdots", "dots", "dotsc", "dotsb", "vdots", "ddots", "hdots"), ("op", "dots")),
        **dict.fromkeys(("to", "rightarrow", "mapsto", "longrightarrow", "leftarrow", "searrow", "nearrow", "gets"), ("op", "to")),
        **dict.fromkeys(("implies", "Rightarrow", "Longrightarrow", "therefore"), ("op", "implies")),
        **dict.fromkeys(("iff", "Leftrightarrow", "Longleftrightarrow"), ("op", "iff")),
        **dict.fromkeys(("lor", "vee"), ("op", "or")),
        **dict.fromkeys(("land", "wedge", "&"), ("op", "and")),
        **dict.fromkeys(("setminus", "backslash", "smallsetminus"), ("op", "setminus")),
        **dict.fromkeys(("circ", "degree", "textdegree"), ("op", "deg")),
        **dict.fromkeys(("emptyset", "varnothing"), ("cmd", "empty")),
        **dict.fromkeys(("neg", "lnot", "not"), ("cmd", "not")),
        **dict.fromkeys(("prime",), ("op", "'")),
        "sqrt": ("cmd", "sqrt"),
        "surd": ("cmd", "sqrt"),
        "root": ("cmd", "root"),
        "over": ("op", "over"),
        "choose": ("op", "choose"),
        "div": ("op", "/"),
        "pm": ("op", "pm"),
        "mp": ("op", "mp"),
        "in": ("op", "in"),
        "notin": ("op", "notin"),
        "lt": ("op", "<"),
        "gt": ("op", ">"),
        "equiv": ("op", "equiv"),
        "cup": ("op", "cup"),
        "bigcup": ("op", "cup"),
        "cap": ("op", "cap"),
        "bigcap": ("op", "cap"),
        "mid": ("op", "mid"),
        "colon": ("op", ":"),
        "forall": ("op", "forall"),
        "exists": ("op", "exists"),
        "subset": ("op", "subset"),
        "subseteq": ("op", "subset"),
        "infty": ("cmd", "infty"),
        "pi": ("cmd", "pi"),
        "pmod": ("cmd", "pmod"),
        "bmod": ("op", "bmod"),
        "mod": ("cmd", "modulo"),
        "sum": ("cmd", "sum"),
        "prod": ("cmd", "prod"),
        "$": ("cmd", "money dollar"),
        "rupee": ("cmd", "money rupee"),
        "pounds": ("cmd", "money pound"),
        "euro": ("cmd", "money euro"),
        "yen": ("cmd", "money yen"),
        "%": ("op", "%"),
        "{": ("open", "lbrace"),
        "}": ("close", "rbrace"),
        "lbrace": ("open", "lbrace"),
        "rbrace": ("close", "rbrace"),
        "langle": ("open", "langle"),
        "rangle": ("close", "rangle"),
        "lfloor": ("open", "lfloor"),
        "rfloor": ("close", "rfloor"),
        "lceil": ("open", "lceil"),
        "rceil": ("close", "rceil"),
        "lbrack": ("open", "["),
        "rbrack": ("close", "]"),
        "lparen": ("open", "("),
        "rparen": ("close", ")"),
        "vert": ("op", "|"),
        "lvert": ("op", "|"),
        "rvert": ("op", "|"),
        "|": ("op", "||"),
        "Vert": ("op", "||"),
        "\\": ("op", "newline"),
        "newline": ("op", "newline"),
        "S": ("symbol", "section"),
    }
)

PLAIN: Final = MappingProxyType(
    {
        "...": ("op", "dots"),
        "+/-": ("op", "pm"),
        "**": ("op", "^"),
        "<=": ("op", "<="),
        ">=": ("op", ">="),
        "!=": ("op", "!="),
        "->": ("op", "to"),
        "=>": ("op", "implies"),
        "==": ("op", "="),
        **{char: ("op", char) for char in "+-*/^_=<>,;:!%'|&"},
        **{char: ("open", char) for char in "([{"},
        **{char: ("close", char) for char in ")]}"},
        "$": (),
        "?": ("op", "?"),
        ".": ("op", "."),
    }
)
"""Characters, the longest first."""
