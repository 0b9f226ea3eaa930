"""The site is built with every link and anchor checked, the notebooks run with the lab model, and the FAQ quotes what the program says."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
FAQ = (ROOT / "docs" / "faq.md").read_text(encoding="utf-8")
SOURCES = [path for folder in ("espl_bench", "envs", "baselines") for path in sorted((ROOT / folder).rglob("*.py"))]


@pytest.mark.slow
def test_the_site_is_built_and_every_link_leads_somewhere(tmp_path):
    pytest.importorskip("material", reason="needs the extra [docs]: make docs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr[-3000:]
    pages = {page.stem for page in (ROOT / "docs").glob("*.md") if not page.name.endswith(".template.md")}
    assert pages <= {page.stem for page in (tmp_path / "site").glob("*.html")}
    for page in (tmp_path / "site").rglob("*.html"):
        asked = re.findall(r"""<(?:script|link|img)[^>]+(?:src|href)=["']?(https?://[^"'\s>]+)""", page.read_text(encoding="utf-8"))
        assert asked == [], f"{page.name} asks another server"


def test_there_are_three_notebooks_without_outputs():
    nbformat = pytest.importorskip("nbformat", reason="needs the extra [dev]")
    assert [path.stem for path in NOTEBOOKS] == ["first_run", "own_environment", "reading_a_comparison"]
    for path in NOTEBOOKS:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert code and all(not cell.outputs and cell.execution_count is None for cell in code), "outputs would go stale"
        assert notebook.cells[0].source.startswith("# ")


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_with_the_lab_model(path, tmp_path):
    nbformat, nbclient = (pytest.importorskip(name, reason="needs the extra [dev]") for name in ("nbformat", "nbclient"))
    shutil.copy(path, tmp_path)
    notebook = nbformat.read(tmp_path / path.name, as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=PATIENCE_S, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    assert list((tmp_path / "runs").iterdir()), "it has made a run"
    printed = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", ()))
    assert "%" in printed


def said() -> list[str]:
    """Every text in the sources, with a mark where a value is put in."""
    found: list[str] = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found.append("".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
                found.append(node.value if isinstance(node.value, str) else node.value.decode("utf-8", "replace"))
    return found


def test_the_questions_are_of_messages_that_the_program_has():
    messages = re.findall(r"^### `(.*)`$", FAQ, re.MULTILINE)
    assert len(messages) > 20
    texts = said()
    for message in messages:
        words = [part.strip(" ;:,.'") for part in message.split("…")]
        missing = [part for part in words if part and not any(part in text for text in texts)]
        assert missing == [], f"no message says: {message}"
