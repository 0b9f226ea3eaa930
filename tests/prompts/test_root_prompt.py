from pathlib import Path

import pytest

from espl_bench.cli.app import invoke
from espl_bench.cli.commands import run as command
from espl_bench.cli.options import Chosen
from espl_bench.config.run_config import RunConfig
from espl_bench.errors import UsageError
from espl_bench.prompts.root_prompt import read_principles

TEXT = """
1. When parity matters, check both cases.
 2) Before dividing, rule out zero.

- [G3] Draw a figure.
* G4: Try small cases.
[G5] 3.5 is no number of a list
-5 is smaller than 4
• @ larger digit .
-
"""


def test_one_principle_a_line_without_what_numbers_it(tmp_path: Path):
    file = tmp_path / "root.txt"
    file.write_text(TEXT)
    assert read_principles(file) == (
        "When parity matters, check both cases.",
        "Before dividing, rule out zero.",
        "Draw a figure.",
        "Try small cases.",
        "3.5 is no number of a list",
        "-5 is smaller than 4",
        "@ larger digit .",
    )


@pytest.mark.parametrize(("content", "words"), [(None, "cannot be read"), (b"\n \n", "holds no principle"), (b"\xff\xfe", "is not UTF-8")])
def test_a_file_that_holds_none_is_refused_by_name(content: bytes | None, words: str, tmp_path: Path):
    file = tmp_path / "root.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError) as error:
        read_principles(file)
    assert str(file) in str(error.value) and words in str(error.value) and "\n" not in str(error.value)


def test_the_file_becomes_the_root_prompt_of_run_and_compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    seen: list[Chosen] = []
    configure = command.configure

    def watched(method: str, env: str, seed: int, chosen: Chosen) -> RunConfig:
        seen.append(chosen)
        return configure(method, env, seed, chosen)

    monkeypatch.setattr(command, "configure", watched)
    monkeypatch.setattr(command, "dry_run", lambda config, as_json, budget: None)
    (tmp_path / "root.txt").write_text("1. One.\n2. Two.\n")
    assert invoke(["run", "--root-prompt", str(tmp_path / "root.txt"), "--dry-run"]) == 0
    assert seen[0].principles == ("One.", "Two.") and seen[0].choices()["root_principles"] == ("One.", "Two.")
    assert invoke(["run", *seen[0].arguments(), "--dry-run"]) == 0
    assert seen[1] == seen[0], "as it is passed on to the runs of a comparison"


def test_two_root_prompts_are_one_too_many(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "root.txt").write_text("One.")
    assert invoke(["run", "--root-prompt", str(tmp_path / "root.txt"), "--principle", "Two."]) == 2
    assert "give one of them" in capsys.readouterr().err
