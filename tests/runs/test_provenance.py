import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from checked import present

import espl_bench
from espl_bench.config.sections import check_address
from espl_bench.errors import OptionError, UsageError
from espl_bench.retrieval.http import HttpRetriever
from espl_bench.runs import git_state
from espl_bench.runs.git_state import checkout_state
from espl_bench.runs.provenance import PACKAGES, collect
from espl_bench.utils.hashing import fingerprint
from espl_bench.utils.redaction import MASK, mask_argv, mask_key, mask_text

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="no git here")


def git(folder, *arguments):
    identity = {f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    plain = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"} | identity
    subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, env=plain)


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init")
    (folder / "code.py").write_text("one = 1\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-m", "first")
    return folder


def model(folder, **files):
    contents = {"config.json": "{}", "tokenizer.json": "[]", "model.safetensors": "weights", "README.md": "x"} | files
    folder.mkdir(parents=True)
    for name, text in contents.items():
        (folder / name).write_text(text)
    return folder


# Collecting


def test_it_is_json_and_says_what_ran(tmp_path):
    found = collect(str(model(tmp_path / "m")), ["/home/me/espl-bench", "run", "--seed", "3"], {"dataset": {"sha256": "ab"}})
    assert json.loads(json.dumps(found)) == found
    assert found["espl_bench"] == espl_bench.__version__
    assert found["argv"] == ["espl-bench", "run", "--seed", "3"]
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert set(found["packages"]) == set(PACKAGES) and found["packages"]["pydantic"]
    assert found["hardware"]["cores"] >= found["hardware"]["cores_usable"] >= 1
    assert found["hardware"]["memory_bytes"] > 2**28
    assert found["model"]["fingerprint"]["sha256"]
    assert found["facts"] == {"dataset": {"sha256": "ab"}}
    assert found["started_utc"].endswith("+00:00")


def test_it_works_without_git_and_without_a_model_folder(monkeypatch):
    monkeypatch.setenv("PATH", "")
    found = collect("somebody/some-model")
    assert found["git"] is None
    assert found["model"] == {"name": "somebody/some-model", "fingerprint": None}


def test_it_asks_git_four_questions_and_waits_for_each_only_so_long(monkeypatch):
    """What else could take time, importing torch and hashing a model, has tests of its own."""
    limits = []
    run = subprocess.run

    def counted(*arguments, **named):
        limits.append(named["timeout"])
        return run(*arguments, **named)

    monkeypatch.setattr(subprocess, "run", counted)
    collect("somebody/some-model")
    assert 1 <= len(limits) <= 4 and max(limits) <= 5


def test_it_does_not_import_torch():
    code = (
        "from espl_bench.runs.provenance import collect; found = collect('m'); import sys; print('torch' in sys.modules, found['hardware'])"
    )
    root = Path(espl_bench.__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert done.stdout.startswith("False ") and "'accelerator': None" in done.stdout, done.stderr


def test_no_environment_variable_is_written(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "value-of-a-variable")
    assert "value-of-a-variable" not in json.dumps(collect("m"))


# The model


def test_equal_files_have_equal_fingerprints_and_others_do_not_count(tmp_path):
    first = present(fingerprint(model(tmp_path / "a")))
    assert fingerprint(model(tmp_path / "b", **{"README.md": "y"})) == first
    assert set(first["files"]) == {"config.json", "tokenizer.json", "model.safetensors"}


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors", "model-2.safetensors"])
def test_each_file_counts(tmp_path, name):
    changed = present(fingerprint(model(tmp_path / "b", **{name: "other"})))
    assert changed["sha256"] != present(fingerprint(model(tmp_path / "a")))["sha256"]


def test_a_folder_without_a_model_has_no_fingerprint(tmp_path):
    assert fingerprint(tmp_path) is None
    assert fingerprint(tmp_path / "none") is None


# The checkout


@needs_git
def test_a_clean_checkout_is_its_commit(repository):
    state = present(checkout_state(repository))
    assert len(state["commit"]) == 40
    assert (state["dirty"], state["diff"], state["untracked"], state["diff_truncated"]) == (False, "", [], False)


@needs_git
def test_uncommitted_changes_are_kept_staged_or_not(repository):
    (repository / "code.py").write_text("one = 2\n")
    (repository / "staged.py").write_text("two = 2\n")
    git(repository, "add", "staged.py")
    (repository / "new.py").write_text("")
    state = present(checkout_state(repository))
    assert state["dirty"] and state["untracked"] == ["new.py"]
    assert "-one = 1\n+one = 2\n" in state["diff"] and "+two = 2" in state["diff"]


@needs_git
def test_a_long_diff_is_cut(repository, monkeypatch):
    monkeypatch.setattr(git_state, "DIFF_LIMIT", 1000)
    (repository / "code.py").write_text("line\n" * 1000)
    state = present(checkout_state(repository))
    assert len(state["diff"]) == 1000 and state["diff_truncated"]


@needs_git
def test_a_credential_in_the_diff_is_masked(repository):
    (repository / "code.py").write_text(f"key = 'hf_{'x' * 30}'\n")
    assert f"+key = '{MASK}'" in present(checkout_state(repository))["diff"]


@needs_git
def test_a_checkout_before_its_first_commit_has_none(tmp_path):
    git(tmp_path, "init")
    (tmp_path / "code.py").write_text("")
    state = present(checkout_state(tmp_path))
    assert state["commit"] is None and state["dirty"] and state["untracked"] == ["code.py"]


@needs_git
def test_a_package_inside_somebody_elses_checkout_does_not_take_its_commit(repository, tmp_path):
    inside = repository / "venv" / "site-packages"
    inside.mkdir(parents=True)
    assert checkout_state(inside) is None
    assert checkout_state(tmp_path / "nowhere") is None


@needs_git
def test_a_hooks_git_variables_do_not_mislead(repository, tmp_path, monkeypatch):
    expected = checkout_state(repository)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert checkout_state(repository) == expected


# Masking


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (["--api-key", "abc"], ["--api-key", MASK]),
        (["--api-key=abc"], [f"--api-key={MASK}"]),
        (["--hf-token", "abc", "--seed", "1"], ["--hf-token", MASK, "--seed", "1"]),
        (["--token", "123"], ["--token", MASK]),
        (["--client_secret=a=b"], [f"--client_secret={MASK}"]),
        (["--PASSWORD", "abc"], ["--PASSWORD", MASK]),
        (["--env-option", "api_key=abc"], ["--env-option", f"api_key={MASK}"]),
        (["--env-option=api_key=abc"], [f"--env-option=api_key={MASK}"]),
        (["openai_key=abc"], [f"openai_key={MASK}"]),
        (["--max-tokens", "64"], ["--max-tokens", "64"]),
        (["--editor-max-tokens=64"], ["--editor-max-tokens=64"]),
        (["--max-tokens-total", "64"], ["--max-tokens-total", "64"]),
        (["--token-budget", "16384"], ["--token-budget", "16384"]),
        (["--max-tokens", "abc"], ["--max-tokens", MASK]),
        (["--tokenizer", "folder"], ["--tokenizer", "folder"]),
        (["--use-key", "--seed", "1"], ["--use-key", "--seed", "1"]),
        (["--model", f"hf_{'a' * 20}"], ["--model", MASK]),
        (["--server", "https://me:pass@host/v1"], ["--server", f"https://{MASK}@host/v1"]),
        (["--env", "rulebook", "--env-option", "world=3"], ["--env", "rulebook", "--env-option", "world=3"]),
    ],
)
def test_credentials_on_the_command_line_are_masked_and_counts_are_not(given, kept):
    assert mask_argv(["/usr/bin/espl-bench", *given]) == ["espl-bench", *kept]


def test_ordinary_text_is_not_masked():
    text = "risk-averse sk-learn hf_model task: monkey@zoo https://host/path?mail=me@zoo key-value-attention-heads eyJ. bearer of news"
    assert mask_text(text) == text


JWT = f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.{'s' * 43}"


@pytest.mark.parametrize(
    "key",
    [
        *(
            f"{prefix}{'a1B2' * 8}"
            for prefix in ("gsk_", "xai-", "nvapi-", "hf_", "sk-", "sk-ant-api03-", "r8_", "fw_", "pplx-", "ghp_", "tml-")
        ),
        *(
            JWT,
            "AKIAIOSFODNN7EXAMPLE",
            "ASIAIOSFODNN7EXAMPLE",
            f"AIza{'x' * 35}",
            "dapi" + "0f" * 16,
            f"ya29.{'x' * 30}",
            "xoxe-1234567890",
        ),
    ],
)
def test_keys_of_known_forms_are_masked_whole_wherever_they_stand(key: str):
    for text in ("{}", "key={}", "http://host/{}/v1", "http://host/v1?k={}", "'{}',", "Authorization: Bearer {}", '("{}")'):
        assert mask_text(text.format(key)) == text.format(MASK), text


@pytest.mark.parametrize("login", ["me:pass", "me:p@ss:w", "token", ":only", "a:b%40c"])
def test_a_login_in_an_address_is_masked_whole(login: str):
    assert mask_text(f"at https://{login}@host/v1 and on") == f"at https://{MASK}@host/v1 and on"


def test_a_header_with_a_key_of_any_form_is_masked():
    text = "said: Authorization: Bearer abcdefgh12345678; x-api-key: 0123456789abcdef01"
    assert mask_text(text) == f"said: Authorization: Bearer {MASK}; x-api-key: {MASK}"


@pytest.mark.parametrize("path", [f"gsk_{'a' * 30}", JWT, f"v1/sk-{'b' * 30}/chat"])
def test_an_address_that_holds_a_key_is_refused_unseen(path: str):
    for name in ("base_url", "editor_base_url"):
        with pytest.raises(OptionError, match="put the key into the environment") as error:
            check_address(f"https://gateway/{path}", name)
        assert "aaaa" not in str(error.value) and "eyJ" not in str(error.value)
    with pytest.raises(UsageError) as refused:
        HttpRetriever(f"https://gateway/{path}")
    assert path not in str(refused.value)


@pytest.mark.parametrize(
    ("key", "text", "shown"),
    [
        ("x", "a box, x-ray, x_1 and x: bad key 'x'", "a box, x-ray, x_1 and ***: bad key '***'"),
        ("local", "localhost refuses local.", "localhost refuses ***."),
        ("a.b", "aab a.b", "aab ***"),
        ("0123456789abcdef", r"bad key\n0123456789abcdef\n", r"bad key\n***\n"),
        (None, f"sk-{'a' * 16}", MASK),
        ("", "nothing", "nothing"),
    ],
)
def test_a_short_key_is_masked_as_a_word_and_a_long_one_anywhere(key, text, shown):
    assert mask_key(text, key) == shown
