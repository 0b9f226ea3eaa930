"""Watchdog: reports which rollout keeps an iteration waiting, and where it is, at the engine or in its environment.

Without it, one hanging episode among many is silent, and whatever waits for it is blamed. It stops nothing: threads cannot be killed, and
how long a model may think is up to the user.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

SHOWN = 3
"""Stuck rollouts named in one message."""
LOOKS = 4
"""Checks per allowed time."""


class RolloutState(StrEnum):
    """State of an unfinished rollout; the first state that holds a stuck rollout is the one the others may wait for."""

    WAITING = "waiting for its turn"
    """Of as many episodes as the environment allows at a time; never stuck itself."""
    ENVIRONMENT = "in the environment"
    ENGINE = "at the engine"
    DONE = "done"


_AT_REST = (RolloutState.WAITING, RolloutState.DONE)


class WatchedRollout(Protocol):
    """A watchdog's view of a rollout."""

    state: RolloutState
    since: float
    """Time of entering the state, by `time.monotonic`."""

    @property
    def name(self) -> str:
        """Return problem, prompt, sample and turn."""
        ...


@dataclass(frozen=True, slots=True)
class Watchdog:
    """Warns of rollouts that stay in one state for too long, and again each time that duration has doubled."""

    after_s: float
    """Seconds in one state; 0: never."""
    warn: Callable[[str], None]

    async def watch(self, rollouts: Sequence[WatchedRollout]) -> None:
        """Check until cancelled."""
        if self.after_s <= 0:
            return
        patience_s = self.after_s
        while True:
            await asyncio.sleep(self.after_s / LOOKS)
            now = time.monotonic()
            stuck = [rollout for rollout in rollouts if rollout.state not in _AT_REST and now - rollout.since >= self.after_s]
            if not stuck:
                patience_s = self.after_s
            elif now - min(rollout.since for rollout in stuck) >= patience_s:
                self.warn(_message(stuck, now))
                patience_s *= 2


async def stop(watching: asyncio.Task[None]) -> None:
    """End a watch. Raises the exception that ended it early, if any."""
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching


def _message(stuck: Sequence[WatchedRollout], now: float) -> str:
    parts: list[str] = []
    for state in RolloutState:
        here = sorted((rollout for rollout in stuck if rollout.state is state), key=lambda rollout: rollout.since)
        if here:
            more = f" and {len(here) - SHOWN} more" if len(here) > SHOWN else ""
            names = ", ".join(f"{rollout.name} ({now - rollout.since:.0f} s)" for rollout in here[:SHOWN])
            parts.append(f"{state}: {names}{more}")
    return f"stuck rollouts, {'; '.join(parts)}"
