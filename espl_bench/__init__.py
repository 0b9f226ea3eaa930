"""espl-bench: a benchmark and harness for evolutionary system prompt learning.

`__all__` is the public interface; docs/python.md shows how to use it. Each name is loaded on first access, so importing the package
costs nothing.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

# Must be set before torch is first imported, hence here. OpenMP's threads spin between two operations by default; on a
# machine with anything else to do, a small model then runs many times slower (measured: first sample 22 s, not 0.5 s).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"

__all__ = [
    "ESPL",
    "Acceptance",
    "AdamParams",
    "Baseline",
    "Birth",
    "Board",
    "Budget",
    "Chat",
    "Child",
    "Completion",
    "Control",
    "DataSource",
    "DataSpec",
    "Datum",
    "EditLimits",
    "Editor",
    "EditorChoice",
    "Engine",
    "EngineSpec",
    "EnvError",
    "EnvironmentSpec",
    "EsplError",
    "EvalReport",
    "EvaluationRow",
    "Extraction",
    "FoundRun",
    "Grade",
    "GradingRules",
    "GroupEntry",
    "Halves",
    "Harness",
    "History",
    "InterruptedRunError",
    "Judgement",
    "Lineage",
    "Log",
    "Loss",
    "LossSpec",
    "Message",
    "Method",
    "MetricsRow",
    "Operator",
    "Optimizer",
    "Outcome",
    "PairedDifference",
    "Parameter",
    "Population",
    "Problem",
    "Progress",
    "Rating",
    "Rejected",
    "Reporter",
    "RolloutRow",
    "RunConfig",
    "RunDir",
    "SampleRequest",
    "SamplingClient",
    "Schedule",
    "Selector",
    "Shown",
    "Silent",
    "SingleTurnEnv",
    "Split",
    "StepReport",
    "StepView",
    "StopReason",
    "StopSignal",
    "Summary",
    "SystemPrompt",
    "TextEnv",
    "ToolEnv",
    "ToolLimits",
    "ToolSpec",
    "TrainingClient",
    "Trajectory",
    "TrajectoryGroup",
    "Trial",
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
    "read_evaluations",
    "read_metrics",
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
    from espl_bench.controls import Control
    from espl_bench.data.dataset_spec import DataSource, DataSpec
    from espl_bench.engines.protocol import AdamParams, Chat, Engine, SamplingClient, TrainingClient
    from espl_bench.engines.spec import EngineSpec
    from espl_bench.environment.checker import check_environment
    from espl_bench.environment.text_env import EnvironmentSpec, SingleTurnEnv, TextEnv, Verdict
    from espl_bench.errors import EnvError, EsplError, UsageError
    from espl_bench.evolution.acceptance import Acceptance, Judgement, Trial
    from espl_bench.evolution.history import History
    from espl_bench.evolution.operators.proposal import Birth, Child, EditLimits
    from espl_bench.evolution.operators.protocol import Operator, StepView
    from espl_bench.evolution.operators.reflection import Editor
    from espl_bench.evolution.optimizer import Harness, Optimizer
    from espl_bench.evolution.population import Population
    from espl_bench.evolution.schedule import Halves, Progress, Schedule
    from espl_bench.evolution.selection import Selector
    from espl_bench.grading.grader import grade
    from espl_bench.grading.rules import Extraction, Grade, GradingRules
    from espl_bench.leaderboard.board import Board, build_board
    from espl_bench.leaderboard.collect import FoundRun, collect
    from espl_bench.leaderboard.grouping import GroupEntry
    from espl_bench.leaderboard.render import to_markdown
    from espl_bench.learning.advantages import Baseline
    from espl_bench.learning.losses import Loss
    from espl_bench.learning.spec import LossSpec
    from espl_bench.method import ESPL, EditorChoice, Method, Shown
    from espl_bench.monitoring.reporter import EvalReport, Reporter, Silent, StepReport
    from espl_bench.runner import resume, run
    from espl_bench.runs.log_rows import EvaluationRow, MetricsRow, read_evaluations, read_metrics
    from espl_bench.runs.rollout_rows import RolloutRow
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
    from espl_bench.types import (
        Completion,
        Datum,
        Lineage,
        Message,
        Outcome,
        Problem,
        Rating,
        Rejected,
        SampleRequest,
        Split,
        StopReason,
        SystemPrompt,
        Trajectory,
        TrajectoryGroup,
    )
    from espl_bench.utils.stop_signal import InterruptedRunError, StopSignal
else:
    _MODULES = {
        "Acceptance": "evolution.acceptance",
        "AdamParams": "engines.protocol",
        "Baseline": "learning.advantages",
        "Birth": "evolution.operators.proposal",
        "Board": "leaderboard.board",
        "Budget": "accounting.budget",
        "Chat": "engines.protocol",
        "Child": "evolution.operators.proposal",
        "Completion": "types",
        "Control": "controls",
        "DataSource": "data.dataset_spec",
        "DataSpec": "data.dataset_spec",
        "Datum": "types",
        "ESPL": "method",
        "EditLimits": "evolution.operators.proposal",
        "Editor": "evolution.operators.reflection",
        "EditorChoice": "method",
        "Engine": "engines.protocol",
        "EngineSpec": "engines.spec",
        "EnvError": "errors",
        "EnvironmentSpec": "environment.text_env",
        "EsplError": "errors",
        "EvalReport": "monitoring.reporter",
        "EvaluationRow": "runs.log_rows",
        "Extraction": "grading.rules",
        "FoundRun": "leaderboard.collect",
        "Grade": "grading.rules",
        "GradingRules": "grading.rules",
        "GroupEntry": "leaderboard.grouping",
        "Halves": "evolution.schedule",
        "Harness": "evolution.optimizer",
        "History": "evolution.history",
        "InterruptedRunError": "utils.stop_signal",
        "Judgement": "evolution.acceptance",
        "Lineage": "types",
        "Log": "runs.run_dir",
        "Loss": "learning.losses",
        "LossSpec": "learning.spec",
        "Message": "types",
        "Method": "method",
        "MetricsRow": "runs.log_rows",
        "Operator": "evolution.operators.protocol",
        "Optimizer": "evolution.optimizer",
        "Outcome": "types",
        "PairedDifference": "stats",
        "Parameter": "tools.tool_spec",
        "Population": "evolution.population",
        "Problem": "types",
        "Progress": "evolution.schedule",
        "Rating": "types",
        "Rejected": "types",
        "Reporter": "monitoring.reporter",
        "RolloutRow": "runs.rollout_rows",
        "RunConfig": "config.run_config",
        "RunDir": "runs.run_dir",
        "SampleRequest": "types",
        "SamplingClient": "engines.protocol",
        "Schedule": "evolution.schedule",
        "Selector": "evolution.selection",
        "Shown": "method",
        "Silent": "monitoring.reporter",
        "SingleTurnEnv": "environment.text_env",
        "Split": "types",
        "StepReport": "monitoring.reporter",
        "StepView": "evolution.operators.protocol",
        "StopReason": "types",
        "StopSignal": "utils.stop_signal",
        "Summary": "runs.summary",
        "SystemPrompt": "types",
        "TextEnv": "environment.text_env",
        "ToolEnv": "tools.tool_env",
        "ToolLimits": "tools.tool_env",
        "ToolSpec": "tools.tool_spec",
        "TrainingClient": "engines.protocol",
        "Trajectory": "types",
        "TrajectoryGroup": "types",
        "Trial": "evolution.acceptance",
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
        "read_evaluations": "runs.log_rows",
        "read_metrics": "runs.log_rows",
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
