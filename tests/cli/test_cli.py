import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import process_notes
import pytest
import typer
from cli_fixtures import make_config, make_run, make_summary
from engines_fixtures import make_model
from espl_baselines.base import BASE
from espl_baselines.reflection_only import REFLECTION_ONLY
from espl_baselines.rl_only import RL_ONLY
from patience import PATIENCE_S
from process_notes import Notes
from rich.console import Console
from rich.text import Text

from espl_bench import __version__, registry
from espl_bench.cli import generate_options
from espl_bench.cli.app import app, invoke
from espl_bench.cli.commands import compare, listings
from espl_bench.cli.commands import run as run_command
from espl_bench.cli.commands.batch import BatchPlan
from espl_bench.cli.commands.compare_display import CompareDisplay
from espl_bench.cli.group import Outline
from espl_bench.cli.options import Chosen, parse_pairs
from espl_bench.cli.options_table import RUN_OPTIONS
from espl_bench.config.flat import flat_fields
from espl_bench.config.resolve import resolve
from espl_bench.config.run_config import RunConfig
from espl_bench.config.sections import METHOD_CHOICES
from espl_bench.dry_run.work import estimate, evaluated
from espl_bench.errors import UsageError
from espl_bench.method import ESPL, Method
from espl_bench.runs.summary import Summary
from espl_bench.sweep.processes import Job, run_all, with_threads
from espl_bench.types import Split

HEAVY = ("torch", "transformers", "numpy", "gymnasium", "pydantic", "trueskill", "jinja2", "safetensors")
OLD_RUN = Path(__file__).parents[1] / "support" / "old_run"
SIZES = {Split.TRAIN: 256, Split.VALIDATION: 64, Split.TEST: 100}


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


def test_options_given_to_a_comparison_reach_its_runs_unchanged(monkeypatch: pytest.MonkeyPatch):
    flags = {"sleep": True, "mask_truncated": False}
    values = {"steps": 3, "lr": 1e-05, "loss": "ppo", "tie": 0.0, "model": "-odd name", **flags}
    chosen = Chosen(values, ("world=7", "x=a b"), ("[G0] @ -larger .",))
    chosen = replace(chosen, spending={"max_cost": 1.5, "max_tokens_total": 7, "prices": "p.toml"})
    seen: list[tuple[Any, ...]] = []
    monkeypatch.setattr(run_command, "configure", lambda *given: seen.append(given) or make_config())
    monkeypatch.setattr(run_command, "dry_run", lambda config, as_json, budget: None)
    assert invoke(["run", "--seed=2", "--method=base", *chosen.arguments(), "--dry-run"]) == 0
    assert seen == [("base", "rulebook", 2, chosen)]


def test_options_reach_the_configuration():
    chosen = Chosen({"steps": 3, "selector": "ucb", "crossover_prob": 0.5, "placement": "user"}, ("world=3",), ("dax larger",))
    config = run_command.configure("espl", "rulebook", 4, chosen)
    assert (config.steps, config.seed, config.method.selector, config.method.crossover_prob) == (3, 4, "ucb", 0.5)
    assert (config.env_options, config.evolution.root_principles, config.prompts.placement.value) == ({"world": 3}, ("dax larger",), "user")
    assert str(run_command.default_folder(config)) == "runs/rulebook-espl-s4"


def test_evaluations_are_counted_as_the_loop_makes_them():
    for steps in range(12):
        for every in range(5):
            in_the_loop = sum(every > 0 and step % every == 0 for step in range(steps))
            assert evaluated(steps, every) == in_the_loop + 1


def test_estimate_of_the_defaults():
    work = estimate(make_config(steps=20, eval_every=10, test_every=0, eval_samples=2, max_tokens=8, editor_max_tokens=4), SIZES)
    assert work.rollouts == 20 * 3 * 10 * 5
    assert work.max_generated_tokens == work.rollouts * 8
    assert work.evaluations == {"validation": 3, "test": 1}
    assert work.eval_rollouts == 2 * (3 * 64 + 1 * 100)
    assert work.max_reflection_calls == 20 * (10 * 5 + 10 + 1 + 1)
    assert work.max_reflection_tokens == work.max_reflection_calls * 4


def test_estimate_of_methods_that_do_less():
    static = estimate(make_config(method=BASE), SIZES)
    assert (static.steps, static.rollouts, static.max_reflection_calls, static.eval_rollouts) == (0, 0, 0, 4 * 164)
    assert estimate(make_config(method=RL_ONLY), SIZES).max_reflection_calls == 0
    assert estimate(make_config(method=REFLECTION_ONLY, steps=1), SIZES).max_reflection_calls == 61
    assert estimate(make_config(method=ESPL.varied(crossover_prob=0.0), steps=1), SIZES).max_reflection_calls == 61


def test_estimate_knows_that_a_batch_is_no_larger_than_the_split():
    assert estimate(make_config(steps=1, batch_size=1000), SIZES).rollouts == 3 * 256 * 5


def test_dry_run_prints_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    assert invoke(["run", "--dry-run", "--steps", "10"]) == 0
    out, err = capsys.readouterr()
    assert "1,500" in out and err == ""
    assert invoke(["run", "--dry-run", "--steps", "10", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rollouts"] == 1500
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_of_long_completions_measures_short_ones_and_says_so(capsys: pytest.CaptureFixture[str]):
    options = ["run", "--dry-run", "--method=rl_only", "--steps=10", "--max-tokens=900", "--batch-size=2", "--group-size=2"]
    assert invoke([*options, "--json"]) == 0
    measured = json.loads(capsys.readouterr().out)["measured"]
    assert measured["cut_at"] == 256
    assert measured["most_seconds"] > measured["seconds"] > 0
    assert invoke(options) == 0
    assert "cut at 256 to measure" in capsys.readouterr().out


def test_a_dry_run_whose_rollouts_earn_the_same_says_that_steps_may_take_longer(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    size = ("--steps=3", "--batch-size=2", "--group-size=2", "--num-prompts=1", "--max-tokens=4", "--eval-samples=1")
    assert invoke(["run", "--dry-run", *size, f"--model={make_model(tmp_path / 'random')}"]) == 0
    assert "so it neither trained nor reflected; a step that does takes longer" in " ".join(capsys.readouterr().out.split())
    assert invoke(["run", "--dry-run", "--steps=3"]) == 0
    assert "takes longer" not in capsys.readouterr().out


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["words", "json"])
def test_ctrl_c_ends_a_dry_run_in_the_middle_of_a_step(form: tuple[str, ...], tmp_path: Path):
    """One step of this takes a minute; the step is not waited for, and its folder is removed."""
    minute = ["--num-prompts=8", "--batch-size=64", "--group-size=32", "--max-tokens=200"]
    command = [sys.executable, "-m", "espl_bench", "run", "--dry-run", *minute, *form]
    variables = {**os.environ, "TMPDIR": str(tmp_path), "CUDA_VISIBLE_DEVICES": ""}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, env=variables)
    until = time.monotonic() + PATIENCE_S
    while not list(tmp_path.glob("espl-bench-*/probe/config.json")):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    time.sleep(1.0)  # into the sampling
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    while process.poll() is None:
        assert time.monotonic() < until
        with suppress(FileNotFoundError):  # it is being removed
            assert not any(path.read_bytes() for path in tmp_path.glob("espl-bench-*/probe/timing.jsonl")), "the step was waited for"
        time.sleep(0.05)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, err) == (130, "espl-bench: interrupted; the time was not measured\n")
    assert ("983,040" in out) is not bool(form), "counts are printed first, or no half of a record"
    assert list(tmp_path.glob("espl-bench-*")) == []


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


def test_seeds():
    assert compare.parse_seeds(None, None) == (0, 1, 2)
    assert compare.parse_seeds(2, None) == (0, 1)
    assert compare.parse_seeds(None, "7, 3,7") == (7, 3)


def test_a_plan_goes_through_methods_inside_seeds_and_resumes_what_has_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lab").mkdir()
    runs = tmp_path / "runs"
    chosen = Chosen({"steps": 40, "model": "lab"}, (), ())
    config = resolve("espl", "rulebook", {"steps": 40, "model": "lab", "seed": 1})
    make_run(runs / "espl-s1", make_summary(), **{name: getattr(config, name) for name in RunConfig.model_fields})
    make_run(runs / "base-s1", None, **{name: getattr(config, name) for name in RunConfig.model_fields} | {"method": BASE})
    plan = compare.make_plan("base,espl,base", "rulebook", (1, 0), chosen, runs)
    assert [job.name for job in plan.jobs] == ["base-s1", "espl-s1", "base-s0", "espl-s0"]
    assert [job.name for job in plan.waiting] == ["base-s1", "base-s0", "espl-s0"], "what has a summary is kept"
    assert [job.iterations for job in plan.jobs] == [0, 40, 0, 40]
    assert plan.jobs[0].command[3:] == ("resume", str(runs / "base-s1"), "--quiet")
    assert plan.jobs[3].command[3] == "run" and "--steps=40" in plan.jobs[3].command
    with pytest.raises(UsageError, match="another configuration: steps 40 -> 41"):
        compare.make_plan("espl", "rulebook", (1,), Chosen({"steps": 41, "model": "lab"}, (), ()), runs)


def script(folder: Path, code: str) -> Job:
    return Job(folder, (sys.executable, "-c", code), 1)


def test_a_failing_run_stops_nothing_and_says_why(tmp_path: Path):
    jobs = [
        script(tmp_path / "one", "pass"),
        script(tmp_path / "two", "import sys; print('espl-bench: disk full', file=sys.stderr); sys.exit(1)"),
        script(tmp_path / "three", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"),
        script(tmp_path / "four", "pass"),
    ]
    notes = Notes()
    results = {result.job.name: result for result in run_all(jobs, 2, notes)}
    assert notes.names == ["one", "two", "three", "four"] and notes.most == 2
    assert {name: result.fate.value for name, result in results.items()} == {
        **{"one": "finished", "two": "failed", "three": "failed", "four": "finished"}
    }
    assert results["two"].reason == "disk full" and results["three"].reason == "killed by SIGKILL"
    assert [path.name for path in tmp_path.iterdir()] == ["two.log"], "an empty log is not kept"


SAVES = """
import pathlib, signal, sys, time
def save(number, frame):
    with open(sys.argv[1], "a") as file: file.write("saved ")
    sys.exit(1)
signal.signal(signal.SIGINT, save)
pathlib.Path(sys.argv[1]).write_text("")
time.sleep(60)
"""


def test_ctrl_c_reaches_each_child_once_and_waits_for_it(tmp_path: Path):
    marks = [tmp_path / f"mark{number}" for number in range(3)]
    jobs = [Job(tmp_path / mark.name[-1], (sys.executable, "-c", SAVES, str(mark)), 1) for mark in marks]
    driver = tmp_path / "driver.py"
    driver.write_text(
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\nfrom espl_bench.sweep.processes import Job, run_all\nfrom process_notes import Notes\n"
        f"jobs = [Job(Path(f), tuple(c), 1) for f, c in {[(str(job.folder), list(job.command)) for job in jobs]!r}]\n"
        "print([result.fate.value for result in run_all(jobs, 2, Notes())])\n"
    )
    command = [sys.executable, str(driver), str(Path(process_notes.__file__).parent)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 60
    while not all(mark.exists() for mark in marks[:2]) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    out, _ = process.communicate(timeout=PATIENCE_S)
    assert out.splitlines()[-1] == "['stopped', 'stopped']"
    assert [mark.read_text() for mark in marks[:2]] == ["saved ", "saved "]
    assert not marks[2].exists(), "nothing new is started after a stop"


def test_threads_are_shared_out_unless_the_caller_chose():
    cores = len(os.sched_getaffinity(0))
    assert with_threads({}, 1)["OMP_NUM_THREADS"] == str(cores)
    assert with_threads({"A": "b"}, 10 * cores) == {"OMP_NUM_THREADS": "1", "A": "b"}
    assert with_threads({"OMP_NUM_THREADS": "5"}, 1) == {"OMP_NUM_THREADS": "5"}


def finishing(folder: Path, summary: Summary) -> Job:
    source = folder.with_name(f"{folder.name}.source")
    source.write_text(summary.to_json())
    code = f"import pathlib, shutil; pathlib.Path({str(folder)!r}).mkdir(); shutil.copy({str(source)!r}, {str(folder / 'summary.json')!r})"
    return script(folder, code)


def test_a_comparison_ends_in_a_table_also_when_a_run_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    jobs = [finishing(tmp_path / f"{method}-s0", make_summary(method)) for method in ("base", "espl")]
    plan = BatchPlan(tmp_path, (*jobs, script(tmp_path / "rl_only-s0", "import sys; sys.exit('espl-bench: no such model')")))
    assert compare.carry_out(plan, 1, quiet=False, as_json=True) == 1
    out, err = capsys.readouterr()
    assert [row["method"] for row in json.loads(out)["tables"][0]["rows"]] == ["base", "espl"]
    assert "espl-bench: rl_only-s0 failed: no such model" in err
    assert json.loads((tmp_path / "table.json").read_text()) == json.loads(out)
    assert "| espl |" in (tmp_path / "table.md").read_text()


def test_a_finished_comparison_runs_nothing_and_prints_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    plan = BatchPlan(tmp_path, (script(tmp_path / "espl-s0", "import sys; sys.exit('started')"),))
    (tmp_path / "espl-s0").mkdir()
    (tmp_path / "espl-s0" / "summary.json").write_text(make_summary().to_json())
    assert compare.carry_out(plan, 1, quiet=True, as_json=False) == 0
    out, err = capsys.readouterr()
    assert "espl" in out and "written:" in out and err == ""


def test_comparison_display_names_what_runs(tmp_path: Path):
    console = Console(file=open(os.devnull, "w"), force_terminal=True, width=100)  # noqa: SIM115
    job = script(make_run(tmp_path / "espl-s0"), "")
    with CompareDisplay(console, [job], quiet=False) as display:
        display.started(job)
        paper = Console(width=100, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
        paper.print(display._render())
    text = paper.export_text()
    assert "0/1" in text and "espl-s0 3/1" in text


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    model = make_model(tmp_path_factory.mktemp("model"))
    shape = ["--batch-size=2", "--group-size=2", "--max-tokens=4", "--editor-max-tokens=4", "--eval-samples=1", "--eval-every=0"]
    return [f"--model={model}", *shape]


@pytest.mark.slow
def test_a_run_from_the_command_line(tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert invoke(["run", "--steps=2", "--json", *tiny]) == 0
    out, err = capsys.readouterr()
    summary = Summary.model_validate_json(out)
    assert (summary.method, summary.env, summary.steps, summary.seed) == ("espl", "rulebook", 2, 0)
    assert "[0:00] espl on rulebook, seed 0, 2 steps -> runs/rulebook-espl-s0" in err
    assert invoke(["run", "--steps=2", *tiny]) == 1, "the folder is taken"
    assert "espl-bench resume runs/rulebook-espl-s0" in capsys.readouterr().err
    assert invoke(["run", "--method=base", "--quiet", *tiny]) == 0
    out = capsys.readouterr().out
    assert out.startswith("base rulebook s0: ") and out.count("\n") == 1
    assert invoke(["table", "runs", "--json"]) == 0
    [table] = json.loads(capsys.readouterr().out)["tables"]
    assert {row["method"] for row in table["rows"]} == {"base", "espl"}
    assert invoke(["show", "runs/rulebook-espl-s0"]) == 0
    assert "finished, 2 steps" in capsys.readouterr().out


@pytest.mark.slow
def test_a_stopped_comparison_goes_on_with_the_same_command(tiny: list[str], tmp_path: Path):
    command = [sys.executable, "-m", "espl_bench", "compare", "--methods=espl", "--seeds=1", f"--out={tmp_path}", *tiny]
    environment = {**os.environ, "COLUMNS": "100"}
    process = subprocess.Popen([*command, "--steps=300"], stderr=subprocess.PIPE, text=True, start_new_session=True, env=environment)
    metrics, deadline = tmp_path / "espl-s0" / "metrics.jsonl", time.monotonic() + 100
    while not (metrics.exists() and metrics.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert "1 of 1 runs unfinished; their work is saved; continue with: espl-bench compare --methods=espl" in err
    steps = metrics.read_text().count("\n")
    assert 0 < steps < 300
    done = subprocess.run([*command, "--steps=300"], capture_output=True, text=True, check=False, timeout=PATIENCE_S, env=environment)
    assert done.returncode == 0, done.stderr
    assert metrics.read_text().count("\n") == 300
    assert "espl" in done.stdout and (tmp_path / "table.md").exists()


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
