"""The protocol of engine openai against a real vLLM server process on the loopback, with the faults of the proxy."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from patience import PATIENCE_S

NAME = "tiny-lab"


@pytest.fixture(scope="module")
def base_url(lab_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that honours seeds and adds no sampling defaults of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log"
    options = ["--host=127.0.0.1", f"--port={port}", f"--served-model-name={NAME}", "--dtype=float32", "--generation-config=vllm"]
    # a seeded request that is cut into chunks ends vLLM 0.32 on a CPU
    small = ["--no-enable-chunked-prefill", "--kv-cache-memory-bytes=1073741824", "--block-size=32", "--enforce-eager"]
    environment = os.environ | {"VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "WARNING", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", f"--model={lab_model}", *options, *small]
    with log.open("w") as words:
        process = subprocess.Popen(command, stdout=words, stderr=words, env=environment, start_new_session=True)
    try:
        until = time.monotonic() + 900
        while not _answers(f"http://127.0.0.1:{port}/health"):
            assert process.poll() is None and time.monotonic() < until, log.read_text()[-4000:]
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return response.status == 200
    except (urllib.error.URLError, OSError):
        return False


def test_the_whole_protocol_holds(base_url: str):
    tests = Path(__file__).parents[1] / "test_openai.py"
    environment = os.environ | {"ESPL_BENCH_TEST_BASE_URL": base_url}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=1_800,
    )
    assert done.returncode == 0, done.stdout[-12_000:]
    assert " passed" in done.stdout
