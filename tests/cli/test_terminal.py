"""What others wrote acts on no terminal: not in tables, panels, errors, JSON or CSV."""

import csv
import io
import json
import re
import sys
from pathlib import Path

import pytest
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from espl_bench.cli.app import invoke
from espl_bench.cli.console import _CleanConsole, write, write_json
from espl_bench.leaderboard.csv_text import csv_cells

Capture = pytest.CaptureFixture[str]
HOSTILE = (
    "\x1b]52;c;ZWNobyBvd25lZA==\x07",  # the clipboard
    "\x1b]0;title\x07",
    "\x1b[2J\x1b[H",  # the screen
    "\x1b[8m hidden \x1b[0m",
    "\x9b2J\x9d0;title\x9c",  # the same with C1 controls
    "\x90q\x9c",
    "a\rb\x08\x08c\x7f",
    "\u202egnp.exe\u202c\u2066\u2069\u200b\u2028",
    "\ud800\udfff",
    "\U000e0041\U000e007f",  # invisible tags
)
ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\U000e0000-\U000e007f]")
STYLES = re.compile(r"\x1b\[[0-9;]*m")


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_that_rich_draws_acts_on_a_terminal(text: str):
    file = io.StringIO()
    console = _CleanConsole(file=file, force_terminal=True, width=100, highlight=False, emoji=False)
    table = Table(text, title=text, caption=text)
    table.add_row(text)
    tree = Tree(text)
    tree.add(text)
    for each in (text, Text(text, "bold"), table, tree, Panel(text, title=text, subtitle=text), Text.assemble((text, "red"))):
        console.print(each)
        console.print(each, soft_wrap=True)
    shown = file.getvalue()
    assert not ACTING.search(STYLES.sub("", shown)) and STYLES.search(shown)
    shown.encode()


@pytest.mark.parametrize("text", HOSTILE)
def test_an_error_is_one_clean_line(text: str, capsys: Capture):
    for arguments in (["show", f"x{text}"], ["run", "--method", f"x{text}"], ["table", f"x{text}"], [f"x{text}"], ["run", f"--x{text}"]):
        assert invoke([argument.replace("\ud800", "").replace("\udfff", "") for argument in arguments]) in (1, 2)
        said = capsys.readouterr()
        assert not ACTING.search(said.err) and said.err.count("\n") == 1 and not ACTING.search(said.out)


@pytest.mark.parametrize("text", HOSTILE)
def test_json_keeps_its_meaning_and_text_its_lines(text: str, capsys: Capture):
    record = {"name": f"ä{text}ö", "rows": [1.5, None, text]}
    for ascii_only in (True, False):
        write_json(json.dumps(record, indent=2, ensure_ascii=ascii_only) + "\n")
        said = capsys.readouterr().out
        assert not ACTING.search(said) and json.loads(said) == json.loads(json.dumps(record))  # which joins two halves of a character
    write(f"one {text}\ntwo\n")
    write(f"three {text}\n", err=True)
    said = capsys.readouterr()
    assert not ACTING.search(said.out + said.err) and said.out.count("\n") == 2


def test_commands_print_through_the_cleaner_alone():
    for path in (Path(sys.modules[invoke.__module__].__file__ or "").parent / "commands").glob("*.py"):
        source = path.read_text()
        assert not re.search(r"sys\.std(out|err)\.write|typer\.echo|(?<![.\w])print\(|(?<![.\w])Console\(", source), path


def test_a_cell_of_a_csv_file_is_no_formula():
    texts = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "\x1b=1", '=HYPERLINK("http://x")', "plain", "a=b", "", "\x00+1")
    cells = csv_cells(texts)
    assert all(not str(cell).lstrip().startswith(("=", "+", "-", "@", "\t", "\r")) for cell in cells)
    assert (cells[9], cells[10], cells[11]) == ("plain", "a=b", "")
    numbers = [-1.5, 3, None, True, float("-inf")]
    assert csv_cells(numbers) == numbers
    file = io.StringIO()
    csv.writer(file).writerow(csv_cells(["-x", -0.25]))
    assert file.getvalue().strip() == "'-x,-0.25"
