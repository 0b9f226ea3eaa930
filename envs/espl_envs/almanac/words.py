"""Whom the almanac is about, what can be asked of them, by which house words, and who tells it. One word each."""

NAMES: tuple[str, ...] = (
    "ada", "ben", "cora", "dov", "edda", "finn", "gwen", "hugo", "ines", "jon", "kaia", "liam",
    "mona", "nils", "olga", "pia", "quin", "rosa", "sven", "tess", "ugo", "vera", "wim", "yara",
    "zeno", "alba", "bram", "cleo", "dina", "egon", "faye", "gil",
)  # fmt: skip
"""The people whom the almanac is about; whatever is told of one of them is another of them."""

RELATIONS: tuple[str, ...] = (
    "cook", "guard", "heir", "rival", "tutor", "tailor", "squire", "ward",
    "smith", "scribe", "envoy", "piper", "healer", "porter", "judge", "weaver",
)  # fmt: skip
"""What can be asked of a person."""

HOUSE_WORDS: tuple[str, ...] = ("amber", "coral", "ember", "flint", "hazel", "onyx")
"""What a query must call a relation; which word is which relation's is a fact of the world."""

SOURCES: tuple[str, ...] = ("ledger", "ballad", "rumour", "mural")
"""Who tells; which of them is reliable is a fact of the world."""

SOURCE = "source"
"""The key by which a query names a source, and of the principle that says which: ``source ledger``. A relation's says its house word:
``cook amber``."""
