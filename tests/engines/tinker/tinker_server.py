"""A real Tinker server of one's own for the tests: started, stopped, killed and started again on the same data."""

import json
import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

LAUNCHER = Path(__file__).with_name("shimmed_server.py")
BACKEND = {"max_lora_adapters": 24, "max_lora_rank": 32, "train_micro_batch_size": 16, "sample_max_num_sequences": 32}
SESSION_TIMEOUT_S = 40
KEY = "tml-not-a-secret-but-looks-like-one"


@dataclass
class Server:
    """One server process and its engine, over one folder."""

    python: Path
    model: Path
    folder: Path
    cache: Path
    """Of compiled programs; kept between test runs."""
    port: int = 0
    session_timeout_s: int = SESSION_TIMEOUT_S
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, patience_s: float = 300.0) -> None:
        """Start, and return when it answers. What is asked before its engine is up waits there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.cache.mkdir(parents=True, exist_ok=True)
        self.port = self.port or free_port()
        command = [str(self.python), str(LAUNCHER), "--base-model", str(self.model), "--backend", "jax"]
        command += ["--backend-config", json.dumps(BACKEND), "--checkpoints-base", str(self.folder / "checkpoints")]
        command += ["--database-url", f"sqlite:///{self.folder / 'tinker.db'}", "--session-timeout-sec", str(self.session_timeout_s)]
        command += ["--session-cleanup-interval-sec", "2", "--host", "127.0.0.1", "--port", str(self.port)]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(command, env=self._environment(), stdout=log, stderr=log, start_new_session=True)
        until = time.monotonic() + patience_s
        while not self.answers():
            assert self.process.poll() is None, f"the server ended: {self.words()}"
            assert time.monotonic() < until, f"the server does not answer: {self.words()}"
            time.sleep(1)

    def _environment(self) -> dict[str, str]:
        settings = {"JAX_PLATFORMS": "cpu", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
        settings |= {"JAX_COMPILATION_CACHE_DIR": str(self.cache)}
        settings |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1"}
        return {**os.environ, **settings}

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/api/v1/healthz", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def stop(self) -> None:
        """End it in good order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it and its engine at once, as a power cut would."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self.process is None:
            return
        group = self.process.pid  # a session of its own, so that its engine is in it
        if how is signal.SIGKILL:
            os.killpg(group, how)
        else:
            self.process.send_signal(how)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(group, signal.SIGKILL)
            self.process.wait(60)
        self.process = None

    def words(self) -> str:
        """The end of its log."""
        return (self.folder / "server.log").read_text(errors="replace")[-2000:]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
