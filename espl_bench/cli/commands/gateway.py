"""`gateway`: serve a model to agents, a session each, and keep what was sampled."""

import asyncio
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

from espl_bench.build import open_engine
from espl_bench.cli.commands.provide import Provision, bring_models
from espl_bench.cli.console import write
from espl_bench.config.resolve import resolve
from espl_bench.config.run_config import RunConfig, model_name
from espl_bench.engines.engine import Engine
from espl_bench.engines.rendered_chat import dated, with_thinking
from espl_bench.environment.text_env import EnvironmentSpec
from espl_bench.errors import EsplError
from espl_bench.gateway.chat_wire import MODEL, RefusedRequestError
from espl_bench.gateway.conversations import Conversations
from espl_bench.gateway.gathering import Gathering
from espl_bench.gateway.server import HOST, GatewayServer
from espl_bench.gateway.session import Ask, Sampling, Session
from espl_bench.rollouts.scheduling import Immediate
from espl_bench.seeding import seed_for

MAX_SESSIONS: Final = 10_000
"""Sessions that are kept; DELETE makes room."""
MAX_COMPLETIONS: Final = 1_000
"""Of a session."""
_NO_TASK: Final = EnvironmentSpec("gateway", "espl/Gateway-v0", "", "whatever agents do")


def serve(choices: Mapping[str, Any], port: int, no_download: bool) -> None:
    """Serve until Ctrl-C or SIGTERM. Raises EsplError if the model or the port is not available."""
    config = resolve("base", _NO_TASK, choices)
    bring_models(config, Provision(not no_download))
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(config, port))
    write("stopped\n", err=True)


async def _serve(config: RunConfig, port: int) -> None:
    engine = open_engine(config)
    try:
        chat = with_thinking(dated(engine.chat, datetime.now(UTC)), config.sampling.thinking, "--thinking")
        sampling = Sampling(chat, config.sampling.max_tokens, config.sampling.temperature, config.sampling.top_p)
        ask = await _asking(engine)

        def begin(name: str) -> Session:
            if len(server) >= MAX_SESSIONS:
                full = f"there are {MAX_SESSIONS:,} sessions already; DELETE /s/NAME forgets one"
                raise RefusedRequestError(full, HTTPStatus.TOO_MANY_REQUESTS, "rate_limit")
            return Session(sampling, ask, lambda turn: seed_for(config.seed, "gateway", name, turn), Conversations(tuple), MAX_COMPLETIONS)

        try:
            server = GatewayServer(port, begin)
        except OSError as error:
            raise EsplError(f"cannot listen on {HOST}:{port} ({error.strerror or error}); choose another --port") from error
        with server.serving():
            write(_told(server, config))
            sys.stdout.flush()
            await asyncio.Event().wait()
    finally:
        await engine.close()


async def _asking(engine: Engine) -> Ask:
    """Return what samples one completion of the model as it is."""
    client = await engine.reference()
    if not engine.batches_continuously:
        return Gathering(client).ask
    immediate = Immediate(client)
    return lambda request: immediate.ask(0, request)


def _told(server: GatewayServer, config: RunConfig) -> str:
    return (
        f"serving {model_name(config.model)} as model '{MODEL}' at temperature {config.sampling.temperature:g}; Ctrl-C stops it\n"
        f"export OPENAI_BASE_URL={server.url}/v1 OPENAI_API_KEY={server.key}\n"
        f"a session of its own: {server.url}/s/NAME/v1, its tokens: GET {server.url}/s/NAME/trace\n"
    )
