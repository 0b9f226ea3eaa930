"""Sweeps on a real Ray cluster of three nodes on this machine: a node is killed, a driver is stopped, cells do not fit."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import torch
from checked import present
from patience import PATIENCE_S
from sweep_fixtures import CELLS, attempts, command, outcomes, results, sweep, write_grid

from espl_bench.runs.run_dir import SUMMARY
from espl_bench.sweep.cell_worker import run_cell
from espl_bench.sweep.grid import BudgetLimits, make_cells, read_grid
from espl_bench.sweep.storage import Storage
from espl_bench.utils.stop_signal import StopSignal

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.ray

STEPS = 6


@pytest.fixture(scope="module")
def cluster() -> Iterator:
    """A head and a node with two devices, as far as Ray is told; a test adds the third node."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")  # with Ray's 15 a busy machine lets workers starve
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        try:
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


def undisturbed(grid: Path, place: Path) -> None:
    """Every cell in this process, one after the other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the cells have one core
    for cell in make_cells(read_grid(grid)):
        run_cell(Storage.open(str(place)), cell, BudgetLimits(), StopSignal())
    torch.set_num_threads(threads)


def test_a_killed_node_changes_no_result_and_nothing_runs_twice(cluster, tmp_path: Path):
    grid = write_grid(tmp_path, seeds=3, steps=STEPS)
    calm, place = tmp_path / "calm", tmp_path / "struck"
    undisturbed(grid, calm)

    victim = cluster.add_node(num_cpus=1)
    raylet = victim.all_processes["raylet"][0].process.pid
    process = subprocess.Popen(
        command("run", grid, "--out", place, "--address", cluster.address), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: in_the_middle(place, raylet), process)
    struck = in_the_middle(place, raylet)
    cluster.remove_node(victim, allow_graceful=False)
    _, err = process.communicate(timeout=PATIENCE_S)
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
    assert {row["method"] for row in json.loads((place / "table.json").read_text())["tables"][0]["rows"]} == {"rl_only", "espl"}

    landed = {path: path.stat().st_mtime_ns for path in place.glob(f"*/{SUMMARY}")}
    again = sweep("run", grid, "--out", place, "--address", cluster.address)
    assert again.returncode == 0 and "12 already finished" in again.stderr
    assert {path: path.stat().st_mtime_ns for path in place.glob(f"*/{SUMMARY}")} == landed
    assert outcomes(place) == ended


def test_gpu_cells_and_cpu_cells_stand_side_by_side_and_one_that_fits_nowhere_fails_alone(cluster, tmp_path: Path):
    more = """
[[overrides]]
when = { method = "espl", environment = "rulebook" }
resources = { gpus = 2 }

[[overrides]]
when = { method = "rl_only", environment = "w3" }
resources = { gpus = 0.5 }

[[overrides]]
when = { method = "espl", environment = "w3" }
resources = { gpus = 3 }
"""
    place = tmp_path / "out"
    done = sweep("run", write_grid(tmp_path, more=more), "--out", place, "--address", cluster.address)
    assert done.returncode == 1
    assert "w3-espl-s0 failed: it takes 3 GPUs, and the cluster has 2" in done.stderr
    assert outcomes(place) == {cell: ["failed" if cell == "w3-espl-s0" else "finished"] for cell in CELLS}
    assert sorted(results(place)) == sorted(set(CELLS) - {"w3-espl-s0"})


def test_a_failing_cell_is_told_with_its_reason_and_mirrored_cells_are_retried(cluster, tmp_path: Path):
    """On storage that is no folder: one worker is killed, one cell has no model."""
    broken = f'[[overrides]]\nwhen = {{ method = "espl" }}\noptions = {{ editor_model = "{tmp_path}/none" }}\n'
    grid = write_grid(tmp_path, steps=150, more=broken + '[[exclusions]]\nenvironment = "w3"')
    place, where = tmp_path / "sweep", f"dir://sweep::file://{tmp_path}"
    process = subprocess.Popen(command("run", grid, "--out", where, "--address", cluster.address), stderr=subprocess.PIPE, text=True)
    wait_for(lambda: any(int(path.name[5:]) >= 2 for path in (place / CELLS[0] / "checkpoints").glob("step_*")), process)
    os.kill(int(attempts(place)[CELLS[0]][0]["node"].rpartition("/")[2]), signal.SIGKILL)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1 and f"{CELLS[1]} failed: " in err and "none" in err
    assert outcomes(place) == {CELLS[0]: ["lost", "finished"], CELLS[1]: ["failed"]}
    assert results(place).keys() == {CELLS[0]} and not (place / ".driver").exists()


def test_a_stopped_driver_lets_its_cells_save(cluster, tmp_path: Path):
    place = tmp_path / "out"
    grid = write_grid(tmp_path, steps=300)
    process = subprocess.Popen(command("run", grid, "--out", place, "--address", cluster.address), stderr=subprocess.PIPE, text=True)
    wait_for(lambda: any(steps(place, cell) for cell in CELLS), process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1 and "4 of 4 runs unfinished; their work is saved" in err
    ended = outcomes(place)
    assert ended and len(ended) < 4 and all(made == ["stopped"] for made in ended.values()), "those that waited never began"
    for cell in ended:
        done = steps(place, cell)
        assert (place / cell / "checkpoints" / f"step_{done:06d}" / "commit.json").exists(), "the last step is committed"


def test_a_cell_of_vllms_ray_executor_lies_over_nodes_and_shares_its_first_device(cluster, tmp_path: Path):
    """As vLLM takes the group over: a worker of half a device in every bundle, beside the run itself in the first."""
    from ray.util.placement_group import placement_group_table
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    from espl_bench.sweep import ray_pool
    from espl_bench.sweep.actor import ActorTask

    grid = tmp_path / "grid.toml"
    grid.write_text(
        'methods = ["rl_only"]\nenvironments = ["rulebook"]\nseeds = 1\n'
        '[options]\nengine = "vllm"\npipeline_parallel_size = 3\ndistributed_executor_backend = "ray"\n'
    )
    [cell] = make_cells(read_grid(grid))
    more = cluster.add_node(num_cpus=1, num_gpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    try:
        attempt = ray_pool._place(ActorTask(str(tmp_path), cell, BudgetLimits(), str(tmp_path), "0"))
        ray.get(attempt.actor.where.remote(), timeout=120)
        group = present(attempt.group)
        assert len(set(placement_group_table(group)["bundles_to_node_id"].values())) == 2

        @ray.remote(num_cpus=0, num_gpus=0.5)
        def devices() -> list[str]:
            return ray.get_runtime_context().get_accelerator_ids()["GPU"]

        workers = [devices.options(scheduling_strategy=PlacementGroupSchedulingStrategy(group, bundle)).remote() for bundle in range(3)]
        assert all(len(found) == 1 for found in ray.get(workers, timeout=120))
    finally:
        ray.shutdown()
        cluster.remove_node(more)


def test_ray_that_does_not_start_is_one_line_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    grid = write_grid(tmp_path)
    nobody = sweep("run", grid, "--out", tmp_path / "out", "--address", f"127.0.0.1:{_unused_port()}", "--quiet")
    assert nobody.returncode == 2 and nobody.stderr.count("\n") == 1
    assert "there is no Ray cluster at 127.0.0.1" in nobody.stderr and "leave --address out" in nobody.stderr
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / "deep" / ("x" * 120)))  # its sockets' names are then too long
    alone = sweep("run", grid, "--out", tmp_path / "out", "--quiet")
    assert alone.returncode == 1 and alone.stderr.count("\n") == 1, alone.stderr
    assert "Ray does not start on this machine" in alone.stderr and "--jobs 1" in alone.stderr


def _unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
