"""Export a finished run: adapter, merged model, shown prompt and model card, for use without this project.

    DIR/README.md              model card: result, table row, ledger, data, how to load
    DIR/prompt.json            the shown prompt: its principles, and the messages around {question}
    DIR/adapter/               the adapter, as peft loads it
    DIR/model/                 base and adapter merged, as transformers and vLLM load it
    DIR/.eval_results/         the test score, as a model hub reads it, if the test is a published data set

A run whose weights are frozen has neither adapter nor model: its result is the prompt.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from espl_bench.analysis.reopening import recorded_environment
from espl_bench.build import adapter_spec, dialect_of
from espl_bench.config.run_config import RunConfig, model_name
from espl_bench.controls import find_control
from espl_bench.engines.engine_spec import find_engine
from espl_bench.environment.text_env import TextEnv
from espl_bench.errors import RunDirError, UsageError
from espl_bench.results.model_card import model_card
from espl_bench.runs.checkpoints import Checkpoint
from espl_bench.runs.moved import Moved
from espl_bench.runs.run_dir import RunDir
from espl_bench.scores.export_hub import published_benchmark, to_eval_results
from espl_bench.tools.tool_env import ToolEnv
from espl_bench.types import Message
from espl_bench.utils.disk_refusals import writing
from espl_bench.utils.names import in_file_names

QUESTION = "{question}"
"""Stands for the problem in the exported messages."""
Progress = Callable[[str], None]
"""Callback with what is written next."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    folder: Path
    merge_gap: float | None
    """Largest difference of a log-probability between adapter and merged model, in nats; None for a run whose weights are frozen."""


def export(folder: Path, out: Path, model: Path | None, progress: Progress) -> Exported:
    """Export a run into a new folder.

    Args:
        folder: a finished run.
        out: created as a whole at the end; must not exist.
        model: present place of the run's base model, if it was moved.
        progress: called before each part.

    Raises RunDirError for an unfinished run or one without its final checkpoint, UsageError for weights that are not on this machine, and
    EsplError for a model that cannot be loaded.
    """
    run = RunDir.open(folder)
    summary, recorded, commit = run.summary(), run.config(), run.last_commit()
    if commit is None or commit.step != summary.steps:
        raise RunDirError(f"{folder} has no final checkpoint, so its weights are not available; export a run that still has it")
    if out.exists():
        raise UsageError(f"{out} exists; name a new folder with --out")
    config = Moved(model).applied(recorded)
    if config.method.learns_weights and find_engine(config.engine).location != "local":
        raise UsageError(f"the weights of {folder} are at the service that trained them; download its last checkpoint there")
    messages = shown_messages(config, recorded_environment(run, config), summary.shown_prompt)
    with writing(out, "name another place with --out", UsageError):
        out.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as temporary:
            made = Path(temporary) / out.name
            made.mkdir()
            gap = _weights(config, commit, messages, made, progress) if config.method.learns_weights else None
            progress("prompt and model card")
            prompt = {"principles": summary.shown_prompt, "messages": [{"role": each.role, "content": each.content} for each in messages]}
            (made / "prompt.json").write_text(json.dumps(prompt, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            (made / "README.md").write_text(model_card(run, gap), encoding="utf-8")
            if (benchmark := published_benchmark(summary)) is not None:
                (made / ".eval_results").mkdir()
                (made / ".eval_results" / f"{in_file_names(config.env)}.yaml").write_text(to_eval_results(run, benchmark), encoding="utf-8")
            made.rename(out)
    return Exported(out, gap)


def shown_messages(config: RunConfig, env: TextEnv, principles: tuple[str, ...]) -> tuple[Message, ...]:
    """Return the messages that a problem was tested with, `QUESTION` in its place."""
    dialect = dialect_of(config)
    if isinstance(env, ToolEnv) and config.sampling.tool_format == "text":
        dialect = replace(dialect, tools=tuple(env.tools))
    seen = find_control(config.control).principles(principles, dialect)
    return dialect.prompt_messages(seen, QUESTION, config.prompts.placement)


def _weights(config: RunConfig, commit: Checkpoint, messages: tuple[Message, ...], made: Path, progress: Progress) -> float:
    """Write adapter and merged model; return how far merging moved a log-probability."""
    from espl_bench.engines.hf.merging import export_weights  # loads torch

    progress("adapter and merged model")
    adapter, merged = made / "adapter", made / "model"
    adapter.mkdir()
    merged.mkdir()
    return export_weights(config.model, commit.folder, adapter_spec(config), messages, adapter, merged, model_name(config.model))
