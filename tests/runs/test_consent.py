"""What a file from disk connects to, and which key it sends, is confirmed by the user; what they started themselves goes on."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import platformdirs
import pytest
from endpoint_server import Handler, serving

from espl_bench import runner
from espl_bench.cli.app import invoke
from espl_bench.config.contacts import contacts_of
from espl_bench.config.resolve import resolve
from espl_bench.config.run_config import RunConfig
from espl_bench.errors import EsplError, UsageError
from espl_bench.monitoring import tracking
from espl_bench.monitoring.reporter import Silent
from espl_bench.runs.consent import Consent, Origin
from espl_bench.runs.run_dir import CONFIG, RunDir
from espl_bench.utils import key_names

SECRET = "AKIA-not-for-you-0123456789abcdef"


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(key_names, "_allowed", set())
    for name in ("AWS_SECRET_ACCESS_KEY", "OPENAI_API_KEY", "TOGETHER_API_KEY"):
        monkeypatch.setenv(name, f"{SECRET}-{name}")


@pytest.fixture
def heard() -> Iterator[tuple[str, list[str]]]:
    """An endpoint that answers, and the logins it was sent."""
    logins: list[str] = []

    class Listens(Handler):
        def do_GET(self) -> None:
            logins.append(self.headers.get("Authorization", ""))
            self.refuse(404, "lists nothing")

        def do_POST(self) -> None:
            logins.append(self.headers.get("Authorization", ""))
            self.body()
            choice = {"index": 0, "message": {"role": "assistant", "content": r"\boxed{2}"}, "finish_reason": "stop"}
            usage = {"prompt_tokens": 2, "completion_tokens": 2}
            self.reply(200, json.dumps({"object": "chat.completion", "choices": [choice], "usage": usage}).encode())

    with serving(Listens) as base_url:
        yield base_url, logins


def config(base_url: str, method: str = "evolution_only", **choices: object) -> RunConfig:
    shape = {"steps": 1, "num_prompts": 1, "batch_size": 1, "group_size": 1, "eval_samples": 1, "eval_every": 0, "max_tokens": 8}
    return resolve(method, "rulebook", {**shape, "engine": "openai", "base_url": base_url, "model": "m", "request_tries": 1, **choices})


def strangers(folder: Path, configured: RunConfig) -> Path:
    """A run directory that somebody hands over."""
    RunDir.create(folder, configured, provenance={})
    return folder


def said(command: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of a command that is refused."""
    assert invoke(command) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    return err


def test_a_stranger_s_run_sends_no_variable_anywhere(tmp_path: Path, heard, capsys: pytest.CaptureFixture[str]):
    base_url, logins = heard
    run = strangers(tmp_path / "theirs", config(base_url, api_key_env="AWS_SECRET_ACCESS_KEY"))
    line = said(["resume", str(run)], capsys)
    assert f"the model m at {base_url}, which gets the key in AWS_SECRET_ACCESS_KEY" in line and logins == []
    assert f"espl-bench resume {run} --contact={base_url} --send-key=AWS_SECRET_ACCESS_KEY" in line
    assert "--send-key=AWS_SECRET_ACCESS_KEY" in said(["resume", str(run), "--contact", base_url], capsys) and logins == []
    with pytest.raises(UsageError, match="was not put there by you"):
        runner.resume(run)
    invoke(["resume", str(run), "--contact", base_url, "--send-key", "AWS_SECRET_ACCESS_KEY", "--quiet"])
    assert f"Bearer {SECRET}-AWS_SECRET_ACCESS_KEY" in logins, "the user has said so"


def test_the_usual_key_is_not_sent_to_an_address_that_a_file_names_either(tmp_path: Path, heard, capsys: pytest.CaptureFixture[str]):
    base_url, logins = heard
    assert "the key in OPENAI_API_KEY" in said(["resume", str(strangers(tmp_path / "theirs", config(base_url)))], capsys)
    assert logins == []


def test_the_editor_the_retriever_and_what_looks_like_an_address_are_contacts_too():
    editor = {
        "editor_model": "e",
        "editor_engine": "openai",
        "editor_base_url": "http://b/v1",
        "editor_api_key_env": "AWS_KEY",
    }
    options = {
        "retriever": "http",
        "retriever_url": "http://c",
        "judge_host": "d",
        "api_key_env": "GITHUB_TOKEN",
        "top_k": 3,
        "corpus": "x",
        "tools": [{"server": "http://inside/mcp", "names": ["a"]}, "http://bare/"],
        "judge": {"url": "e", "api_key_env": "JUDGE_KEY"},
    }
    found = {
        (contact.place, contact.key) for contact in contacts_of(config("http://a/v1", **editor).model_copy(update={"env_options": options}))
    }
    assert found == {
        *(("http://a/v1", "OPENAI_API_KEY"), ("http://b/v1", "AWS_KEY"), ("http://c", None), ("d", None)),
        *(("http://inside/mcp", None), ("http://bare/", None), ("e", None), ("rulebook", "JUDGE_KEY")),
        ("rulebook", "GITHUB_TOKEN"),
    }
    service = resolve("espl", "rulebook", {"engine": "tinker", "model": "m"})
    assert [(contact.place, contact.key) for contact in contacts_of(service)] == [("tinker", "TINKER_API_KEY")]
    assert contacts_of(resolve("espl", "rulebook", {"model": "m", "engine": "hf", "env_options": {"world": 3}})) == ()
    live = resolve("espl", "rulebook", {"model": "m", "engine": "hf", "env_options": {"retriever": "ddgs"}})
    assert [contact.place for contact in contacts_of(live)] == ["ddgs"]


def test_a_program_that_a_file_names_is_confirmed_too():
    def named(command: str | list[str]) -> list[tuple[str, str]]:
        choices = {"model": "m", "engine": "hf", "env_options": {"command": command}}
        return [(contact.place, str(contact)) for contact in contacts_of(resolve("rl_only", "rulebook", choices))]

    told = "the environment's command by running python 'my agent.py'"
    assert named(["python", "my agent.py"]) == named("python 'my agent.py'") == [("python 'my agent.py'", told)]


@pytest.fixture
def mine(tmp_path: Path, heard) -> Path:
    """A run that this user started, and that ended before its end."""
    command = ["run", "--method=evolution_only", "--env=rulebook", "--engine=openai", f"--base-url={heard[0]}", "--model=m", "--steps=1"]
    small = ["--num-prompts=1", "--batch-size=1", "--group-size=1", "--eval-samples=1", "--eval-every=0", "--max-tokens=8"]
    assert invoke([*command, *small, "--max-tokens-total=8", "--quiet", "--out", str(tmp_path / "mine")]) == 1, "the limit ends it"
    return tmp_path / "mine"


def test_a_run_of_one_s_own_goes_on_and_a_copy_or_a_change_of_it_does_not(mine: Path, heard, tmp_path: Path, capsys):
    base_url, logins = heard
    logins.clear()
    capsys.readouterr()
    copy = Path(shutil.copytree(mine, tmp_path / "copy"))
    assert base_url in said(["resume", str(copy)], capsys), "a stranger may have made the copy"
    written = (mine / CONFIG).read_text()
    for change in (
        (base_url, "http://127.0.0.1:9/v1"),
        ('"api_key_env": null,\n    "concurrency"', '"api_key_env": "TOGETHER_API_KEY",\n    "concurrency"'),
        ('"lr": ', '"lr":  '),
    ):
        assert change[0] in written
        (mine / CONFIG).write_text(written.replace(*change))
        assert "was not put there by you" in said(["resume", str(mine)], capsys)
    (mine / CONFIG).write_text(written)
    assert logins == []
    invoke(["resume", str(mine), "--max-tokens-total=30", "--quiet"])
    assert f"Bearer {SECRET}-OPENAI_API_KEY" in logins


def test_a_record_that_others_can_write_does_not_count(mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    capsys.readouterr()
    [record] = (platformdirs.user_state_path("espl-bench") / "own").iterdir()
    assert record.stat().st_mode & 0o777 == 0o600 and record.parent.stat().st_mode & 0o777 == 0o700
    record.chmod(0o666)
    said(["resume", str(mine)], capsys)
    record.chmod(0o600)
    target = tmp_path / "elsewhere.json"
    record.rename(target)
    record.symlink_to(target)
    said(["resume", str(mine)], capsys)
    record.unlink()
    record.write_text("[]")
    said(["resume", str(mine)], capsys)


def test_the_user_s_own_configuration_confirms_too_unless_others_can_write_it(tmp_path: Path, heard, capsys: pytest.CaptureFixture[str]):
    base_url, logins = heard
    run = strangers(tmp_path / "theirs", config(base_url, api_key_env="AWS_SECRET_ACCESS_KEY"))
    trust = platformdirs.user_config_path("espl-bench") / "trust.toml"
    trust.parent.mkdir(parents=True)
    trust.write_text(f'contacts = ["{base_url}"]\nkeys = ["AWS_SECRET_ACCESS_KEY"]\n')
    trust.chmod(0o666)
    assert "can be written by others" in said(["resume", str(run)], capsys) and logins == []
    for broken in ("contacts = 3", "nonsense", 'address = ["x"]'):
        trust.write_text(broken)
        trust.chmod(0o600)
        assert "trust.toml" in said(["resume", str(run)], capsys)
    trust.write_text(f'contacts = ["{base_url}"]\nkeys = ["AWS_SECRET_ACCESS_KEY"]\n')
    invoke(["resume", str(run), "--quiet"])
    assert f"Bearer {SECRET}-AWS_SECRET_ACCESS_KEY" in logins


def test_only_variables_on_the_list_are_sent(heard):
    from espl_bench.engines.openai.endpoint import read_key

    with pytest.raises(UsageError, match="not on the list of variables that hold keys"):
        read_key("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(UsageError, match="not on the list"):
        read_key("NOT_SET_AND_NOT_LISTED")
    assert read_key("TOGETHER_API_KEY") is not None
    key_names.allow(["AWS_SECRET_ACCESS_KEY"])
    assert read_key("AWS_SECRET_ACCESS_KEY") is not None


# Grids and sweeps


def grid_of(folder: Path, base_url: str, out: str = "") -> Path:
    grid = folder / "grid.toml"
    options = f'engine = "openai"\nbase_url = "{base_url}"\nmodel = "m"\napi_key_env = "AWS_SECRET_ACCESS_KEY"\nsteps = 1\n'
    options = options.replace('model = "m"\n', "")
    grid.write_text(f'methods = ["evolution_only"]\nenvironments = ["rulebook"]\nmodels = ["m"]\nseeds = [0]\n{out}[options]\n{options}')
    return grid


def test_a_grid_and_a_sweep_choose_no_address_either(tmp_path: Path, heard, capsys: pytest.CaptureFixture[str]):
    base_url, logins = heard
    grid, out = grid_of(tmp_path, base_url), tmp_path / "sweep"
    line = said(["sweep", "run", str(grid), "--out", str(out), "--jobs", "1"], capsys)
    assert f"{base_url}, which gets the key in AWS_SECRET_ACCESS_KEY" in line and logins == [] and not out.exists()
    from espl_bench.sweep.grid import make_cells, read_grid
    from espl_bench.sweep.storage import SWEEP, SweepFile

    read = read_grid(grid)
    out.mkdir()
    (out / SWEEP).write_text(SweepFile.of(read, make_cells(read)).model_dump_json())
    assert base_url in said(["sweep", "resume", str(out), "--jobs", "1"], capsys) and logins == []
    from espl_bench.sweep.cell_worker import main

    [cell] = make_cells(read)
    assert main(str(out), cell.name) == 1 and "has changed since it was confirmed" in capsys.readouterr().err and logins == []


def test_a_grid_does_not_choose_a_place_elsewhere_for_the_runs(tmp_path: Path, heard, capsys: pytest.CaptureFixture[str]):
    line = said(["sweep", "run", str(grid_of(tmp_path, heard[0], 'out = "memory://theirs"\n')), "--jobs", "1"], capsys)
    assert "the storage of the runs at memory://theirs" in line


# Trackers


def test_a_stranger_s_run_tells_no_tracker_its_numbers(tmp_path: Path):
    (tmp_path / tracking.TRACKING).write_text('{"id": "abc", "trackers": ["wandb", "tensorboard"]}')
    with (
        pytest.raises(UsageError, match=r"the tracker at wandb; if you mean that: espl-bench resume .* --contact=wandb"),
        tracking.tracked(Silent(), tmp_path, ()),
    ):
        pytest.fail("the tracker was opened")
    Origin.of(tmp_path / tracking.TRACKING).remember(tracking.contacts_of_trackers(["wandb"]))
    with tracking.tracked(Silent(), tmp_path, ()) as reporter:
        assert isinstance(reporter, tracking.Tracking)
    (tmp_path / tracking.TRACKING).write_text('{"id": "abd", "trackers": ["wandb"]}')
    with pytest.raises(UsageError), tracking.tracked(Silent(), tmp_path, ()):
        pytest.fail("with the id of another run")
    with tracking.tracked(Silent(), tmp_path, (), Consent.of(["wandb"], None)):
        pass


@pytest.mark.parametrize("within", ["run", "."])
def test_a_file_beside_a_run_does_not_choose_where_its_numbers_go(within: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("wandb")
    from espl_bench.monitoring.trackers import Tracked, WandB

    monkeypatch.chdir(tmp_path)
    settings = tmp_path / within / "wandb" / "settings"
    settings.parent.mkdir(parents=True)
    settings.write_text("[default]\nbase_url = http://127.0.0.1:9\n")
    with pytest.raises(EsplError, match="would choose where the numbers and the key go"):
        WandB(Tracked("id", "espl-bench", "name", tmp_path / "run", {}, 0))
