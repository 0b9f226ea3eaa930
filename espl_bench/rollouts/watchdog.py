"""Says which rollout keeps an iteration waiting, and where it is: at the engine, or in its environment.

A hang of one among many concurrent episodes is otherwise silent, and the blame falls on whatever waits for it. Nothing is
ended: a thread cannot be, and how long a model may think is the user's affair.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

SHOWN = 3
"""Stuck rollouts that one message names."""
LOOKS = 4
"""Looks per time allowed."""


class RolloutState(StrEnum):
    """Where an unfinished rollout is; the first that holds a stuck one is what the others may wait for."""

    ENVIRONMENT = "in the environment"
    ENGINE = "at the engine"
    DONE = "done"


class WatchedRollout(Protocol):
    """What a watchdog can tell of a rollout."""

    place: RolloutState
    since: float
    """When it came there, by `time.monotonic`."""

    @property
    def name(self) -> str:
        """Problem, prompt, sample and turn."""
        ...


@dataclass(frozen=True, slots=True)
class Watchdog:
    """Warns of rollouts that stay in one place for too long; again each time that this has lasted twice as long."""

    after_s: float
    """Seconds in one place; 0: never."""
    warn: Callable[[str], None]

    async def watch(self, rollouts: Sequence[WatchedRollout]) -> None:
        """Look until cancelled."""
        if self.after_s <= 0:
            return
        patience_s = self.after_s
        while True:
            await asyncio.sleep(self.after_s / LOOKS)
            now = time.monotonic()
            stuck = [rollout for rollout in rollouts if rollout.place is not RolloutState.DONE and now - rollout.since >= self.after_s]
            if not stuck:
                patience_s = self.after_s
            elif now - min(rollout.since for rollout in stuck) >= patience_s:
                self.warn(_message(stuck, now))
                patience_s *= 2


async def stop(watching: asyncio.Task[None]) -> None:
    """End a watch. Raises what it died of, if it did."""
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching


def _message(stuck: Sequence[WatchedRollout], now: float) -> str:
    parts: list[str] = []
    for place in RolloutState:
        here = sorted((rollout for rollout in stuck if rollout.place is place), key=lambda rollout: rollout.since)
        if here:
            more = f" and {len(here) - SHOWN} more" if len(here) > SHOWN else ""
            names = ", ".join(f"{rollout.name} ({now - rollout.since:.0f} s)" for rollout in here[:SHOWN])
            parts.append(f"{place}: {names}{more}")
    return f"stuck rollouts, {'; '.join(parts)}"
