"""A model from elsewhere: neither code nor a pickle of it is ever run, whatever loads it, and it is refused in one line."""

import ast
import json
import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from data_fixtures import write_jsonl
from espl_envs.lab import MODEL
from espl_envs.search.env import SearchEnv
from espl_envs.search.rows import Served
from report_fixtures import make_run
from retrieval_fixtures import PASSAGES

from espl_bench.cli.app import invoke
from espl_bench.engines.hf.model_loading import load_model
from espl_bench.errors import ModelError
from espl_bench.retrieval import dense
from espl_bench.retrieval.open_retriever import RetrieverOptions, identity_of
from espl_bench.tools.tool_env import ToolLimits

ROOT = Path(__file__).parents[2]


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The lab model in a folder of its own. Nobody answers a question on the terminal."""
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asks on the terminal"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    return Path(shutil.copytree(MODEL, tmp_path / "model"))


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def code(folder: Path, name: str) -> Path:
    """A module that leaves a trace when it is run."""
    trace = folder.parent / "trace"
    (folder / f"{name}.py").write_text(f"open({str(trace)!r}, 'w').close()\nclass Theirs: pass\n")
    return trace


def refused(model: Path) -> str:
    with pytest.raises(ModelError) as error:
        load_model(str(model), torch.float32)
    said = str(error.value)
    assert "\n" not in said and "trust_remote_code" not in said and "weights_only" not in said and "hf.co" not in said
    return said


def test_code_of_a_configuration_is_never_run(model: Path):
    trace = code(model, "theirs")
    change(model / "config.json", model_type="theirs", auto_map={"AutoConfig": "theirs.Theirs", "AutoModelForCausalLM": "theirs.Theirs"})
    assert "brings code of its own (auto_map in config.json), which is never run" in refused(model) and not trace.exists()


def test_code_of_a_tokenizer_is_never_run(model: Path):
    trace = code(model, "theirs")
    change(model / "tokenizer_config.json", tokenizer_class="Theirs", auto_map={"AutoTokenizer": ["theirs.Theirs", None]})
    assert "brings code of its own (auto_map in tokenizer_config.json)" in refused(model) and not trace.exists()


def test_code_beside_a_class_that_is_known_is_passed_over(model: Path):
    trace = code(model, "theirs")
    change(model / "config.json", auto_map={"AutoModelForCausalLM": "theirs.Theirs"})
    (model / "custom_generate").mkdir()
    shutil.copy(model / "theirs.py", model / "custom_generate" / "generate.py")
    load_model(str(model), torch.float32)
    assert not trace.exists()


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
def test_a_kernel_of_the_hub_is_refused(model: Path, key: str):
    change(model / "config.json", **{key: "stranger/kernel@main"})
    assert "names code of its own" in refused(model)


class Evil:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return open, (str(self.trace), "w")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "consolidated.00.pth", "model.ckpt", "weights.pkl"])
def test_pickled_weights_are_refused(model: Path, name: str):
    for weights in model.glob("*.safetensors"):
        weights.unlink()
    trace = model.parent / "trace"
    (model / name).write_bytes(pickle.dumps(Evil(trace)))
    assert f"has its weights in {name} and not in safetensors" in refused(model) and not trace.exists()


@pytest.mark.parametrize("file", ["evil.bin", "../model/evil.safetensors.bin", "../elsewhere/model.safetensors"])
def test_an_index_leads_to_no_other_file(model: Path, file: str):
    trace = model.parent / "trace"
    (model / "evil.bin").write_bytes(pickle.dumps(Evil(trace)))
    (model / "model.safetensors").unlink()
    (model / "other.safetensors").touch()
    (model / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": {"a": file}}))
    assert "not in safetensors" in refused(model) and not trace.exists()


def test_an_adapter_does_not_lead_to_another_model(model: Path):
    (model / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "stranger/model"}))
    assert "is an adapter of another model" in refused(model)


# Embedders


@pytest.fixture
def embedder(tmp_path: Path) -> Path:
    folder = tmp_path / "embedder"
    (folder / "1_Dense").mkdir(parents=True)
    (folder / "modules.json").write_text(json.dumps([{"idx": 0, "name": "0", "path": "", "type": "theirs.Theirs"}]))
    code(folder, "theirs")
    return folder


def options(corpus: Path, embedder: Path) -> RetrieverOptions:
    return RetrieverOptions("dense", corpus=str(corpus), embedder=str(embedder))


def test_the_identity_of_a_dense_retriever_opens_no_model(tmp_path: Path, embedder: Path):
    corpus = write_jsonl(tmp_path / "corpus.jsonl", PASSAGES)
    assert identity_of(options(corpus, embedder)).startswith("dense by embedder ") and not (tmp_path / "trace").exists()


def test_an_environment_that_searches_tells_its_identity_without_opening_a_retriever(
    tmp_path: Path, embedder: Path, monkeypatch: pytest.MonkeyPatch
):
    """`verify` asks for it: a stranger's run would have its embedder loaded."""
    corpus = write_jsonl(tmp_path / "corpus.jsonl", PASSAGES)
    monkeypatch.setattr("espl_envs.search.env.open_retriever", lambda options: pytest.fail("opens the retriever"))
    retrieval = {"retriever": "dense", "corpus": str(corpus), "embedder": str(embedder)}
    env = SearchEnv(Served({}), {}, retrieval, ToolLimits(), top_k=3, max_queries=3, passage_chars=100)
    assert env.data_identity() == {"retrieval": identity_of(options(corpus, embedder))}


def test_verify_of_a_stranger_s_run_opens_no_embedder(
    tmp_path: Path, embedder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("ESPL_BENCH_DATA", str(tmp_path / "home"))
    monkeypatch.setattr(dense.DenseRetriever, "open", lambda *_: pytest.fail("opens the retriever"))
    for split, source in (("train", "nq-open-train"), ("test", "nq-open-dev")):
        asked = write_jsonl(tmp_path / f"{split}.jsonl", ({"question": f"where in {split} is {n} ?", "answer": ["x"]} for n in range(40)))
        assert invoke(["data", "import", "nq", "--split", split, "--source", source, "--from", str(asked)]) == 0
    run = make_run(tmp_path / "run")
    retrieval = {"retriever": "dense", "corpus": str(write_jsonl(tmp_path / "corpus.jsonl", PASSAGES)), "embedder": str(embedder)}
    change(run / "config.json", env="nq", env_options=retrieval)
    capsys.readouterr()
    assert invoke(["verify", str(run)]) == 1
    out = capsys.readouterr().out
    assert "differ" in out and not (tmp_path / "trace").exists()


@pytest.mark.parametrize("kind", ["module", "activation", "pickle", "outside", "theirs and ours"])
def test_an_embedder_runs_no_code_and_reads_no_pickle(tmp_path: Path, embedder: Path, kind: str, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("sentence_transformers")
    monkeypatch.setenv("ESPL_BENCH_DATA", str(tmp_path / "home"))
    trace, ours = tmp_path / "trace", "sentence_transformers.models."
    types = {"module": "theirs.Theirs", "theirs and ours": "sentence_transformersx.Theirs"}
    path = "../elsewhere" if kind == "outside" else "1_Dense"
    (embedder / "modules.json").write_text(json.dumps([{"idx": 0, "name": "0", "path": path, "type": types.get(kind, f"{ours}Dense")}]))
    activation = "theirs.Theirs" if kind == "activation" else "torch.nn.Tanh"
    (embedder / "1_Dense" / "config.json").write_text(json.dumps({"in_features": 2, "out_features": 2, "activation_function": activation}))
    (embedder / "1_Dense" / "pytorch_model.bin").write_bytes(pickle.dumps(Evil(trace)))
    with pytest.raises(ModelError) as error:
        dense.DenseRetriever.open(write_jsonl(tmp_path / "corpus.jsonl", PASSAGES), str(embedder))
    assert "\n" not in str(error.value) and "trust_remote_code" not in str(error.value) and not trace.exists()


# Everywhere


def test_every_loader_is_told_to_run_no_code_and_nothing_is_unpickled():
    loaders = ("from_pretrained", "SentenceTransformer")
    for path in (*(ROOT / "espl_bench").rglob("*.py"), *(ROOT / "envs").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            called = ast.unparse(node.func)
            if node.func.attr in loaders and called.split(".")[0] not in ("HfEngine", "VllmEngine"):
                assert any(word.arg is None and ast.unparse(word.value) == "NO_CODE" for word in node.keywords), f"{path}: {called}"
            unpickles = called in ("torch.load", "pickle.load", "pickle.loads", "joblib.load", "marshal.loads", "np.lib.format.read_array")
            own = path.name == "check_subject.py" or (path.name == "pretrain.py" and "weights_only=True" in ast.unparse(node))
            assert not unpickles or own, f"{path}: {called}"  # a copy of an object, and the state of one's own pre-training
            if called == "np.load":
                assert "allow_pickle=False" in ast.unparse(node), path


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "tokenizer.json", "chat_template.jinja", "extra.json"])
@pytest.mark.parametrize("kind", ["fifo", "device", "large"])
def test_what_is_no_file_of_a_model_is_refused_before_a_library_opens_it(model: Path, kind: str, name: str):
    path = model / name
    path.unlink(missing_ok=True)
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case _:
            with path.open("wb") as file:
                file.truncate(2**34)
    assert f"{name} is not read" in refused(model)


def test_a_chat_template_among_several_is_a_file_too(model: Path):
    (model / "additional_chat_templates").mkdir()
    os.mkfifo(model / "additional_chat_templates" / "tools.jinja")
    assert "tools.jinja is not read (it is a FIFO" in refused(model)


def test_a_model_of_links_is_that_of_the_hub_s_cache(model: Path):
    (model.parent / "blobs").mkdir()
    for path in [*model.iterdir()]:
        if path.is_file():
            path.rename(model.parent / "blobs" / path.name)
            path.symlink_to(Path("..") / "blobs" / path.name)
    load_model(str(model), torch.float32)
