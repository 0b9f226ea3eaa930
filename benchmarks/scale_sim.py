"""What a sweep makes of a large cluster that fails: `python benchmarks/scale_sim.py`. A discrete-event simulation.

512 cells on 64 nodes, one cell a node at a time, longest first, a node failing somewhere every hour. Assumptions:

1. A cell is a start (imports, the model, the last commit pulled), equal iterations, a commit after every `every`-th of them,
   and a final evaluation. The seconds of an iteration vary by cell, log-normally. `known` is the part of the spread that the
   sweep sees beforehand (a cell's rollouts: models apart, it sorts by them), `spread` the part that nobody knows (lengths of
   answers, machines). The published runs of this project, on a shared machine, spread by 0.3 in all.
2. Failures are a Poisson process over the cluster; each ends one node at once, which is back after `repair`. Its cell loses
   what came after its last commit, is noticed as lost after `detect`, and joins the queue at its front.
3. The driver is one process that handles one event at a time: placing, losing and ending a cell each take `driver` seconds.
4. Storage is shared: commits and pulls of all nodes go through one pipe, one after the other, `bytes` each.
5. Start, gap between cells, and the driver's time are what sweep_scaling.py measured on this project's own small run
   (sweep_calibration.json); the duration of a cell, its commits and the storage are those of a large run, stated below.

Before it is believed it is asked for what was measured: the 8 small cells on one worker and on two.
Utilisation is the share of the living nodes' time, until the last cell ends, that went into iterations and evaluations which count.
"""

import argparse
import heapq
import json
import math
import random
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count

from sweep_scaling import CALIBRATION, Calibration


@dataclass(frozen=True)
class World:
    """One question. Seconds and bytes."""

    cells: int
    nodes: int
    steps: int
    step_s: float
    evaluation_s: float
    start_s: float
    between_s: float
    every: int
    driver_s: float
    commit_bytes: float
    bandwidth: float
    failures_per_hour: float
    repair_s: float
    detect_s: float
    known: float
    spread: float


@dataclass
class Cell:
    """One run."""

    name: int
    work: float
    """What the sweep takes for its length, in any unit."""
    step_s: float
    committed: int = 0
    times_finished: int = 0
    losses: int = 0


@dataclass
class Node:
    """One machine."""

    up: bool = True
    cell: Cell | None = None
    life: int = 0
    """Counts what it has been through, so that an event of an earlier life is recognised."""
    since: float | None = None
    """When the iterations after the last commit began; None before the first."""
    down_since: float = 0.0


@dataclass
class Simulation:
    """Events in order of time."""

    world: World
    rng: random.Random
    now: float = 0.0
    driver_free: float = 0.0
    pipe_free: float = 0.0
    down_s: float = 0.0
    spent: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    _events: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _order: count = field(default_factory=count)

    def run(self) -> "Simulation":
        """To the end of the last cell."""
        world = self.world
        works = [self._around(world.known) for _ in range(world.cells)]
        self.cells = [Cell(name, work, world.step_s * work * self._around(world.spread)) for name, work in enumerate(works)]
        self.queue = deque(sorted(self.cells, key=lambda cell: -cell.work))
        self.nodes = [Node() for _ in range(world.nodes)]
        for node in self.nodes:
            self._place(node)
        if world.failures_per_hour:
            self._later(self.rng.expovariate(world.failures_per_hour / 3600), self._fail)
        while any(not cell.times_finished for cell in self.cells):
            self.now, _, happen = heapq.heappop(self._events)
            happen()
        return self

    def _around(self, spread: float) -> float:
        """Log-normal with mean 1."""
        return math.exp(self.rng.gauss(0, spread) - spread**2 / 2)

    def _later(self, seconds: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._order), happen))

    def _served(self, free: str, seconds: float, cause: str) -> float:
        """Seconds until a server that does one thing at a time is through with this one."""
        begin = max(self.now, getattr(self, free))
        setattr(self, free, begin + seconds)
        self.spent[cause] += begin + seconds - self.now
        return begin + seconds - self.now

    def _place(self, node: Node) -> None:
        if not node.up or node.cell or not self.queue:
            return
        node.cell = self.queue.popleft()
        node.life += 1
        node.since = None
        wait = self._served("driver_free", self.world.driver_s, "the driver")
        life, cell = node.life, node.cell
        self._later(wait + self.world.between_s, lambda: self._start(node, life, cell))
        self.spent["new processes"] += self.world.between_s

    def _start(self, node: Node, life: int, cell: Cell) -> None:
        if node.life != life:
            return
        pull = self._served("pipe_free", self.world.commit_bytes / self.world.bandwidth, "storage") if cell.committed else 0.0
        self.spent["starts (imports, models)"] += self.world.start_s
        self._later(pull + self.world.start_s, lambda: self._iterate(node, life, cell))

    def _iterate(self, node: Node, life: int, cell: Cell) -> None:
        """The iterations up to the next commit, or the final evaluation."""
        if node.life != life:
            return
        node.since = self.now
        left = self.world.steps - cell.committed
        if left:
            steps = min(self.world.every, left)
            self._later(steps * cell.step_s, lambda: self._commit(node, life, cell, steps))
        else:
            self._later(self.world.evaluation_s, lambda: self._finish(node, life, cell))

    def _commit(self, node: Node, life: int, cell: Cell, steps: int) -> None:
        if node.life != life:
            return
        wait = self._served("pipe_free", self.world.commit_bytes / self.world.bandwidth, "storage")
        self._later(wait, lambda: self._committed(node, life, cell, steps))

    def _committed(self, node: Node, life: int, cell: Cell, steps: int) -> None:
        if node.life != life:
            return
        cell.committed += steps
        self.spent["counts"] += steps * cell.step_s
        self._iterate(node, life, cell)

    def _finish(self, node: Node, life: int, cell: Cell) -> None:
        if node.life != life:
            return
        cell.times_finished += 1
        self.spent["counts"] += self.world.evaluation_s
        node.cell = None
        self._later(self._served("driver_free", self.world.driver_s, "the driver"), lambda: self._place(node))

    def _fail(self) -> None:
        self._later(self.rng.expovariate(self.world.failures_per_hour / 3600), self._fail)
        node = self.rng.choice(self.nodes)
        if not node.up:
            return
        node.up, node.life, node.down_since, cell = False, node.life + 1, self.now, node.cell
        self._later(self.world.repair_s, lambda: self._back(node))
        if cell:
            cell.losses += 1
            node.cell = None
            self.spent["work after the last commit"] += self.now - node.since if node.since is not None else 0.0
            self._later(self.world.detect_s, lambda: self._lost(cell))

    def _lost(self, cell: Cell) -> None:
        self.queue.appendleft(cell)
        for node in self.nodes:
            self._place(node)

    def _back(self, node: Node) -> None:
        node.up = True
        self.down_s += self.now - node.down_since
        self._place(node)

    @property
    def alive_s(self) -> float:
        """Seconds of living nodes until now."""
        still_down = sum(self.now - node.down_since for node in self.nodes if not node.up)
        return self.world.nodes * self.now - self.down_s - still_down

    @property
    def utilisation(self) -> float:
        """Share of these that counts."""
        return self.spent["counts"] / self.alive_s


def small(found: Calibration, workers: int) -> World:
    """The run that was measured, as a world."""
    return World(
        cells=found.cells,
        nodes=workers,
        steps=4,
        step_s=found.step_s,
        evaluation_s=found.evaluation_s,
        start_s=found.start_s,
        between_s=max(0.0, found.between_s - found.driver_s),
        every=1,
        driver_s=found.driver_s,
        commit_bytes=0,
        bandwidth=1,
        failures_per_hour=0,
        repair_s=0,
        detect_s=0,
        known=0,
        spread=0,
    )


def large(found: Calibration) -> World:
    """512 cells of about two hours on 64 nodes."""
    return replace(
        small(found, 64),
        cells=512,
        steps=100,
        step_s=70.0,  # 150 rollouts of a 8 B model and a training step
        evaluation_s=300.0,
        start_s=found.start_s + 120.0,  # beside what was measured: loading 16 GB of weights, and the engine's warm-up
        every=5,
        commit_bytes=0.5e9,  # the adapter and two moments
        bandwidth=1e9,  # bytes per second of the shared storage, all nodes together
        failures_per_hour=1.0,
        repair_s=1800.0,
        detect_s=60.0,
        known=0.25,
        spread=0.15,
    )


def main() -> None:
    """Parse the command line, simulate and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--seeds", type=int, default=20, help="simulations of each world")
    seeds = parser.parse_args().seeds
    found = Calibration(**json.loads(CALIBRATION.read_text()))
    for workers, measured in ((1, found.one_s), (2, found.two_s)):
        if measured is None:
            print(f"check: nothing was measured on {workers} worker(s)")
            continue
        made = Simulation(small(found, workers), random.Random(0)).run()
        print(f"check: 8 small cells on {workers} worker(s): {made.now:.0f} s simulated, {measured:.0f} s measured")
    base = large(found)
    worlds = {"1 failure an hour": base}
    worlds |= {f"{rate:g} failures an hour": replace(base, failures_per_hour=rate) for rate in (0.0, 8.0, 64.0)}
    worlds |= {
        "1 an hour, a commit every 20 steps": replace(base, every=20),
        "1 an hour, storage of 0.1 GB/s": replace(base, bandwidth=1e8),
    }
    worlds |= {"1 an hour, 4,096 cells on 512 nodes": replace(base, cells=4096, nodes=512)}
    for name, world in worlds.items():
        runs = [Simulation(world, random.Random(seed)).run() for seed in range(seeds)]
        report(name, runs)


def report(name: str, runs: list[Simulation]) -> None:
    """One line of results and one of where the rest went."""
    used = sorted(run.utilisation for run in runs)
    hours = sum(run.now for run in runs) / len(runs) / 3600
    losses = sum(cell.losses for run in runs for cell in run.cells) / len(runs)
    cells = [cell for run in runs for cell in run.cells]
    missing, twice = sum(cell.times_finished == 0 for cell in cells), sum(cell.times_finished > 1 for cell in cells)
    causes: defaultdict[str, float] = defaultdict(float)
    for run in runs:
        for cause, seconds in run.spent.items():
            causes[cause] += seconds / run.alive_s / len(runs)
    causes["nodes without a cell at the end"] = 1 - sum(causes.values())
    del causes["counts"]
    ranked = sorted(causes.items(), key=lambda item: -item[1])
    print(f"{name}: utilisation {sum(used) / len(used):.1%} (worst of {len(runs)}: {used[0]:.1%}), {hours:.1f} h")
    print(f"    {losses:.1f} losses a sweep, cells lost {missing}, finished twice {twice}")
    print("    the rest: " + ", ".join(f"{cause} {share:.2%}" for cause, share in ranked) + f"; bottleneck: {ranked[0][0]}")


if __name__ == "__main__":
    main()
