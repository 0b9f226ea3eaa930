from collections.abc import Iterator
from pathlib import Path

import pytest

from espl_bench.grading import VerifierPool


@pytest.fixture(scope="session")
def lab_like_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real model folder, tiny, that answers at random in the laboratory's language."""
    from tiny_lab import make_lab_like_model  # imports torch, which most tests do without

    return make_lab_like_model(tmp_path_factory.mktemp("lab-like"))


@pytest.fixture(scope="session")
def pool() -> Iterator[VerifierPool]:
    """Two real grading processes."""
    with VerifierPool(2) as pool:
        yield pool
