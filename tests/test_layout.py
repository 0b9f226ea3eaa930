"""The rooms of the package: arrows point down, and no import closes a cycle, whether it is lazy, for types only or neither."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = {"espl_bench": ROOT, "espl_envs": ROOT / "envs", "espl_baselines": ROOT / "baselines"}
LAYERS = (
    {"types", "errors", "seeding", "stats"},
    {"registry", "utils"},
    {"learning"},
    {"data", "grading"},
    {"environment", "retrieval"},
    {"tools"},
    {"engines", "prompts"},
    {"gateway"},
    {"controls", "evolution", "rollouts"},
    {"method", "espl_envs"},
    {"evolve", "espl_baselines"},
    {"config"},
    {"accounting"},
    {"runs"},
    {"leaderboard", "monitoring"},
    {"loop"},
    {"build", "optimizer_harness"},
    {"analysis", "scores"},
    {"plots", "report", "results", "runner"},
    {"dry_run", "sweep"},
    {"cli"},
    {"__main__"},
)
"""Rooms of `espl_bench` and its root modules, lowest first: a layer imports lower layers only."""
HF = "espl_bench.engines.hf"
BELOW = {"reading": set[str](), "decoding": {"reading"}, "training": {"reading"}, "adapter": {"reading", "training"}}
"""Rooms of engine hf that know nothing of the modules above them, and the rooms that each imports."""


def name_of(path: Path, root: Path) -> str:
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path, root): path for package, root in SOURCES.items() for path in (root / package).rglob("*.py")}


def imported(module: str) -> Iterator[str]:
    """Our modules that a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            yield from names & MODULES.keys() or {node.module}


def room_of(module: str) -> str:
    package, *rest = module.split(".")
    return rest[0] if package == "espl_bench" and rest else package


ARROWS = {module: {other for other in imported(module) if other not in (module, "espl_bench")} for module in MODULES}


def test_no_import_closes_a_cycle():
    TopologicalSorter(ARROWS).prepare()


def test_every_room_has_a_layer():
    assert {room_of(module) for module in MODULES} - {"espl_bench"} == set().union(*LAYERS)


@pytest.mark.parametrize("module", sorted(MODULES.keys() - {"espl_bench"}))
def test_arrows_point_down(module: str):
    level = {room: number for number, layer in enumerate(LAYERS) for room in layer}
    up = {other for other in ARROWS[module] if room_of(other) != room_of(module) and level[room_of(other)] >= level[room_of(module)]}
    assert not up


@pytest.mark.parametrize("room", BELOW)
def test_the_rooms_of_engine_hf_know_what_is_below_them(room: str):
    modules = [module for module in MODULES if module.startswith(f"{HF}.{room}.")]
    others = {other for module in modules for other in ARROWS[module] if other.startswith(f"{HF}.")}
    assert modules
    assert {other.removeprefix(f"{HF}.").split(".")[0] for other in others} <= {room, *BELOW[room]}


def test_the_project_holds_no_run_of_its_own():
    """A test that runs in the current folder would leave one."""
    assert not [path for path in ROOT.iterdir() if path.name in ("config.json", "provenance.json", "checkpoints", "rollouts", ".lock")]


def test_the_root_holds_what_a_reader_opens_first():
    assert len(list((ROOT / "espl_bench").glob("*.py"))) <= 14
