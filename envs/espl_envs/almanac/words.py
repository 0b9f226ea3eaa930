"""Vocabulary of the almanac: people, relations, house words and sources. One word each."""

NAMES: tuple[str, ...] = (
    "ada", "ben", "cora", "dov", "edda", "finn", "gwen", "hugo", "ines", "jon", "kaia", "liam",
    "mona", "nils", "olga", "pia", "quin", "rosa", "sven", "tess", "ugo", "vera", "wim", "yara",
    "zeno", "alba", "bram", "cleo", "dina", "egon", "faye", "gil",
)  # fmt: skip
"""People in the almanac; every claim about one of them names another."""

RELATIONS: tuple[str, ...] = (
    "cook", "guard", "heir", "rival", "tutor", "tailor", "squire", "ward",
    "smith", "scribe", "envoy", "piper", "healer", "porter", "judge", "weaver",
)  # fmt: skip
"""Relations that questions ask for."""

HOUSE_WORDS: tuple[str, ...] = ("amber", "coral", "ember", "flint", "hazel", "onyx")
"""Words that queries must use for relations; which word belongs to which relation is a fact of the world."""

SOURCES: tuple[str, ...] = ("ledger", "ballad", "rumour", "mural")
"""The sources; which of them is reliable is a fact of the world."""

SOURCE = "source"
"""Keyword before a source, in queries and in the principle that names the reliable one: ``source ledger``. The principle of a relation
names its house word: ``cook amber``."""
