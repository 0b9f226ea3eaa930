"""Put the tables of `results/` between their markers in README.md: `python docs/refresh_readme.py [--check]`."""

import argparse
import re
import sys
from pathlib import Path

from espl_bench.leaderboard.board import build_board
from espl_bench.leaderboard.collect import collect
from espl_bench.leaderboard.render import to_markdown

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"(<!-- table: (?P<folder>\S+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def refreshed(text: str) -> str:
    """The README's text with every table made anew from the summaries that lie in its folder."""

    def fill(block: re.Match[str]) -> str:
        board = build_board(collect([ROOT / block["folder"]]).entries)
        return f"{block[1]}\n{to_markdown(board).strip()}\n\n{block[3]}"

    return BLOCK.sub(fill, text)


def main() -> None:
    """Write README.md, or with `--check` fail if it is stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if the README is stale")
    options = parser.parse_args()
    readme = ROOT / "README.md"
    before = readme.read_text(encoding="utf-8")
    after = refreshed(before)
    if options.check and before != after:
        sys.exit("README.md is stale; run: make publish")
    readme.write_text(after, encoding="utf-8")


if __name__ == "__main__":
    main()
