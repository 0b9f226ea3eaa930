from pathlib import Path

import pytest
from espl_envs.lab import MODEL


@pytest.fixture(scope="session")
def lab_model() -> Path:
    """The small model that ships with the environments. Not to be changed."""
    return MODEL
