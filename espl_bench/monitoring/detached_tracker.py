"""Keep a tracker away from the run: whatever it raises, and however long it takes, the run goes on.

The tracker lives in a daemon thread and gets its numbers through a queue. The run waits for it only briefly, so that a killed run has
told it nearly everything, and at the end only as long as it gets on with its work. A tracker that has failed is not called again.
"""

import os
import threading
import time
from collections.abc import Callable, Mapping
from queue import SimpleQueue

from espl_bench.monitoring.trackers import Tracked, Tracker, words_of
from espl_bench.utils.redaction import mask_key

GRACE_S = 1.0
"""Seconds that the run waits for a tracker to take the numbers of a step; after a tracker has needed more, not again."""
PATIENCE_S = 120.0
"""Seconds without progress, with numbers waiting, after which a tracker counts as failed."""
CLOSE_S = 20.0
"""The same at the end of the run, when the run waits for it."""
KEY_ENV = "WANDB_API_KEY"

OpenTracker = Callable[[Tracked], Tracker]


class DetachedTracker:
    """One tracker in a thread of its own. Its methods return soon and raise nothing."""

    def __init__(self, name: str, open_tracker: OpenTracker, run: Tracked) -> None:
        """Start to open the tracker."""
        self.name = name
        self.fault = ""
        """Why it gets no more numbers; empty while it works."""
        self.step = run.step
        """Last step whose numbers it has taken."""
        self._open = open_tracker
        self._run = run
        self._numbers: SimpleQueue[tuple[int, Mapping[str, float]] | None] = SimpleQueue()
        self._state = threading.Condition()
        self._waiting = 1  # the opening
        self._moved = time.monotonic()
        self._is_slow = False
        threading.Thread(target=self._serve, name=f"tracker-{name}", daemon=True).start()

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Pass the numbers on."""
        if self.fault:
            return
        self._put((step, numbers))
        with self._state:
            if not self._is_slow or self._waiting == 1:
                self._is_slow = not self._state.wait_for(self._is_idle, GRACE_S)
            self._judge(PATIENCE_S)

    def close(self) -> None:
        """Have it flush everything; return when it has, or when it has stopped getting on."""
        if self.fault:
            return
        self._put(None)
        with self._state:
            while not self._is_idle():
                self._state.wait(CLOSE_S)
                self._judge(CLOSE_S)

    def _put(self, item: tuple[int, Mapping[str, float]] | None) -> None:
        with self._state:
            if self._waiting == 0:
                self._moved = time.monotonic()
            self._waiting += 1
        self._numbers.put(item)

    def _is_idle(self) -> bool:
        return self._waiting == 0 or bool(self.fault)

    def _judge(self, patience_s: float) -> None:
        """Give a tracker up that has not got on for so long."""
        if not self._is_idle() and time.monotonic() - self._moved >= patience_s:
            self.fault = f"has not answered for {patience_s:.0f} s"

    def _serve(self) -> None:
        try:
            tracker = self._open(self._run)
            self._advance(self.step)
            while (item := self._numbers.get()) is not None:
                tracker.log(*item)
                self._advance(item[0])
            tracker.close()
            self._advance(self.step)
        except (Exception, SystemExit) as error:  # noqa: BLE001  # of any kind: what a tracker does is no part of the run
            with self._state:
                self.fault = self.fault or mask_key(words_of(error), os.environ.get(KEY_ENV))
                self._state.notify_all()

    def _advance(self, step: int) -> None:
        """Note that one item is done."""
        with self._state:
            self.step = step
            self._waiting -= 1
            self._moved = time.monotonic()
            self._state.notify_all()
