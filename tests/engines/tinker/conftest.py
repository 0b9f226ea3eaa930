"""Tests against a real, self-hosted Tinker server on the CPU. They run with `make test-tinker`, which says where its environment is."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from espl_envs.lab import MODEL

if TYPE_CHECKING:
    from tinker_server import Server

SERVER_PYTHON = "ESPL_BENCH_TINKER_PYTHON"
"""The interpreter of the server's environment."""
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if SERVER_PYTHON in os.environ:
        return
    for item in items:
        if HERE in item.path.parents and "server" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.skip(reason="needs a Tinker server: make test-tinker"))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Server"]:
    """A running server that serves the lab model. A test that ends it starts it again."""
    from tinker_server import Server

    python = Path(os.environ[SERVER_PYTHON]).absolute()
    cache = python.parents[1] / "compiled"
    server = Server(python, MODEL, tmp_path_factory.mktemp("tinker"), cache)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    """The key is in the environment, as users have it."""
    from tinker_server import KEY

    monkeypatch.setenv("TINKER_API_KEY", KEY)
    monkeypatch.setenv("TINKER_TELEMETRY", "0")
    monkeypatch.delenv("TINKER_BASE_URL", raising=False)
    return KEY
