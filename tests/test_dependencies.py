"""Everything that is imported is declared, and an extra is declared for something that is imported."""

import ast
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from checked import present

from espl_bench.data import files, hub
from espl_bench.data.dataset_spec import DataSource, Licence
from espl_bench.errors import UsageError
from espl_bench.sweep.storage import Storage

ROOT = Path(__file__).parents[1]
OURS = ("espl_bench", "espl_envs", "espl_baselines")
DISTRIBUTIONS = {
    "pydantic-core": "pydantic_core",
    "PyStemmer": "Stemmer",
    "faiss-cpu": "faiss",
    "huggingface-hub": "huggingface_hub",
    "math-verify": "math_verify",
    "mcp-types": "mcp_types",
    "reasoning-gym": "reasoning_gym",
    "sentence-transformers": "sentence_transformers",
}
"""What is imported of distributions that are named otherwise."""
UNIMPORTED = {
    "gguf": "transformers imports it to read a file of that format",
    "playwright": "a test of the page",
    "tensorboard": "torch.utils.tensorboard imports it",
}
"""Declared for another reason than an import in the packages."""
TOOLS = ("dev",)
"""Extras of which only the checks make use."""
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def modules_of(requirements: list[str]) -> set[str]:
    """What requirements let a module import, those on extras of ours followed."""
    found: set[str] = set()
    for requirement in requirements:
        if own := re.fullmatch(r"espl-bench\[(.*)\]", requirement):
            found |= set().union(*(modules_of(EXTRAS[extra]) for extra in own[1].split(",")))
        else:
            name = present(re.match(r"[\w.-]+", requirement))[0]
            found.add(DISTRIBUTIONS.get(name, name))
    return found


def imported(source: str) -> Iterator[str]:
    """Modules that are imported anywhere, `import_module` with a name included."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom(module=str(name), level=0):
                yield name
            case ast.Call(func=ast.Name(id="import_module"), args=[ast.Constant(value=str(name)), *_]):
                yield name


def third_party() -> dict[str, set[str]]:
    """Top-level module → files that import it."""
    found: dict[str, set[str]] = {}
    for folder in ("espl_bench", "envs", "baselines"):
        for path in (ROOT / folder).rglob("*.py"):
            for name in imported(path.read_text()):
                top = name.partition(".")[0]
                if top not in sys.stdlib_module_names and top not in OURS:
                    found.setdefault(top, set()).add(str(path.relative_to(ROOT)))
    return found


FOUND = third_party()
CORE = modules_of(PROJECT["dependencies"])
OPTIONAL = set().union(*(modules_of(requirements) for extra, requirements in EXTRAS.items() if extra not in TOOLS))


def test_everything_imported_is_declared():
    assert {name: files for name, files in FOUND.items() if name not in CORE | OPTIONAL} == {}


def test_everything_declared_is_imported():
    assert (CORE | OPTIONAL) - FOUND.keys() == UNIMPORTED.keys()


def test_what_is_optional_is_not_imported_with_a_module_of_the_core():
    """Only the folder or file of an engine, a back end or a kind of pictures imports its packages at the top."""
    homes = ("engines/openai/", "engines/tinker/", "engines/vllm/", "plots/", "sweep/ray_pool.py", "tools/mcp/", "utils/exchange.py")
    at_top = {
        str(path.relative_to(ROOT / "espl_bench"))
        for path in (ROOT / "espl_bench").rglob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in imported(ast.unparse(node))
        if name.partition(".")[0] in OPTIONAL - CORE
    }
    assert {file for file in at_top if not file.startswith(homes)} == set()


@pytest.mark.parametrize(
    ("module", "extra", "call"),
    [
        ("datasets", "hub", lambda folder: hub.fetch(DataSource("set", str(folder), Licence("none", "its page")), "remedy")),
        ("pyarrow", "parquet", lambda folder: list(files.read_records(folder / "rows.parquet"))),
        ("fsspec.core", "sweep", lambda folder: Storage.open(str(folder))),
    ],
)
def test_what_an_extra_brings_is_named_where_it_is_missing(
    module: str, extra: str, call: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "rows.parquet").touch()
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match=rf"needs {module}; install it with: pip install 'espl-bench\[{extra}\]'"):
        call(tmp_path)
