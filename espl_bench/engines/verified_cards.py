"""The cards that engines ran on, for people who ask whether theirs is one of them. A line is added after a run of `make test-gpu`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verified:
    """What was seen to work on a card."""

    card: str
    """As torch names it, or a part of it."""
    when: str
    versions: str
    what: str


VERIFIED = (
    Verified(
        card="H200",
        when="November 2026",
        versions="torch 2.11, vllm 0.32",
        what="engines hf and vllm (eager), espl with the lab model and training of a 0.6B shape, before captured decode steps and training "
        "without padding",
    ),
)


def verified_on(card: str) -> str:
    """Say in a line what was seen to work on a card, and how to find out the rest."""
    for entry in VERIFIED:
        if entry.card.lower() in card.lower():
            return f"{entry.when}, {entry.versions}: {entry.what}; the rest: make test-gpu"
    return f"not yet on this card (only on {', '.join(entry.card for entry in VERIFIED)}): make test-gpu"
