import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from cli_fixtures import make_run, make_summary
from patience import PATIENCE_S
from rich.text import Text

from espl_bench import __version__, registry
from espl_bench.cli import generate_options
from espl_bench.cli.app import app, invoke
from espl_bench.cli.commands import listings
from espl_bench.cli.commands import run as run_command
from espl_bench.cli.group import Outline
from espl_bench.cli.options import Chosen, parse_pairs
from espl_bench.cli.options_table import RUN_OPTIONS
from espl_bench.config.flat import flat_fields
from espl_bench.config.run_config import RunConfig
from espl_bench.config.sections import METHOD_CHOICES
from espl_bench.errors import UsageError
from espl_bench.method import ESPL, Method
from espl_bench.runs.summary import Summary

HEAVY = ("torch", "transformers", "numpy", "gymnasium", "pydantic", "trueskill", "jinja2", "safetensors")
OLD_RUN = Path(__file__).parents[1] / "support" / "old_run"


def espl_bench(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "espl_bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S, **options)


def imported_by(arguments: list[str]) -> set[str]:
    script = f"import sys; from espl_bench.cli.app import invoke; invoke({arguments!r}); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments: list[str]):
    assert not imported_by(arguments) & set(HEAVY)


def test_a_list_of_commands_makes_no_options():
    assert "espl_bench.cli.options_table" not in imported_by(["--help"])
    assert "espl_bench.cli.options_table" in imported_by(["run", "--help"])


@pytest.mark.parametrize("arguments", [["run", "--help"], ["compare", "--help"], ["run", "--loss", "pp"], ["rnu"]])
def test_help_of_a_command_and_mistakes_import_nothing_heavy_of_ours(arguments: list[str]):
    assert not imported_by(arguments) & set(HEAVY) - {"pydantic"}, "typer itself reads a command's options with pydantic"


@pytest.mark.parametrize("command", ["show", "verify", "table", "report"])
def test_what_only_reads_a_run_loads_no_model_library(command: str, tmp_path: Path):
    copied = shutil.copytree(OLD_RUN, tmp_path / "run")
    more = ["-o", str(tmp_path / "page.html")] if command == "report" else []
    assert not imported_by([command, str(copied), *more]) & {"torch", "transformers"}


@pytest.mark.parametrize(
    "arguments", [["--help"], ["run", "--help"], ["table", "--help"], ["data", "--help"], ["data", "import", "--help"]]
)
def test_help_imports_no_renderer_that_it_does_not_use(arguments: list[str]):
    script = (
        f"import sys; from espl_bench.cli.app import invoke; invoke({arguments!r}); print('markdown_it' in sys.modules); "
        "import rich.markdown, rich.traceback; print(rich.markdown.Markdown('a').markup, rich.traceback.Traceback.__module__)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    assert done.stdout.splitlines()[-2:] == ["False", "a rich.traceback"]


def test_module_and_version():
    done = espl_bench("--version")
    assert (done.returncode, done.stdout) == (0, f"espl-bench {__version__}\n")


def test_no_arguments_show_the_help(capsys: pytest.CaptureFixture[str]):
    assert invoke([]) == 0
    out = capsys.readouterr().out
    assert all(command in out for command in ("run", "compare", "table", "resume", "show", "methods", "envs"))


def every_command(group: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Walk the command line: each group and command with the words that call it."""
    command = typer.main.get_command(app) if group is None else group
    yield path, command.complete() if isinstance(command, Outline) else command
    for name, inner in getattr(command, "commands", {}).items():
        yield from every_command(inner, (*path, name))


COMMANDS = dict(every_command())


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words) or "espl-bench")
def test_rendered_help_keeps_every_bracket(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Rich takes an unescaped `[report]` for markup and drops it."""
    monkeypatch.setenv("COLUMNS", "400")
    command = COMMANDS[words]
    texts = [command.help or "", *(param.help or "" for param in command.params if hasattr(param, "help"))]
    for text in texts:
        written = re.sub(r"\[/?(?:bold)?\]", "", text).replace("\\[", "[")
        assert Text.from_markup(text).plain == written, f"escape the bracket in: {text}"
    assert invoke([*words, "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "extra ." not in shown
    assert all(bracket in shown for text in texts for bracket in re.findall(r"\\(\[\w+\])", text))


def test_the_help_of_plot_names_its_extra(capsys: pytest.CaptureFixture[str]):
    assert invoke(["plot", "--help"]) == 0
    assert "Needs the extra [report]." in " ".join(capsys.readouterr().out.split())


def test_the_former_name_of_contamination_still_works_and_is_not_listed(capsys: pytest.CaptureFixture[str]):
    assert invoke(["quotes", "--help"]) == 0
    assert invoke(["--help"]) == 0
    listed = capsys.readouterr().out.rpartition("─ Commands ─")[2]
    assert "│ contamination " in listed and "│ quotes " not in listed


def test_ctrl_c_outside_the_iterations_names_the_way_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def interrupted(folder: Path, **choices: object) -> Summary:
        raise KeyboardInterrupt

    monkeypatch.setattr("espl_bench.runner.resume", interrupted)
    folder = make_run(tmp_path / "run")
    assert invoke(["resume", str(folder)]) == 1
    assert capsys.readouterr().err.endswith(f"continue with: espl-bench resume {folder}\n")


MISTAKES = {
    ("rnu",): "unknown command 'rnu'; did you mean 'run'?",
    ("run", "--stepz", "3"): "unknown option '--stepz'; did you mean '--steps'?",
    ("run", "--steps", "many"): "Invalid value for '--steps'",
    ("run", "--steps"): "Option '--steps' requires an argument",
    ("run", "--steps", "-1"): "steps: Input should be greater than or equal to 0",
    ("run", "--method", "espll"): "unknown method 'espll'; did you mean 'espl'?",
    ("run", "--env", "rulebok"): "unknown environment 'rulebok'; did you mean 'rulebook'?",
    ("run", "--engine", "hff"): "unknown engine 'hff'; did you mean 'hf'?",
    ("run", "--loss", "pp"): "unknown loss 'pp'; did you mean 'ppo'?",
    ("run", "--selector", "lucbb"): "unknown selector 'lucbb'; did you mean 'lucb'?",
    ("run", "--baseline", "per_promt"): "did you mean 'per_prompt'?",
    ("run", "--editor", "referense"): "did you mean 'reference'?",
    ("run", "--placement", "sistem"): "did you mean 'system'?",
    ("run", "--dialect", "compakt"): "unknown dialect 'compakt'; did you mean 'compact'?",
    ("run", "--env-option", "world"): "--env-option takes KEY=VALUE, not 'world'",
    ("run", "--env-option", "wrld=1", "--dry-run"): "environment 'rulebook' does not take these options",
    ("show",): "Missing argument 'RUN'",
    ("compare",): "Missing option '--out'",
    ("compare", "--out", "x", "--methods", "espl,bas"): "unknown method 'bas'; did you mean 'base'?",
    ("compare", "--out", "x", "--methods", ","): "--methods names no method",
    ("compare", "--out", "x", "--seeds", "2", "--seed-list", "1"): "use only one of them",
    ("compare", "--out", "x", "--seed-list", "1,b"): "not '1,b'",
    ("table", ".", "--json", "--markdown"): "use only one",
    ("resume", "nowhere"): "nowhere does not exist",
}


@pytest.mark.parametrize(("arguments", "message"), MISTAKES.items())
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert invoke(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("espl-bench: ") and err.count("\n") == 1
    assert message in err
    assert list(tmp_path.iterdir()) == [], "a mistake leaves nothing behind"


@pytest.mark.parametrize("arguments", [["show", "."], ["table", "."], ["table", "nowhere"]])
def test_what_is_wrong_on_disk_is_one_line_and_exit_code_1(
    arguments: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert invoke(arguments) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("espl-bench: ") and err.count("\n") == 1


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(listings, "list_methods", lambda as_json: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        invoke(["methods"])


def test_ctrl_c_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def interrupted(as_json: bool) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(listings, "list_methods", interrupted)
    assert invoke(["methods"]) == 130
    assert capsys.readouterr().err == "espl-bench: interrupted\n"


@pytest.mark.parametrize("arguments", [["methods", "--json"], ["methods"], ["run", "--help"]])
def test_a_closed_pipe_is_quiet(arguments: list[str]):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "espl_bench", *arguments], stdout=writer, stderr=subprocess.PIPE, check=False, timeout=PATIENCE_S
    )
    os.close(writer)
    assert done.stderr == b""


def test_the_table_of_options_is_that_of_the_configuration():
    assert generate_options.TABLE.read_text() == generate_options.table(), "write it with: python -m espl_bench.cli.generate_options"


def test_every_choice_of_a_method_and_nearly_every_field_of_a_run_has_an_option():
    offered = {option.field for option in RUN_OPTIONS}
    elsewhere = {"method", "env", "env_options", "seed", "root_principles"}
    assert offered | elsewhere == {*flat_fields(RunConfig), *METHOD_CHOICES}
    assert not offered & elsewhere and len(offered) == len(RUN_OPTIONS)


def test_choices_of_a_method_exist_and_leave_its_own_value():
    assert set(METHOD_CHOICES) <= set(Method.__annotations__)
    assert {option.default for option in RUN_OPTIONS if option.field in METHOD_CHOICES} == {"the method's own"}


def test_a_former_name_is_still_accepted(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    seen: list[Any] = []
    monkeypatch.setattr(run_command, "dry_run", lambda config, as_json, budget: seen.append(config.sampling.sampling_groups))
    assert invoke(["run", "--dry-run", "--cohorts=3"]) == invoke(["run", "--dry-run", "--sampling-groups=4"]) == 0
    assert seen == [3, 4]
    invoke(["run", "--help"])
    assert "--cohorts" not in capsys.readouterr().out


def test_a_mistake_in_fields_is_spelled_in_flags(capsys: pytest.CaptureFixture[str]):
    assert invoke(["run", "--engine=hf", "--tensor-parallel-size=2", "--dry-run"]) == 2
    assert "options: --tensor-parallel-size is about vLLM; add --engine vllm, or leave it out\n" in capsys.readouterr().err
    assert invoke(["run", "--temperature=0", "--dry-run"]) == 2
    assert "set --temperature above 0" in capsys.readouterr().err
    assert invoke(["run", "--engine=vllm", "--sleep", "--train-device=cuda:1", "--dry-run"]) == 2
    assert "--sleep shares one device, --train-device takes another" in capsys.readouterr().err
    assert invoke(["run", "--engine=hf", "--no-sleep", "--sleep", "--dry-run"]) == 2, "the last one counts"
    assert "--sleep is about vLLM" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["run", "compare"])
def test_no_name_of_an_option_is_cut_on_a_screen_of_80_columns(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "80")
    invoke([command, "--help"])
    out = capsys.readouterr().out
    words = set(out.split())
    assert all(option.flag in words for option in RUN_OPTIONS)
    assert not [word for word in words if word.startswith("--") and word.endswith("…")]


def test_help_states_every_default(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "300")
    invoke(["run", "--help"])
    lines = capsys.readouterr().out.splitlines()
    for option in RUN_OPTIONS:
        assert any(f"{option.flag} " in line and f"Default: {option.default}." in line for line in lines), option.flag


def test_pairs_are_json_or_text():
    pairs = ["a=1", "b=1.5", "c=true", "d=null", "e=word", "f=[1]", "g=x=y", "h=", 'i="1"', "j=NaN", 'k={"sets": ["x", 2]}', "l=[0-9].txt"]
    assert parse_pairs(pairs) == {
        **{"a": 1, "b": 1.5, "c": True, "d": None, "e": "word"},
        **{"f": [1], "g": "x=y", "h": "", "i": "1", "j": "NaN"},
        **{"k": {"sets": ["x", 2]}, "l": "[0-9].txt"},
    }


@pytest.mark.parametrize("broken", ['k={"sets": [1', '["a", ', '[{"name": "x"]'])
def test_json_that_does_not_end_is_not_taken_for_a_text(broken: str):
    with pytest.raises(UsageError, match=r"--env-option k begins as JSON and is none \(.*\); mend it"):
        parse_pairs([broken if broken.startswith("k=") else f"k={broken}"])


def test_options_reach_the_configuration():
    chosen = Chosen({"steps": 3, "selector": "ucb", "crossover_prob": 0.5, "placement": "user"}, ("world=3",), ("dax larger",))
    config = run_command.configure("espl", "rulebook", 4, chosen)
    assert (config.steps, config.seed, config.method.selector, config.method.crossover_prob) == (3, 4, "ucb", 0.5)
    assert (config.env_options, config.evolution.root_principles, config.prompts.placement.value) == ({"world": 3}, ("dax larger",), "user")
    assert str(run_command.default_folder(config)) == "runs/rulebook-espl-s4"


def test_methods_and_environments_are_listed(capsys: pytest.CaptureFixture[str]):
    assert invoke(["methods", "--json"]) == 0
    methods = {record["name"]: record for record in json.loads(capsys.readouterr().out)}
    assert set(methods) >= {"base", "rl_only", "reflection_only", "evolution_only", "espl"}
    assert methods["espl"]["learns"] == ["weights", "words"] and methods["espl"]["operators"] == ["mutation", "crossover"]
    assert invoke(["envs", "--json"]) == 0
    [rulebook] = [record for record in json.loads(capsys.readouterr().out) if record["name"] == "rulebook"]
    assert rulebook["gym_id"].startswith("espl/Rulebook-v") and min(rulebook["items"].values()) > 0
    for kind in ("methods", "envs"):
        assert invoke([kind]) == 0
    out = capsys.readouterr().out
    assert "across_prompts" in out and "rulebook" in out


def test_a_broken_plug_in_is_listed_with_its_fault_and_hides_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def load() -> Any:
        raise ImportError("no module named [bold]")

    points = {"good": SimpleNamespace(load=lambda: ESPL, value="a:b"), "bad": SimpleNamespace(load=load, value="c:d")}
    monkeypatch.setattr(registry, "_points", lambda group: points)
    assert invoke(["methods"]) == 0
    out = capsys.readouterr().out
    assert "no module named [bold]" in " ".join(out.split()) and "good: weights learn by RL" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--out", "", "--steps", "0"], "--out is empty; name a path, or leave it out"),
        (["run", "--out=", "--steps", "0"], "--out is empty; name a path, or leave it out"),
        (["run", "--prices="], "--prices is empty; name a file, or leave it out"),
        (["show", ""], "a path is empty; name one"),
        (["table", "runs", ""], "a path is empty; name one"),
    ],
)
def test_an_empty_path_is_refused(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    assert invoke(arguments) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_empty_answer_is_an_answer(capsys: pytest.CaptureFixture[str]):
    assert invoke(["grade", "--gold", "5", "--answer", ""]) == 0
    assert "no_answer" in capsys.readouterr().out


def test_a_path_may_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("HOME", str(tmp_path))
    make_run(tmp_path / "done", make_summary())
    for words in (["show", "~/done"], ["table", "~/done"]):
        assert invoke(words) == 0, capsys.readouterr().err
    assert "does not exist" not in capsys.readouterr().err
    assert invoke(["run", "--steps", "0", "--prices=~/none.toml"]) == 2
    assert str(tmp_path / "none.toml") in capsys.readouterr().err
