"""The word problems: each kind draws its numbers, asks its question and works it out under the customs of a world."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from espl_envs.market.customs import Customs

NAMES = ("Mira", "Tomas", "Ada", "Jon", "Lena", "Omar", "Ruth", "Paul", "Nina", "Emil", "Sofia", "Karl")
FRUITS = ("apples", "pears", "plums", "melons", "quinces", "figs")
GOODS = ("lamps", "bowls", "ropes", "hats", "knives", "baskets")


@dataclass(frozen=True, slots=True)
class Story:
    """A question with its solution."""

    question: str
    working: str
    """Sentences that name every custom that is needed, if any is."""
    answer: int


def harvest(rng: random.Random, _: Customs) -> Story:
    """No custom: a sum."""
    name, fruit, morning, afternoon = rng.choice(NAMES), rng.choice(FRUITS), rng.randint(2, 20), rng.randint(2, 20)
    return Story(
        f"{name} picks {morning} {fruit} in the morning and {afternoon} {fruit} in the afternoon. How many {fruit} is that in all?",
        f"{morning} {fruit} and {afternoon} {fruit} are {morning + afternoon}.",
        morning + afternoon,
    )


def rows(rng: random.Random, _: Customs) -> Story:
    """No custom: a product."""
    name, goods, number, each = rng.choice(NAMES), rng.choice(GOODS), rng.randint(2, 9), rng.randint(2, 9)
    return Story(
        f"{name} lays out {number} rows with {each} {goods} in every row. How many {goods} is that in all?",
        f"{number} rows of {each} {goods} are {number * each}.",
        number * each,
    )


def coins(rng: random.Random, customs: Customs) -> Story:
    """One custom: brocks and coins."""
    name, brocks, loose = rng.choice(NAMES), rng.randint(2, 9), rng.randint(1, 9)
    total = brocks * customs.brock + loose
    return Story(
        f"{name} has {brocks} brocks and {loose} coins. How many coins is that in all?",
        f"A brock is {customs.brock} coins, so {brocks} brocks are {brocks * customs.brock} coins. With {loose} more that is {total}.",
        total,
    )


def fruits(rng: random.Random, customs: Customs) -> Story:
    """One custom: crates and loose fruits."""
    name, fruit, crates, loose = rng.choice(NAMES), rng.choice(FRUITS), rng.randint(2, 9), rng.randint(1, 9)
    total = crates * customs.crate + loose
    return Story(
        f"{name} has {crates} full crates of {fruit} and {loose} loose ones. How many {fruit} is that in all?",
        f"A crate holds {customs.crate} fruits, so {crates} crates hold {crates * customs.crate}. With {loose} more that is {total}.",
        total,
    )


def beans(rng: random.Random, customs: Customs) -> Story:
    """One custom: tallies and loose beans."""
    name, tallies, loose = rng.choice(NAMES), rng.randint(2, 9), rng.randint(1, 9)
    total = tallies * customs.tally + loose
    return Story(
        f"{name} counts {tallies} tallies of beans and {loose} single beans. How many beans is that in all?",
        f"A tally is {customs.tally} beans, so {tallies} tallies are {tallies * customs.tally}. With {loose} more that is {total}.",
        total,
    )


def price(rng: random.Random, customs: Customs) -> Story:
    """One custom: prices of a market day."""
    goods, number, each = rng.choice(GOODS), rng.randint(2, 6), rng.randint(2, 9)
    usual, total = number * each, number * each * customs.market_day
    return Story(
        f"On most days one of these {goods} costs {each} coins. How many coins do {number} {goods} cost on a market day?",
        f"{number} {goods} usually cost {usual} coins. On a market day everything costs {customs.market_day} times that: {total}.",
        total,
    )


def sale(rng: random.Random, customs: Customs) -> Story:
    """Two customs: crates of fruit, sold on a market day."""
    name, fruit, crates, each = rng.choice(NAMES), rng.choice(FRUITS), rng.randint(2, 6), rng.randint(2, 5)
    number, usual = crates * customs.crate, crates * customs.crate * each
    total = usual * customs.market_day
    return Story(
        f"{name} sells {crates} full crates of {fruit} on a market day. On most days a single fruit costs {each} coins. "
        f"How many coins does {name} get?",
        f"A crate holds {customs.crate} fruits, so there are {number}. Usually they cost {usual} coins. "
        f"On a market day everything costs {customs.market_day} times that: {total}.",
        total,
    )


def stock(rng: random.Random, customs: Customs) -> Story:
    """Two customs: fruits and beans together."""
    name, fruit, crates, tallies = rng.choice(NAMES), rng.choice(FRUITS), rng.randint(2, 9), rng.randint(2, 9)
    many, more = crates * customs.crate, tallies * customs.tally
    return Story(
        f"{name} has {crates} full crates of {fruit} and {tallies} tallies of beans. How many fruits and beans is that together?",
        f"A crate holds {customs.crate} fruits, so there are {many}. A tally is {customs.tally} beans, so there are {more}. "
        f"Together that is {many + more}.",
        many + more,
    )


def change(rng: random.Random, customs: Customs) -> Story:
    """Three customs: crates bought on a market day and paid in brocks."""
    name, fruit, crates, each = rng.choice(NAMES), rng.choice(FRUITS), rng.randint(2, 4), rng.randint(2, 4)
    number, usual = crates * customs.crate, crates * customs.crate * each
    cost = usual * customs.market_day
    brocks = -(-cost // customs.brock) + rng.randint(1, 5)
    paid = brocks * customs.brock
    return Story(
        f"{name} buys {crates} full crates of {fruit} on a market day and pays with {brocks} brocks. On most days a single fruit costs "
        f"{each} coins. How many coins does {name} get back?",
        f"A crate holds {customs.crate} fruits, so there are {number}. Usually they cost {usual} coins. On a market day everything costs "
        f"{customs.market_day} times that: {cost}. A brock is {customs.brock} coins, so {name} pays {paid} and gets back {paid - cost}.",
        paid - cost,
    )


LEVELS: Mapping[int, Sequence[Callable[[random.Random, Customs], Story]]] = {
    0: (harvest, rows),
    1: (coins, fruits, beans, price),
    2: (sale, stock),
    3: (change,),
}
"""Kinds of problems, by the number of customs that one needs."""
