"""Files generated from published runs, never edited by hand: a table per study, the comparison with the paper, and a list of all runs.

The records themselves are rewritten too, because the interval in a record is computed by the version that reads it.

Every file is a function of the records alone, to the byte, so a stale one is found by generating it again.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from espl_bench.errors import RunDirError
from espl_bench.leaderboard.board import build_board
from espl_bench.leaderboard.collect import collect
from espl_bench.leaderboard.formats import to_markdown
from espl_bench.leaderboard.paper import LEGEND, compare_with_paper, paper_sheets, read_paper
from espl_bench.results.adding import AddedResult, published, studies
from espl_bench.utils import atomic_io
from espl_bench.utils.formatting import points

TABLE = "table.md"
COMPARISON = "paper.md"
OVERVIEW = "README.md"
REPORTED = "paper.json"
HEAD = "Generated from the records beside it by `espl-bench results`; never edited by hand.\n\n"


def generated(root: Path) -> dict[Path, str]:
    """Generate every file's text from the records under `root`."""
    found = studies(root)
    files = {each.path: each.result.to_json() for study in found for each in published(study)}
    files |= {study / TABLE: _table(study) for study in found}
    entries = collect(found).entries if found else ()
    if (root / REPORTED).exists():
        sheets = paper_sheets(compare_with_paper(read_paper(root / REPORTED), entries))
        files[root / COMPARISON] = HEAD + to_markdown(sheets, LEGEND)
    return {**files, root / OVERVIEW: _overview(root, found)}


def write(root: Path) -> list[Path]:
    """Regenerate every file; returns those that changed."""
    changed = [(path, text) for path, text in generated(root).items() if _read(path) != text]
    for path, text in changed:
        atomic_io.write_atomic(path, [atomic_io.encode_text(text)])
    return [path for path, _ in changed]


def stale(root: Path) -> Iterator[str]:
    """Name the generated files that differ from what the records produce, one line each."""
    for path, text in generated(root).items():
        now = _read(path)
        if now != text:
            yield f"{path} is {'missing' if now is None else 'stale'}; regenerate it with: espl-bench results check --write"


def _table(study: Path) -> str:
    return to_markdown(build_board(collect([study]).entries).sheets())


def _overview(root: Path, found: Sequence[Path]) -> str:
    lines = ["# Published results", "", HEAD.strip(), ""]
    for study in found:
        lines += [f"## {study.relative_to(root).as_posix()}", "", f"[Table]({study.name}/{TABLE})", ""]
        lines += ["| run | row | seed | score | code | started (UTC) |", "| --- | --- | ---: | ---: | --- | --- |"]
        lines += [_line(study, each) for each in _in_order(study)]
        lines.append("")
    return "\n".join(lines)


def _in_order(study: Path) -> list[AddedResult]:
    return sorted(published(study), key=lambda each: (each.result.summary.env, each.result.summary.row, each.result.summary.seed))


def _line(study: Path, each: AddedResult) -> str:
    run, origin = each.result.summary, each.result.origin
    code = (origin.commit or f"version {origin.espl_bench}")[:12] + ("" if origin.diff_sha256 is None else " with changes")
    cells = (f"[{run.run_id}]({study.name}/{each.path.name})", run.row, str(run.seed), points(run.score), code, origin.started_utc)
    return f"| {' | '.join(cells)} |"


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise RunDirError(f"{path} cannot be read ({error}); remove it, since it is generated") from error
