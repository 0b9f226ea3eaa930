import sys
from pathlib import Path

import pytest

from espl_bench.utils.source_hash import source_hash


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "hashed_package"
    (folder / "games").mkdir(parents=True)
    files = {
        "__init__.py": "",
        "games/__init__.py": "",
        "games/env.py": "import json\nfrom .rules import LIMIT\nfrom hashed_package import words\n",
        "games/rules.py": "LIMIT = 3\n",
        "words.py": "WORDS = ()\n",
        "unrelated.py": "X = 1\n",
        "games/broken.py": "raise SystemExit\n",
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    return folder


@pytest.mark.parametrize("name", ["games/env.py", "games/rules.py", "words.py", "__init__.py", "games/__init__.py"])
def test_it_changes_with_the_module_and_all_that_it_imports_of_its_package(package: Path, name: str):
    before = source_hash("hashed_package.games.env")
    (package / name).write_text((package / name).read_text() + "# more\n")
    assert source_hash("hashed_package.games.env") != before


@pytest.mark.parametrize("name", ["unrelated.py", "games/broken.py"])
def test_other_modules_do_not_count(package: Path, name: str):
    before = source_hash("hashed_package.games.env")
    (package / name).write_text("Y = 2\n")
    assert source_hash("hashed_package.games.env") == before
    assert not [module for module in sys.modules if module.startswith("hashed_package")], "nothing is imported"


def test_a_single_module_counts_with_those_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "hashed_alone.py").write_text("import hashed_helper\n")
    (tmp_path / "hashed_helper.py").write_text("A = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = source_hash("hashed_alone")
    (tmp_path / "hashed_helper.py").write_text("A = 2\n")
    assert source_hash("hashed_alone") not in (before, None)


def test_a_module_without_a_file_has_none():
    assert source_hash("sys") is None
    assert source_hash("no_such_module_anywhere") is None
