"""espl-bench: a benchmark and harness for evolutionary system prompt learning.

What is named in `__all__` is the public interface, and docs/python.md shows how it is used. A name is loaded when it is first asked for,
so that importing the package costs nothing.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

# Must be set before torch is first imported, hence here. OpenMP's threads spin between two operations by default; on a
# machine that does anything else besides, a small model then runs many times slower (measured: first sample 22 s, not 0.5 s).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"

__all__ = [
    "ESPL",
    "AdamParams",
    "Baseline",
    "Board",
    "Budget",
    "Chat",
    "Completion",
    "DataSource",
    "DataSpec",
    "Datum",
    "EditorChoice",
    "Engine",
    "EnvError",
    "EnvironmentSpec",
    "EsplError",
    "EvalReport",
    "Extraction",
    "FoundRun",
    "Grade",
    "GradingRules",
    "GroupEntry",
    "InterruptedRunError",
    "Log",
    "LossSpec",
    "Message",
    "Method",
    "Origin",
    "Outcome",
    "PairedDifference",
    "Parameter",
    "Problem",
    "Reporter",
    "RunConfig",
    "RunDir",
    "SampleRequest",
    "SamplingClient",
    "Shown",
    "Silent",
    "SingleTurnEnv",
    "Split",
    "StepReport",
    "StopReason",
    "StopSignal",
    "Summary",
    "TextEnv",
    "ToolEnv",
    "ToolLimits",
    "ToolSpec",
    "TrainingClient",
    "UsageError",
    "Verdict",
    "build_board",
    "check_environment",
    "collect",
    "compare",
    "difference_interval",
    "grade",
    "iqm",
    "iqm_interval",
    "mean_interval",
    "mean_pass_at_k",
    "open_engine",
    "p_improvement",
    "paired_difference",
    "pass_at_k",
    "permutation_p",
    "rank_ranges",
    "read_summary",
    "resolve",
    "resume",
    "run",
    "seed_interval",
    "to_markdown",
]

if TYPE_CHECKING:
    from espl_bench.accounting.budget import Budget
    from espl_bench.build import open_engine
    from espl_bench.config.resolve import resolve
    from espl_bench.config.run_config import RunConfig
    from espl_bench.data.dataset_spec import DataSource, DataSpec
    from espl_bench.engines.protocol import AdamParams, Chat, Engine, SamplingClient, TrainingClient
    from espl_bench.environment.checker import check_environment
    from espl_bench.environment.text_env import EnvironmentSpec, SingleTurnEnv, TextEnv, Verdict
    from espl_bench.errors import EnvError, EsplError, UsageError
    from espl_bench.grading.grader import grade
    from espl_bench.grading.rules import Extraction, Grade, GradingRules
    from espl_bench.leaderboard.board import Board, build_board
    from espl_bench.leaderboard.collect import FoundRun, collect
    from espl_bench.leaderboard.grouping import GroupEntry
    from espl_bench.leaderboard.render import to_markdown
    from espl_bench.learning.advantages import Baseline
    from espl_bench.learning.spec import LossSpec
    from espl_bench.method import ESPL, EditorChoice, Method, Shown
    from espl_bench.monitoring.reporter import EvalReport, Reporter, Silent, StepReport
    from espl_bench.runner import resume, run
    from espl_bench.runs.run_dir import Log, RunDir
    from espl_bench.runs.summary import Summary, read_summary
    from espl_bench.stats import (
        PairedDifference,
        difference_interval,
        iqm,
        iqm_interval,
        mean_interval,
        mean_pass_at_k,
        p_improvement,
        paired_difference,
        pass_at_k,
        permutation_p,
        rank_ranges,
        seed_interval,
    )
    from espl_bench.sweep.in_process import compare
    from espl_bench.tools.tool_env import ToolEnv, ToolLimits
    from espl_bench.tools.tool_spec import Parameter, ToolSpec
    from espl_bench.types import Completion, Datum, Message, Origin, Outcome, Problem, SampleRequest, Split, StopReason
    from espl_bench.utils.stop_signal import InterruptedRunError, StopSignal
else:
    _MODULES = {
        "AdamParams": "engines.protocol",
        "Baseline": "learning.advantages",
        "Board": "leaderboard.board",
        "Budget": "accounting.budget",
        "Chat": "engines.protocol",
        "Completion": "types",
        "DataSource": "data.dataset_spec",
        "DataSpec": "data.dataset_spec",
        "Datum": "types",
        "ESPL": "method",
        "EditorChoice": "method",
        "Engine": "engines.protocol",
        "EnvError": "errors",
        "EnvironmentSpec": "environment.text_env",
        "EsplError": "errors",
        "EvalReport": "monitoring.reporter",
        "Extraction": "grading.rules",
        "FoundRun": "leaderboard.collect",
        "Grade": "grading.rules",
        "GradingRules": "grading.rules",
        "GroupEntry": "leaderboard.grouping",
        "InterruptedRunError": "utils.stop_signal",
        "Log": "runs.run_dir",
        "LossSpec": "learning.spec",
        "Message": "types",
        "Method": "method",
        "Origin": "types",
        "Outcome": "types",
        "PairedDifference": "stats",
        "Parameter": "tools.tool_spec",
        "Problem": "types",
        "Reporter": "monitoring.reporter",
        "RunConfig": "config.run_config",
        "RunDir": "runs.run_dir",
        "SampleRequest": "types",
        "SamplingClient": "engines.protocol",
        "Shown": "method",
        "Silent": "monitoring.reporter",
        "SingleTurnEnv": "environment.text_env",
        "Split": "types",
        "StepReport": "monitoring.reporter",
        "StopReason": "types",
        "StopSignal": "utils.stop_signal",
        "Summary": "runs.summary",
        "TextEnv": "environment.text_env",
        "ToolEnv": "tools.tool_env",
        "ToolLimits": "tools.tool_env",
        "ToolSpec": "tools.tool_spec",
        "TrainingClient": "engines.protocol",
        "UsageError": "errors",
        "Verdict": "environment.text_env",
        "build_board": "leaderboard.board",
        "check_environment": "environment.checker",
        "collect": "leaderboard.collect",
        "compare": "sweep.in_process",
        "difference_interval": "stats",
        "grade": "grading.grader",
        "iqm": "stats",
        "iqm_interval": "stats",
        "mean_interval": "stats",
        "mean_pass_at_k": "stats",
        "open_engine": "build",
        "p_improvement": "stats",
        "paired_difference": "stats",
        "pass_at_k": "stats",
        "permutation_p": "stats",
        "rank_ranges": "stats",
        "read_summary": "runs.summary",
        "resolve": "config.resolve",
        "resume": "runner",
        "run": "runner",
        "seed_interval": "stats",
        "to_markdown": "leaderboard.render",
    }
    """Public name → the module that holds it."""

    def __getattr__(name: str) -> Any:
        """Load a public name. Raises AttributeError for any other."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
