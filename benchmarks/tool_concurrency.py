"""How busy the engine is while 256 episodes wait for a retriever of 200 ms: `python benchmarks/tool_concurrency.py`.

Every episode searches three times and answers. The retriever is a real server of this project's wire format, in a process of its own,
that takes its time with each request. Three ways to the engine are measured: one lockstep of all episodes, cohorts, and, for an engine that
batches continuously, requests as they come. Two engines:

- `timed`: takes the time of a fast accelerator (a fixed number of milliseconds per token of a batch, whatever its size) and one call at
  a time, so that the figure is about the harness and not about this machine's processor. Continuously, each request takes its own tokens.
- `hf`: the embedded engine with a tiny model of random weights on this machine, its tokens real, its texts replaced by the script's.

Busy is the share of the time from the first request to the last answer in which the engine works. Beside it stands the harness's own
processor time, which does not depend on what else the machine does: on a quiet machine all but a core's worth of it overlaps.
"""

import argparse
import asyncio
import json
import multiprocessing
import tempfile
import time
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from espl_bench.engines.adapter_spec import AdapterSpec
from espl_bench.engines.chat import HfChat
from espl_bench.environment.text_env import Verdict
from espl_bench.prompts.dialect import Dialect, Placement
from espl_bench.retrieval.http import HttpRetriever
from espl_bench.retrieval.http_server import RetrieverServer
from espl_bench.rollouts.rollout import RolloutSpec, roll_out
from espl_bench.tools.tool_env import ToolEnv, ToolLimits
from espl_bench.tools.tool_spec import Parameter, ToolSpec
from espl_bench.types import ROOT_ORIGIN, Completion, Lineage, Outcome, Problem, Rating, Split, StopReason, SystemPrompt

EPISODES, SEARCHES, DELAY_S = 256, 3, 0.2
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@cache
def retriever_at(url: str) -> HttpRetriever:
    """One for all episodes, as a run has it."""
    return HttpRetriever(url)


class Answers(BaseHTTPRequestHandler):
    """Three passages for each query, after a while."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """Answer as a retriever does."""
        queries = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
        time.sleep(DELAY_S)
        passage = {"document": {"id": "1", "contents": '"A title"\n' + "some words of a passage " * 20}, "score": 1.0}
        content = json.dumps({"result": [[passage] * 3 for _ in queries]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def serve(port: Any) -> None:
    """In a process of its own."""
    server = RetrieverServer(("127.0.0.1", 0), None)  # type: ignore[arg-type]
    server.RequestHandlerClass = Answers
    port.value = server.server_address[1]
    server.serve_forever()


@contextmanager
def slow_retriever():
    """The address of one."""
    spawn = multiprocessing.get_context("spawn")
    port = spawn.Value("i", 0)
    process = spawn.Process(target=serve, args=(port,), daemon=True)
    process.start()
    while not port.value:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port.value}"
    process.terminate()


class Asks(ToolEnv):
    """A question that is answered after some searches."""

    tools = (ToolSpec("search", "Searches.", (Parameter("query_list", "list of strings", "queries"),)),)
    steps_at_once = EPISODES

    def __init__(self, url: str) -> None:
        """Ask this server."""
        super().__init__(ToolLimits(turns=SEARCHES + 1, calls=SEARCHES))
        self.retriever = retriever_at(url)

    def size(self, split: Split) -> int:
        """As many as there are episodes."""
        return EPISODES

    def problem(self, split: Split, index: int) -> Problem:
        """A question."""
        return Problem(f"{split}/{index}", split, index, f"question {index} ?", "x", "Answer: x")

    def use(self, tool: str, arguments: Mapping[str, Any]) -> str:
        """Search."""
        return "\n".join(passage.text for found in self.retriever.retrieve(arguments["query_list"], 3) for passage in found.passages)

    def grade(self, problem: Problem, response: str) -> Verdict:
        """Any answer is right."""
        return Verdict.of(Outcome.CORRECT if "Answer" in response else Outcome.NO_ANSWER)


@dataclass
class Busy:
    """Adds up when the engine works; overlapping work counts once."""

    working: int = 0
    since: float = 0.0
    total: float = 0.0

    @contextmanager
    def work(self):
        """Work."""
        self.since = time.perf_counter() if self.working == 0 else self.since
        self.working += 1
        yield
        self.working -= 1
        self.total += time.perf_counter() - self.since if self.working == 0 else 0.0


@dataclass
class Scripted:
    """A sampling client: real or pretended work, then the script's text."""

    chat: HfChat
    ms_per_token: float
    continuous: bool
    client: Any = None
    busy: Busy = field(default_factory=Busy)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def sample(self, requests: list[Any]) -> list[Completion]:
        """One completion per request."""
        said = [self._say(request) for request in requests]
        longest = max(len(each.tokens_T) for each in said)
        if self.client is not None:
            with self.busy.work():
                await self.client.sample(requests)
        elif self.continuous:
            with self.busy.work():
                await asyncio.sleep(longest * self.ms_per_token / 1e3)
        else:
            async with self.lock:
                with self.busy.work():
                    await asyncio.sleep(longest * self.ms_per_token / 1e3)
        return said

    def _say(self, request: Any) -> Completion:
        turn = sum(message.role == "assistant" for message in request.messages)
        thought = "Let me think about what is to be looked up next. " * 3
        call = '<tool_call>{"name": "search", "arguments": {"query_list": ["words"]}}</tool_call>'
        text = thought + call if turn < SEARCHES else "Answer: x"
        ids = (*self.chat._ids(text), *self.chat.eos_ids)
        return Completion(ids, (-0.5,) * len(ids), text, StopReason.STOP)


def make_model(folder: Path) -> Path:
    """A tiny random model with a chat template."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer.train_from_iterator(
        ["Let me think about what is to be looked up next. search query_list words Answer some words of a passage"] * 8,
        BpeTrainer(vocab_size=600, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()),
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    fast.chat_template = TEMPLATE
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    config = Qwen3Config(vocab_size=len(fast), head_dim=16, max_position_embeddings=8192, eos_token_id=2, pad_token_id=0, **sizes)
    Qwen3ForCausalLM(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def measure(name: str, url: str, client: Scripted, cohorts: int, max_tokens: int) -> None:
    """Play all episodes and print a line."""
    dialect = Dialect.load("search")
    task = RolloutSpec(lambda: Asks(url), dialect, Placement.SYSTEM, client.chat, 1.0, 1.0, max_tokens, 0, sampling_groups=cohorts)
    task = RolloutSpec(**{**task.__dict__, "continuous": client.continuous})
    root = SystemPrompt(0, (), Rating(), Lineage(ROOT_ORIGIN))
    problems = [Asks(url).problem(Split.TRAIN, index) for index in range(EPISODES)]
    started, used = time.perf_counter(), time.process_time()
    groups = asyncio.run(roll_out(client, task, [root], problems, 1, "rollout", 0))
    seconds, processor = time.perf_counter() - started, time.process_time() - used
    assert all(t.outcome is Outcome.CORRECT and len(t.turns) == SEARCHES + 1 for group in groups for t in group.trajectories_G)
    busy = client.busy.total / seconds
    print(f"{name}: busy {busy:.1%} of {seconds:.1f} s; engine {client.busy.total:.1f} s, harness {processor:.1f} s of CPU", flush=True)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ms-per-token", type=float, default=8.0, help="of the timed engine; default: 8")
    parser.add_argument("--cohorts", type=int, nargs="+", default=(1, 2, 4, 8))
    parser.add_argument(
        "--as-they-come", action=argparse.BooleanOptionalAction, default=True, help="also as an engine that batches continuously"
    )
    parser.add_argument("--hf", action="store_true", help="also the embedded engine")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, slow_retriever() as url:
        folder = make_model(Path(temporary))
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(folder)
        chat = HfChat(tokenizer, frozenset({tokenizer.eos_token_id}), "tiny")
        print(f"{EPISODES} episodes of {SEARCHES} searches, retriever of {DELAY_S * 1e3:.0f} ms")
        speed = options.ms_per_token
        for cohorts in options.cohorts:
            measure(f"timed, {speed:g} ms/token, {cohorts} cohorts", url, Scripted(chat, speed, False), cohorts, 64)
        if options.as_they_come:
            measure(f"timed, {speed:g} ms/token, as they come", url, Scripted(chat, speed, True), 1, 64)
        if options.hf:
            from espl_bench.engines.hf.engine import HfEngine

            engine = HfEngine.from_pretrained(folder, AdapterSpec(rank=4, alpha=4.0, seed=0))
            for cohorts in options.cohorts:
                measure(f"hf, tiny model, {cohorts} cohorts", url, Scripted(chat, 0.0, False, asyncio.run(engine.current())), cohorts, 48)


if __name__ == "__main__":
    main()
