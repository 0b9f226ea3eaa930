"""Wording of an environment's own: the dialect task, folders that extend another, and templates that extend templates."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from espl_bench.environment.text_env import USUAL_WORDING, Wording
from espl_bench.errors import TemplateError, UsageError
from espl_bench.prompts.dialect import BUILT_IN, Dialect, Placement, TemplateName
from espl_bench.tools.tool_spec import Parameter, ToolSpec

SPELLING = Wording("You spell words backwards.", "End with a line: Answer: WORD")
LEARNT = "a6242186df8f7f6e09b7b76d01cc21e6aff47ca2c3e43159a71f230235246326"
"""Hash of the dialect that the lab models learnt to the letter: with another, their results are no longer those published."""


def said(dialect: Dialect, principles: tuple[str, ...] = ("Look twice.",)) -> list[str]:
    return [message.content for message in dialect.prompt_messages(principles, "Spell 'abc' backwards.", Placement.SYSTEM)]


def test_an_environment_s_two_lines_are_said_before_the_principles_and_after_the_question():
    system, problem = said(replace(Dialect.load("task"), wording=SPELLING))
    assert system.startswith("You spell words backwards.\n\nThe principles below") and system.endswith("[G0] Look twice.")
    assert problem == "Spell 'abc' backwards.\n\nEnd with a line: Answer: WORD"
    assert said(replace(Dialect.load("task"), wording=SPELLING), ())[0] == "You spell words backwards."


def test_without_words_of_its_own_nothing_is_said_of_the_answer():
    assert said(Dialect.load("task"), ()) == [USUAL_WORDING.task, "Spell 'abc' backwards."]


def test_tools_are_described_between_the_task_and_the_principles():
    tool = ToolSpec("price", "Tells a price.", (Parameter("item", "string", "what"),))
    system = said(replace(Dialect.load("task"), wording=SPELLING, tools=(tool,)))[0]
    assert system.index(SPELLING.task) < system.index("price: Tells a price.") < system.index("[G0]")


@pytest.mark.parametrize("name", ["compact", "full", "short"])
def test_a_dialect_with_words_of_its_own_ignores_an_environment_s(name: str):
    assert said(replace(Dialect.load(name), wording=SPELLING)) == said(Dialect.load(name))


def folder(path: Path, **files: str) -> str:
    path.mkdir(parents=True)
    for name, text in files.items():
        (path / f"{name}.{'txt' if name in ('extends', 'irrelevant') else 'jinja'}").write_text(text)
    return str(path)


def test_a_folder_takes_what_it_lacks_from_the_dialect_that_it_extends(tmp_path: Path):
    own = Dialect.load(folder(tmp_path / "own", extends="full\n", problem="Q: {{ question }}"))
    system, problem = said(own)
    assert problem == "Q: Spell 'abc' backwards." and system == said(Dialect.load("full"))[0]
    assert own.irrelevant() == Dialect.load("full").irrelevant()
    full = Dialect.load("full").identity()
    assert {name for name, hashed in own.identity().items() if full.get(name) != hashed} == {"problem.jinja"}


def test_a_template_replaces_a_block_of_another_s(tmp_path: Path):
    text = "{% extends 'task/problem.jinja' %}{% block question %}Puzzle: {{ question }}\n{% endblock %}"
    own = replace(Dialect.load(folder(tmp_path / "own", extends="task", problem=text)), wording=SPELLING)
    assert said(own)[1] == "Puzzle: Spell 'abc' backwards.\n\nEnd with a line: Answer: WORD"
    assert "task/problem.jinja" in own.identity()


def test_an_environment_s_words_are_part_of_the_identity():
    task = Dialect.load("task")
    assert "wording" not in task.identity()
    one, other = (replace(task, wording=Wording(words)).identity()["wording"] for words in ("a", "b"))
    assert one != other


def test_a_folder_that_extends_nothing_and_lacks_a_template_is_told_how_to(tmp_path: Path):
    with pytest.raises(
        TemplateError, match=r"is missing; write it, or name in extends\.txt the dialect that it is taken from, e\.g\. full"
    ):
        Dialect.load(folder(tmp_path / "own", problem="{{ question }}"))


def test_a_dialect_that_is_not_there_cannot_be_extended(tmp_path: Path):
    with pytest.raises(UsageError, match="unknown dialect 'ful'; did you mean 'full'"):
        Dialect.load(folder(tmp_path / "own", extends="ful"))


def test_dialects_that_extend_each_other_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    places = {"one": tmp_path / "one", "two": tmp_path / "two"}
    folder(places["one"], extends="two")
    folder(places["two"], extends="one")
    monkeypatch.setattr("espl_bench.prompts.dialect.find", lambda seam, name: places[name])
    monkeypatch.setattr("espl_bench.prompts.dialect.require", lambda seam, name: None)
    with pytest.raises(TemplateError, match="which extends it in turn; name another dialect"):
        Dialect.load("one")


def test_the_dialect_of_the_lab_models_is_untouched():
    digest = hashlib.sha256()
    for path in sorted((BUILT_IN / "compact").iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    assert digest.hexdigest() == LEARNT


@pytest.mark.parametrize("name", ["compact", "full", "search", "short"])
def test_a_dialect_of_whole_templates_is_identified_by_them_alone(name: str):
    assert Dialect.load(name).base is None
    assert sorted(Dialect.load(name).identity()) == sorted(
        path.name for path in (BUILT_IN / name).iterdir() if path.stem in {*TemplateName, "irrelevant"}
    )
