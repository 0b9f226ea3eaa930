"""A real Chromium, without a window. Tests are skipped where there is none; `make test-browser` says how to get one."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra [browser]: make test-browser")

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass
class Watch:
    """Everything a page asked for or complained of."""

    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """Of one module: while it lives, an event loop runs in this thread, and `asyncio.run` of any other test would be refused."""
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("needs chromium; name it in CHROMIUM or install the package chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=["--no-sandbox"] if os.geteuid() == 0 else [])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser) -> Iterator[Callable]:
    """Opens an address; what the page did is in its `watch`, and at the end no page may have complained."""
    watches: list[Watch] = []
    pages = []

    def opened(url: str, width: int = 1300, height: int = 900, scheme: str = "light", strict: bool = True):
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        page.set_default_timeout(20_000)
        watch = Watch()
        page.on("request", lambda request: watch.requests.append(request.url))
        page.on("console", lambda told: watch.complaints.append(told.text) if told.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: watch.complaints.append(str(error)))
        page.on("dialog", lambda dialog: (watch.dialogs.append(dialog.message), dialog.dismiss()))
        page.watch = watch
        if strict:
            watches.append(watch)
        pages.append(page)
        page.goto(url)
        return page

    yield opened
    for page in pages:
        page.close()
    assert [watch.complaints for watch in watches] == [[] for _ in watches]


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    """Where screenshots go: ESPL_BENCH_SHOTS, to look at them, else nowhere that lasts."""
    return Path(os.environ.get("ESPL_BENCH_SHOTS", tmp_path))
