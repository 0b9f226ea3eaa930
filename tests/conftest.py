from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def lab_like_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real model folder, tiny, that answers at random in the laboratory's language."""
    from tiny_lab import make_lab_like_model  # imports torch, which most tests do without

    return make_lab_like_model(tmp_path_factory.mktemp("lab-like"))
