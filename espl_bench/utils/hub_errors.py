"""Turn what the hub's client raises into an error of one line."""

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final, cast

from espl_bench.errors import EsplError, first_line

HTTP_CLIENTS: Final = {"httpx": "HTTPError", "httpx2": "HTTPError"}
"""Libraries under the hub's client, which differ between its versions, and their error without a network."""


@contextmanager
def hub_failures(failure: Callable[[Exception], EsplError], *others: type[Exception]) -> Generator[None]:
    """Raise `failure(error)` for an error of the hub's client, of the network or of the disk, and for those named in `others`."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    clients = [cast(type[Exception], getattr(sys.modules[name], error)) for name, error in HTTP_CLIENTS.items() if name in sys.modules]
    try:
        yield
    except (OSError, ValueError, HfHubHTTPError, HFValidationError, *clients, *others) as error:
        raise failure(error) from error


def why_of(error: Exception) -> str:
    """Say in a few words why the hub gave nothing."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    if isinstance(error, GatedRepoError):
        return "its authors grant access on its page; ask there, then log in with: hf auth login"
    if isinstance(error, RepositoryNotFoundError):
        return "the hub has none of that name, or it is private"
    return first_line(error)
