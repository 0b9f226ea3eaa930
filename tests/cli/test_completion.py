"""Completion in a shell: names of methods, environments, engines and choices, found without importing anything heavy."""

import os
import subprocess
import sys

import pytest
from patience import PATIENCE_S

from espl_bench import registry
from espl_bench.cli.app import invoke
from espl_bench.cli.completion import listed
from espl_bench.registry import ENGINES, METHODS

HEAVY = ("torch", "transformers", "numpy", "gymnasium", "trueskill", "jinja2", "safetensors", "espl_bench.config")
"""What answers too late at a key press. Typer itself imports pydantic."""


def completed(line: str, *flags: str) -> subprocess.CompletedProcess[str]:
    """What bash is told for a line, whose last word is being typed."""
    words = line.split(" ")
    environment = {"_ESPL_BENCH_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    script = "import sys; sys.argv[0] = 'espl-bench'; from espl_bench.cli.app import main; main()"
    command = [sys.executable, *flags, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, timeout=PATIENCE_S)


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("espl-bench run --method espl_c", ["espl_contrast", "espl_credit"]),
        ("espl-bench run --env alm", ["almanac"]),
        ("espl-bench run --engine ", registry.names(ENGINES)),
        ("espl-bench run --editor cu", ["current"]),
        ("espl-bench run --selector uc", ["ucb"]),
        ("espl-bench compare --methods base,rl", ["base,rl_only"]),
        ("espl-bench run --placemen", ["--placement"]),
        ("espl-bench run --conf", ["--config"]),
        ("espl-bench sh", ["show"]),
        ("espl-bench sweep re", ["resume"]),
        ("espl-bench table --out= ", []),
    ],
)
def test_values_names_and_commands_are_completed(line, names):
    done = completed(line)
    assert done.stdout.split() == names
    assert done.stderr == ""


def test_an_unknown_command_is_no_error_while_it_is_typed():
    done = completed("espl-bench unheard-of --method e")
    assert (done.returncode, done.stderr) == (0, "")


def test_completion_imports_nothing_heavy():
    done = completed("espl-bench run --method ", "-X", "importtime")
    assert done.stdout.split() == registry.names(METHODS)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "espl_bench.cli.options" in imported and not imported & set(HEAVY)


def test_of_a_list_the_last_name_is_completed_and_none_twice():
    complete = listed(METHODS, "all")
    assert complete("base,evol") == ["base,evolution_only"]
    assert complete("al") == ["all"]
    assert "base,base" not in complete("base,")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_asks_this_program(shell):
    quiet = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "espl_bench", "--show-completion", shell],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
        env=quiet,
    )
    assert "_ESPL_BENCH_COMPLETE" in done.stdout and "espl-bench" in done.stdout


def test_help_names_the_switch(capsys):
    assert invoke(["--help"]) == 0
    assert "--install-completion" in capsys.readouterr().out
