"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

Quiet = Annotated[bool, typer.Option("--quiet", help="Print only the result, no progress.", rich_help_panel="Output")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.", rich_help_panel="Output")]
NoDownload = Annotated[
    bool,
    typer.Option("--no-download", help="Fetch neither data nor models; say what is missing instead.", rich_help_panel="What runs"),
]
EnvOptions = Annotated[
    list[str] | None, typer.Option("--env-option", metavar="KEY=VALUE", help="Option of the environment; may be repeated.")
]
OwnFiles = Annotated[
    list[str] | None,
    typer.Option(
        "--data", metavar="SPLIT=FILE", help="Your own file, pattern or folder, for [bold]jsonl[/] and [bold]qa[/]; may be repeated."
    ),
]
MovedModel = Annotated[
    Path | None,
    typer.Option("--model", metavar="FOLDER", help="Current location of the runs' model, if it was moved.", show_default=False),
]

ContactOption = Annotated[
    list[str] | None,
    typer.Option(
        "--contact",
        metavar="PLACE",
        help="Connect to this address, or tracker, although only a file names it; may be repeated.",
        show_default=False,
    ),
]
SendKeyOption = Annotated[
    list[str] | None,
    typer.Option(
        "--send-key",
        metavar="NAME",
        help="Send the key in this variable although only a file names it; may be repeated.",
        show_default=False,
    ),
]


ENDPOINTS = "Endpoints"
"""Panel of the options that concern endpoints."""
MAX_COST = typer.Option(
    "--max-cost",
    metavar="USD",
    help="End the run, to be resumed, when its endpoints have cost this. Default: none.",
    rich_help_panel=ENDPOINTS,
    show_default=False,
)
MAX_TOKENS_TOTAL = typer.Option(
    "--max-tokens-total",
    metavar="N",
    help="The same for tokens, prompts included. Default: none.",
    rich_help_panel=ENDPOINTS,
    show_default=False,
)
PRICES = typer.Option(
    "--prices",
    metavar="FILE",
    help="TOML file of prices that go before the packaged ones. Default: none.",
    rich_help_panel=ENDPOINTS,
    show_default=False,
)
