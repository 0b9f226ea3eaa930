"""Declaration of `gateway`. `cli/commands/gateway.py` implements it and is imported when it runs."""

from typing import Annotated

import typer

from espl_bench.cli.shared_options import NoDownload


def gateway(
    model: Annotated[
        str | None, typer.Option("--model", help="Folder, hub id or named model. Default: of this machine.", metavar="NAME")
    ] = None,
    engine: Annotated[
        str | None, typer.Option("--engine", help="hf, vllm, openai or tinker. Default: the fastest.", metavar="NAME")
    ] = None,
    base_url: Annotated[str | None, typer.Option("--base-url", help="Endpoint of engine openai or tinker.", metavar="URL")] = None,
    api_key_env: Annotated[str | None, typer.Option("--api-key-env", help="Variable with that endpoint's key.", metavar="NAME")] = None,
    port: Annotated[int, typer.Option("--port", help="Port on 127.0.0.1; 0: any free one.", metavar="N", min=0, max=65535)] = 8001,
    max_tokens: Annotated[int, typer.Option("--max-tokens", help="Most tokens of a completion.", metavar="N", min=1)] = 1024,
    temperature: Annotated[
        float, typer.Option("--temperature", help="Of every completion, whatever is asked for.", metavar="T", min=0, max=2)
    ] = 1.0,
    top_p: Annotated[float, typer.Option("--top-p", help="The same of top-p.", metavar="P", min=0.01, max=1)] = 1.0,
    thinking: Annotated[str | None, typer.Option("--thinking", help="on or off. Default: as the template has it.", metavar="MODE")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of every random draw.", metavar="N")] = 0,
    no_download: NoDownload = False,
) -> None:
    """Serve a model to agents over the chat completions API, and keep the tokens and log-probabilities of every session."""
    from espl_bench.cli.commands import gateway as command

    choices = {"model": model, "engine": engine, "base_url": base_url, "api_key_env": api_key_env, "thinking": thinking}
    sampling = {"max_tokens": max_tokens, "temperature": temperature, "top_p": top_p, "seed": seed}
    command.serve({**choices, **sampling}, port, no_download)
