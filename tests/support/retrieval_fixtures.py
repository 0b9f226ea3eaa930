"""Four passages to be found, and which were."""

from espl_bench.retrieval.retriever import FoundPassage

PASSAGES = [
    {"id": "a", "title": "Lilu (mythology)", "text": "A lilu is a spirit in Akkadian belief."},
    {"id": "b", "title": "Beyoncé", "text": "An American singer, born in Houston in 1981."},
    {"id": "c", "title": "Houston", "text": "A city in Texas. Houston, Houston: the largest city in Texas."},
    {"id": "d", "title": "Empty words", "text": "The of and to in."},
]


def ids(found: FoundPassage) -> list[str]:
    return [passage.id for passage in found.passages]
