"""Sweeps on a real Ray cluster of three nodes on this machine: a node is killed, a driver is stopped, cells do not fit."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from sweep_fixtures import attempts, command, outcomes, results, sweep, write_grid

from espl_bench.run_dir import SUMMARY

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.ray

STEPS = 6


@pytest.fixture(scope="module")
def cluster() -> Iterator:
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        made.add_node(num_cpus=1)
        made.add_node(num_cpus=1, num_gpus=2)
        yield made
    finally:
        made.shutdown()


def wait_for(true: Callable[[], object], process: subprocess.Popen, seconds: float = 600) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "it did not come to this"
        time.sleep(0.1)


def steps(place: Path, cell: str) -> int:
    path = place / cell / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def in_the_middle(place: Path, raylet: int) -> list[str]:
    """Cells that run on a node and have made steps, but not all."""
    found = []
    for cell, made in attempts(place).items():
        pid = int(made[-1]["node"].rpartition("/")[2])
        running = made[-1]["outcome"] is None and psutil.pid_exists(pid) and psutil.Process(pid).ppid() == raylet
        if running and 1 < steps(place, cell) < STEPS:
            found.append(cell)
    return found


def test_a_killed_node_changes_no_result_and_nothing_runs_twice(cluster, tmp_path: Path):
    grid = write_grid(tmp_path, seeds=3, steps=STEPS)
    calm, place = tmp_path / "calm", tmp_path / "struck"
    done = sweep("run", grid, "--out", calm, "--jobs", 2, "--quiet")
    assert done.returncode == 0, done.stderr

    victim = cluster.add_node(num_cpus=1)
    raylet = victim.all_processes["raylet"][0].process.pid
    process = subprocess.Popen(
        command("run", grid, "--out", place, "--address", cluster.address), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: in_the_middle(place, raylet), process)
    struck = in_the_middle(place, raylet)
    cluster.remove_node(victim, allow_graceful=False)
    _, err = process.communicate(timeout=900)
    assert process.returncode == 0, err
    assert any(f"{cell} lost on " in err for cell in struck)

    assert len(results(calm)) == 12
    assert results(place) == results(calm), "every cell ends as if nothing had happened"
    ended = outcomes(place)
    assert len(ended) == 12 and any("lost" in made for made in ended.values())
    assert all(made[-1] == "finished" and made.count("finished") == 1 for made in ended.values()), ended
    for cell in ended:
        rows = [json.loads(line) for line in (place / cell / "evaluations.jsonl").read_text().splitlines()]
        assert [row["step"] for row in rows if row["split"] == "test"] == [STEPS], "tested once"
        assert [json.loads(line)["step"] for line in (place / cell / "timing.jsonl").read_text().splitlines()] == list(range(1, STEPS + 1))
    tables = [json.loads((each / "table.json").read_text())["tables"] for each in (calm, place)]
    assert [[row["score"] for row in table["rows"]] for table in tables[0]] == [
        [row["score"] for row in table["rows"]] for table in tables[1]
    ]

    landed = {path: path.stat().st_mtime_ns for path in place.glob(f"*/{SUMMARY}")}
    again = sweep("run", grid, "--out", place, "--address", cluster.address)
    assert again.returncode == 0 and "12 finished already" in again.stderr
    assert {path: path.stat().st_mtime_ns for path in place.glob(f"*/{SUMMARY}")} == landed
    assert outcomes(place) == ended
