"""What two authors changed side by side was put together by hand: no file keeps both wordings between a merge's marks."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("espl_bench", "envs", "baselines", "benchmarks", "docs", "examples", "results", "tests", "constraints", ".github", ".ci")
WRITTEN = {".css", ".html", ".js", ".json", ".jsonl", ".md", ".py", ".sh", ".toml", ".txt", ".yml"}
MARKS = tuple(mark * 7 + " " for mark in "<>|")


def marked(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [f"{path.name}:{number}" for number, line in enumerate(lines, start=1) if line.startswith(MARKS)]


@pytest.mark.parametrize("room", [".", *ROOMS])
def test_no_file_keeps_the_marks_of_a_merge(room: str):
    folder = ROOT / room
    files = [path for path in (folder.glob("*") if room == "." else folder.rglob("*")) if path.suffix in WRITTEN and path.is_file()]
    assert files or room == ".ci", f"{room} has none"
    assert [line for path in sorted(files) for line in marked(path)] == []


def test_marks_are_seen(tmp_path: Path):
    path = tmp_path / "page.md"
    path.write_text(f"{'<' * 7} HEAD\nold\n{'=' * 7}\nnew\n{'>' * 7} branch\n", encoding="utf-8")
    assert marked(path) == ["page.md:1", "page.md:5"]
