"""`espl-bench gateway`: a model of this machine, served to whatever agent has the printed address and key."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import openai
import pytest
from checked import present
from patience import PATIENCE_S

from espl_bench.cli.app import invoke


@pytest.mark.slow
def test_the_command_serves_a_model_until_it_is_stopped(lab_model: Path):
    command = [sys.executable, "-m", "espl_bench", "gateway", "--model", str(lab_model), "--port", "0", "--temperature", "0.5"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline().startswith(f"serving {lab_model.name} as model 'policy' at temperature 0.5")
            url, key = present(re.fullmatch(r"export OPENAI_BASE_URL=(\S+)/v1 OPENAI_API_KEY=(\S+)\n", server.stdout.readline())).groups()
            with openai.OpenAI(base_url=f"{url}/s/mine/v1", api_key=key, timeout=PATIENCE_S) as client:
                talk: list = [{"role": "user", "content": "3 8 dax 5 2 = ?"}]
                texts = [
                    client.chat.completions.create(model="policy", messages=talk, max_tokens=30).choices[0].message.content for _ in "ab"
                ]
            told = httpx.get(f"{url}/s/mine/trace", headers={"Authorization": f"Bearer {key}"}, timeout=PATIENCE_S).json()
            assert [segment["texts"] for segment in told["segments"]] == [[text] for text in texts] and told["temperature"] == 0.5
            assert all(len(segment["tokens"]) == len(segment["logprobs"]) == len(segment["mask"]) for segment in told["segments"])
            assert httpx.get(f"{url}/v1/models", timeout=PATIENCE_S).status_code == 401
        finally:
            server.send_signal(signal.SIGTERM)
            _, complaint = server.communicate(timeout=PATIENCE_S)
    assert complaint == "stopped\n"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model", "no/such"], "no/such"),
        (["--engine", "hfx"], "unknown engine 'hfx'; did you mean 'hf'?"),
        (["--engine", "openai", "--model", "m"], "--base-url"),
    ],
)
def test_a_model_that_cannot_be_served_is_one_line(options: list[str], said: str, capsys: pytest.CaptureFixture[str]):
    assert invoke(["gateway", "--no-download", *options]) != 0
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and said in err


def test_a_port_that_is_taken_is_one_line(lab_model: Path, capsys: pytest.CaptureFixture[str]):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert invoke(["gateway", "--model", str(lab_model), "--port", port]) == 1
    assert "choose another --port" in capsys.readouterr().err
