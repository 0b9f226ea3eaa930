"""Families of environments: names, and specs that are made when they are asked for."""

import sys
from importlib.metadata import EntryPoint

import pytest

from espl_bench import registry
from espl_bench.environment import catalogue
from espl_bench.environment.catalogue import code_behind, find_environment, require_environment, wording_of
from espl_bench.environment.family import EnvironmentFamily
from espl_bench.environment.text_env import EnvironmentSpec, Wording
from espl_bench.errors import UsageError
from espl_bench.registry import FAMILIES
from espl_bench.utils.names import fault_of_environment, in_file_names


def member(name: str) -> EnvironmentSpec:
    if name != "two":
        raise UsageError(f"there is no {name}")
    return EnvironmentSpec("tens:two", "t/Tens-v0", "small_envs:Sums", "twenty", wording=Wording("You count."))


TENS = EnvironmentFamily("tens", "t/Tens-v0", "small_envs:Sums", "tens", lambda: ("two",), member, "two")


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("tens", f"{__name__}:TENS", FAMILIES.group)
    real = registry._points
    monkeypatch.setattr(registry, "_points", lambda seam: {"tens": point} if seam is FAMILIES else real(seam))
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    registry.find.cache_clear()


def test_a_member_is_found_and_its_spec_is_made_when_it_is_asked_for():
    assert find_environment("tens:two").summary == "twenty" and wording_of("tens:two").task == "You count."
    assert wording_of("tens-two") == Wording(), "a name that is not registered has the usual words"
    code = code_behind("tens:two")
    assert code is not None and code.module == __name__ and code_behind("ones:two") is None


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("tens:three", "there is no three"),
        ("tens", "is a family of environments; name one as tens:NAME"),
        ("ten:two", "unknown family of environments 'ten'; did you mean 'tens'?"),
        ("tans", "unknown environment 'tans'; did you mean 'tens'?"),
    ],
)
def test_what_is_no_member_is_answered_in_one_line(name: str, answer: str):
    with pytest.raises(UsageError) as error:
        find_environment(name)
    assert answer in str(error.value) and "\n" not in str(error.value)


def test_a_check_looks_for_a_name_without_importing_what_is_behind_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(catalogue, "find", lambda seam, name: pytest.fail("imported"))
    require_environment("tens:anything")
    require_environment("rulebook")


@pytest.mark.parametrize("name", ["rulebook", "tens:two", "reasoning-gym:countdown+gcd"])
def test_a_name_that_becomes_a_part_of_a_files_has_no_colon_there(name: str):
    assert fault_of_environment(name) is None and ":" not in in_file_names(name)


@pytest.mark.parametrize(
    "name", ["", ":", "tens:", ":two", "tens:two:three", "../tens:two", "tens:../two", "tens:a/b", "con:two", "tens:\n"]
)
def test_a_name_that_would_leave_its_folder_is_none(name: str):
    assert fault_of_environment(name)
