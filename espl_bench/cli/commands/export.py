"""`export`: write a run's adapter, merged model, prompt and model card, for use without this project."""

import json
from pathlib import Path

from espl_bench.cli.console import err_console, out_console, write_json
from espl_bench.results.export import export
from espl_bench.utils.formatting import plain


def export_run(folder: Path, out: Path, model: Path | None, quiet: bool, as_json: bool) -> None:
    """Export a run and say where it is. Raises EsplError for one that cannot be exported."""

    def progress(part: str) -> None:
        if not quiet and err_console().is_terminal:
            err_console().print(plain(f"writing {part} …", "dim"))

    done = export(folder, out, model, progress)
    if as_json:
        record = {"run": str(folder), "folder": str(done.folder), "weights": done.merge_gap is not None, "merge_gap": done.merge_gap}
        write_json(json.dumps(record, indent=2) + "\n")
        return
    parts = "prompt and model card" if done.merge_gap is None else "adapter, merged model, prompt and model card"
    out_console().print(plain(f"{done.folder}: {parts}"), soft_wrap=True)
