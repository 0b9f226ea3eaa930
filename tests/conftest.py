import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from espl_envs.lab import MODEL

from espl_bench.grading import VerifierPool

PRIVATE = pytest.StashKey[str]()
"""Folder that stands for a user's own: what those hold is no part of a test, and the other way round."""


def pytest_configure(config: pytest.Config) -> None:
    """What is printed has the width of a pipe, whatever terminal the tests were started from."""
    os.environ.pop("COLUMNS", None)
    private = config.stash[PRIVATE] = tempfile.mkdtemp(prefix="espl-bench-tests-")
    os.environ["XDG_STATE_HOME"], os.environ["XDG_CONFIG_HOME"] = f"{private}/state", f"{private}/config"


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave nothing of it behind."""
    shutil.rmtree(config.stash[PRIVATE], ignore_errors=True)


@pytest.fixture(scope="session")
def lab_model() -> Path:
    """The small model that ships with the environments. Not to be changed."""
    return MODEL


@pytest.fixture(scope="session")
def imported_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data home with every set of the test data. Not to be changed."""
    from data_fixtures import TEST_DATA, import_all

    if not TEST_DATA.is_dir():
        pytest.skip("no test data: set ESPL_BENCH_TEST_DATA")
    home = tmp_path_factory.mktemp("imported")
    import_all(home)
    return home


@pytest.fixture
def real_data(imported_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The mathematics environments have their data."""
    monkeypatch.setenv("ESPL_BENCH_DATA", str(imported_data))
    return imported_data


@pytest.fixture
def data_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data home."""
    monkeypatch.setenv("ESPL_BENCH_DATA", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="session")
def pool() -> Iterator[VerifierPool]:
    """Two real grading processes."""
    with VerifierPool(2) as pool:
        yield pool
