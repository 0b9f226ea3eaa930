"""Instances of an environment that are used again: making one may take seconds, and a batch has hundreds of episodes."""

import threading
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from espl_bench.environment.text_env import TextEnv
from espl_bench.errors import first_line

MOST_IDLE: Final = 1024
"""Instances that are kept for the next batch; of a larger one the others are closed."""


@dataclass(frozen=True, slots=True)
class Concurrency:
    """How many instances an environment allows at a time."""

    steps: int
    """`TextEnv.steps_at_once`."""
    episodes: int | None
    """`TextEnv.episodes_at_once`."""


class EnvPool:
    """Lends instances, one episode at a time each. Thread-safe; instances are made one after the other."""

    def __init__(self, make: Callable[[], TextEnv]) -> None:
        """Take what makes an instance."""
        self._make = make
        self._making = threading.Lock()
        self._changing = threading.Lock()
        self._idle: list[TextEnv] = []
        self._lent: dict[int, TextEnv] = {}

    def take(self) -> TextEnv:
        """Lend an idle instance, or a new one. Raises as what makes it."""
        with self._changing:
            env = self._idle.pop() if self._idle else None
        if env is None:
            with self._making:
                env = self._make()
        with self._changing:
            self._lent[id(env)] = env
        return env

    def give_back(self, env: TextEnv, *, usable: bool = True) -> None:
        """Take an instance back. One that failed, or for which there is no room, is closed."""
        with self._changing:
            self._lent.pop(id(env), None)
            kept = usable and len(self._idle) < MOST_IDLE
            if kept:
                self._idle.append(env)
        if not kept:
            close_env(env)

    @contextmanager
    def lent(self) -> Generator[TextEnv]:
        """Lend an instance for the block; an exception in it makes the instance unusable."""
        env = self.take()
        usable = False
        try:
            yield env
            usable = True
        finally:
            self.give_back(env, usable=usable)

    def concurrency(self) -> Concurrency:
        """Return how many instances the environment allows at a time, as an instance says it."""
        with self.lent() as env:
            return Concurrency(env.steps_at_once, env.episodes_at_once)

    def close(self) -> None:
        """Close every instance. A later `take` makes new ones."""
        with self._changing:
            envs = [*self._idle, *self._lent.values()]
            self._idle, self._lent = [], {}
        for env in envs:
            close_env(env)


def close_env(env: TextEnv) -> None:
    """Close an instance. A failure is told and ends nothing: what the instance was made for is done."""
    try:
        env.close()
    except Exception as error:  # noqa: BLE001  # foreign code runs here, and may raise anything
        warnings.warn(f"{type(env).__name__}.close failed: {type(error).__name__}: {first_line(error)}", RuntimeWarning, stacklevel=2)
