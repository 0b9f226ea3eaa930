"""Declaration of `export`. `cli/commands/export.py` implements it and is imported when it runs."""

from pathlib import Path
from typing import Annotated

import typer

from espl_bench.cli.shared_options import AsJson, Quiet


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A finished run.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to create.", show_default=False)],
    model: Annotated[
        Path | None,
        typer.Option("--model", metavar="FOLDER", help="Current location of the run's model, if it was moved.", show_default=False),
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Export a run for use without espl-bench: adapter, merged model, prompt, model card with table row, ledger and data.

    The merged model loads in transformers and vLLM. A run whose weights are frozen is exported as its prompt.
    """
    from espl_bench.cli.commands import export as command

    command.export_run(run, out, model, quiet, as_json)
