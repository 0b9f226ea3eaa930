"""Every command of the docs exists with its options, and is run here or marked in docs/commands.toml with what it needs."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from espl_bench import resolve, run
from espl_bench.cli.app import PROGRAM, app, invoke

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(page for page in DOCS.glob("*.md") if not page.name.endswith(".template.md"))]
NOT_RUN: dict[str, list[str]] = tomllib.loads((DOCS / "commands.toml").read_text())["not_run"]
STANDS_FOR = {
    "RUN": "runs/study/base-s0",
    "DIR": "runs",
    "RUN|DIR…": "runs",
    "runs/first": "runs/study/base-s0",
    "runs/mine/espl-s0": "runs/study/base-s0",
}
"""What the sandbox has in place of what a page names."""


def commands(text: str) -> Iterator[str]:
    """The commands of a page's blocks, without comments; lines that end with a backslash are joined."""
    fenced = False
    for line in re.sub(r" *\\\n\s*", " ", text).splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif (fenced or line.startswith("    ")) and (found := re.match(r"(?:\.venv/bin/)?(espl-bench .*)", line.strip())):
            yield re.split(r"\s{2,}(?![-\w]*=)|\s+#\s", found[1])[0].strip()


FOUND = sorted({(page.name, command) for page in PAGES for command in commands(page.read_text(encoding="utf-8"))})


def needs(command: str) -> str | None:
    return next((why for why, prefixes in NOT_RUN.items() if any(command.startswith(prefix) for prefix in prefixes)), None)


def test_there_are_commands_and_every_mark_is_of_one():
    assert len(FOUND) > 60
    idle = [prefix for prefixes in NOT_RUN.values() for prefix in prefixes if not any(each.startswith(prefix) for _, each in FOUND)]
    assert idle == [], "marks of commands that no page has"


@pytest.mark.parametrize(("page", "command"), FOUND, ids=[f"{page}: {command[:60]}" for page, command in FOUND])
def test_a_command_and_its_options_exist(page, command):
    group: Any = get_command(app)
    arguments = [word for word in shlex.split(command.replace("$world", "3"))[1:] if word != "…"]
    if arguments[0].startswith("-"):
        assert arguments[0] in {name for param in group.params for name in param.opts}
        return
    context = group.make_context(PROGRAM, list(arguments), resilient_parsing=True)
    while hasattr(group, "commands"):
        _, group, arguments = group.resolve_command(context, arguments)
        assert group is not None
    group.make_parser(group.make_context("x", [], resilient_parsing=True)).parse_args(list(arguments))


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the pages name: a run, results, a file of answers and one of scores."""
    folder = tmp_path_factory.mktemp("docs")
    run(resolve("base", "rulebook", {"eval_samples": 1}), folder / "runs/study/base-s0")
    (folder / "results").symlink_to(ROOT / "results")
    (folder / "docs").symlink_to(DOCS)
    (folder / "answers.jsonl").write_text('{"id": "a", "gold": "1/2", "answer": "\\\\boxed{0.5}"}\n')
    rows = [f"{row},{item},{seed},{(item + seed) % 2}" for row in ("base", "tuned") for item in range(8) for seed in (0, 1)]
    (folder / "scores.csv").write_text("\n".join(["row,item,seed,score", *rows]) + "\n")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("command", sorted({command for _, command in FOUND if needs(command) is None}))
def test_a_command_that_needs_nothing_is_run(command, sandbox, monkeypatch, capsys):
    monkeypatch.chdir(sandbox)
    arguments = [STANDS_FOR.get(word, word) for word in shlex.split(command)[1:]]
    if "--out" in arguments and arguments[0] == "export":
        arguments[arguments.index("--out") + 1] = "exported"
    assert invoke(arguments) == 0, capsys.readouterr().err
