"""Put the tables of `results/` between their markers in README.md: `python docs/refresh_readme.py [--check]`.

The README shows the columns that answer which method is better. docs/results.md has the others.
"""

import argparse
import re
import sys
from pathlib import Path

from espl_bench.leaderboard.board import build_board
from espl_bench.leaderboard.collect import collect
from espl_bench.leaderboard.layout import Sheet
from espl_bench.leaderboard.markup import to_markdown

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"(<!-- table: (?P<folder>\S+) -->\n).*?(<!-- end of table -->)", re.DOTALL)
COLUMNS = ("method", "score", "95 % CI", "Δ", "rank", "seeds")
"""First word or words of the headings that the README shows."""
LEGEND = (
    "Score: percent of the test items, mean over seeds. 95 % CI: over seeds and items, pointwise (for its row or pair alone). Δ base: "
    "paired difference to `base` on the same seeds and items. Rank and ≈ are corrected for all pairs of the table. Rank: the ranks left "
    "open. ≈: the gap to the best is within the noise. All columns are in [docs/results.md](docs/results.md)."
)


def narrow(sheet: Sheet) -> Sheet:
    """Keep the columns that the README shows."""
    grid = sheet.grids[0]
    places = [place for place, heading in enumerate(grid.headings) if heading.startswith(COLUMNS)]
    return Sheet(sheet.caption, (grid.columns(places),), sheet.notes)


def refreshed(text: str) -> str:
    """Remake every table in the README's text from the summaries in its folder."""

    def fill(block: re.Match[str]) -> str:
        board = build_board(collect([ROOT / block["folder"]]).entries)
        sheets = [narrow(sheet) for sheet in board.sheets()]
        return f"{block[1]}\n{to_markdown(sheets, LEGEND).strip()}\n\n{block[3]}"

    return BLOCK.sub(fill, text)


def main() -> None:
    """Write README.md, or with `--check` exit with 1 if it is stale."""
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
