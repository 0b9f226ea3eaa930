"""espl-bench: a benchmark and harness for evolutionary system prompt learning.

`__all__` is the public interface; docs/python.md shows how to use it. Each name is loaded on first access, so importing the package
costs nothing.
"""

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

# Must be set before torch is first imported, hence here. OpenMP's threads spin between two operations by default; on a
# machine with anything else to do, a small model then runs many times slower (measured: first sample 22 s, not 0.5 s).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"


class _OfferEnvironments:
    """Waits in the import system for Gymnasium, which then finds our environments by their ids (`environment/gym_ids.py`)."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        if fullname != "gymnasium":
            return None
        sys.meta_path.remove(self)
        from espl_bench.environment.gym_ids import replacing_spec

        return replacing_spec(fullname)


def _offer_environments() -> None:
    """Let Gymnasium find our environments, now or when it is imported."""
    if "gymnasium" not in sys.modules:
        sys.meta_path.insert(0, _OfferEnvironments())
        return
    from espl_bench.environment.gym_ids import replace_registry

    replace_registry()


_offer_environments()

if TYPE_CHECKING:  # what follows for type checkers is what `_PUBLIC` loads; a test compares the two
    from espl_bench.accounting.cost_tracker import Budget as Budget
    from espl_bench.build import open_engine as open_engine
    from espl_bench.config.resolve import resolve as resolve
    from espl_bench.config.run_config import RunConfig as RunConfig
    from espl_bench.controls import Control as Control
    from espl_bench.data.dataset_spec import DataSource as DataSource
    from espl_bench.data.dataset_spec import DataSpec as DataSpec
    from espl_bench.engines.engine import AdamParams as AdamParams
    from espl_bench.engines.engine import Chat as Chat
    from espl_bench.engines.engine import Engine as Engine
    from espl_bench.engines.engine import SamplingClient as SamplingClient
    from espl_bench.engines.engine import TrainingClient as TrainingClient
    from espl_bench.engines.engine_spec import EngineSpec as EngineSpec
    from espl_bench.environment.agent_env import AgentEnv as AgentEnv
    from espl_bench.environment.agent_env import AgentTask as AgentTask
    from espl_bench.environment.checker import check_environment as check_environment
    from espl_bench.environment.text_env import EnvironmentSpec as EnvironmentSpec
    from espl_bench.environment.text_env import SingleTurnEnv as SingleTurnEnv
    from espl_bench.environment.text_env import TextEnv as TextEnv
    from espl_bench.environment.text_env import Verdict as Verdict
    from espl_bench.environment.text_env import Wording as Wording
    from espl_bench.errors import EnvError as EnvError
    from espl_bench.errors import EsplError as EsplError
    from espl_bench.errors import UsageError as UsageError
    from espl_bench.evolution.acceptance import Acceptance as Acceptance
    from espl_bench.evolution.acceptance import Judgement as Judgement
    from espl_bench.evolution.acceptance import Trial as Trial
    from espl_bench.evolution.history import History as History
    from espl_bench.evolution.operators.editor import Editor as Editor
    from espl_bench.evolution.operators.operator import Operator as Operator
    from espl_bench.evolution.operators.operator import StepView as StepView
    from espl_bench.evolution.operators.proposal import Birth as Birth
    from espl_bench.evolution.operators.proposal import Child as Child
    from espl_bench.evolution.operators.proposal import EditLimits as EditLimits
    from espl_bench.evolution.optimizer import Harness as Harness
    from espl_bench.evolution.optimizer import Optimizer as Optimizer
    from espl_bench.evolution.population import Population as Population
    from espl_bench.evolution.schedule import Halves as Halves
    from espl_bench.evolution.schedule import Progress as Progress
    from espl_bench.evolution.schedule import Prompts as Prompts
    from espl_bench.evolution.schedule import Schedule as Schedule
    from espl_bench.evolution.selection import Selector as Selector
    from espl_bench.grading.grader import grade as grade
    from espl_bench.grading.rules import Extraction as Extraction
    from espl_bench.grading.rules import Grade as Grade
    from espl_bench.grading.rules import GradingRules as GradingRules
    from espl_bench.leaderboard.board import Board as Board
    from espl_bench.leaderboard.board import build_board as build_board
    from espl_bench.leaderboard.collect import FoundRun as FoundRun
    from espl_bench.leaderboard.collect import collect as collect
    from espl_bench.leaderboard.collect import entries_of as entries_of
    from espl_bench.leaderboard.grouping import GroupEntry as GroupEntry
    from espl_bench.leaderboard.render import to_markdown as to_markdown
    from espl_bench.learning.advantages import Baseline as Baseline
    from espl_bench.learning.loss_spec import LossSpec as LossSpec
    from espl_bench.learning.losses import Loss as Loss
    from espl_bench.method import ESPL as ESPL
    from espl_bench.method import EditorChoice as EditorChoice
    from espl_bench.method import Method as Method
    from espl_bench.method import Shown as Shown
    from espl_bench.method import Teacher as Teacher
    from espl_bench.monitoring.reporter import EvalReport as EvalReport
    from espl_bench.monitoring.reporter import Reporter as Reporter
    from espl_bench.monitoring.reporter import Silent as Silent
    from espl_bench.monitoring.reporter import StepReport as StepReport
    from espl_bench.runner import resume as resume
    from espl_bench.runner import run as run
    from espl_bench.runs.consent import Consent as Consent
    from espl_bench.runs.log_rows import EvaluationRow as EvaluationRow
    from espl_bench.runs.log_rows import MetricsRow as MetricsRow
    from espl_bench.runs.log_rows import read_evaluations as read_evaluations
    from espl_bench.runs.log_rows import read_metrics as read_metrics
    from espl_bench.runs.moved import Moved as Moved
    from espl_bench.runs.rollout_rows import RolloutRow as RolloutRow
    from espl_bench.runs.run_dir import Log as Log
    from espl_bench.runs.run_dir import RunDir as RunDir
    from espl_bench.runs.summary import Summary as Summary
    from espl_bench.runs.summary import read_summary as read_summary
    from espl_bench.stats import PairedDifference as PairedDifference
    from espl_bench.stats import difference_interval as difference_interval
    from espl_bench.stats import iqm as iqm
    from espl_bench.stats import iqm_interval as iqm_interval
    from espl_bench.stats import mean_interval as mean_interval
    from espl_bench.stats import mean_pass_at_k as mean_pass_at_k
    from espl_bench.stats import p_improvement as p_improvement
    from espl_bench.stats import paired_difference as paired_difference
    from espl_bench.stats import pass_at_k as pass_at_k
    from espl_bench.stats import permutation_p as permutation_p
    from espl_bench.stats import rank_ranges as rank_ranges
    from espl_bench.stats import seed_interval as seed_interval
    from espl_bench.sweep.in_process import compare as compare
    from espl_bench.tools.tool_env import ToolEnv as ToolEnv
    from espl_bench.tools.tool_env import ToolLimits as ToolLimits
    from espl_bench.tools.tool_spec import Parameter as Parameter
    from espl_bench.tools.tool_spec import ToolSpec as ToolSpec
    from espl_bench.types import Completion as Completion
    from espl_bench.types import Datum as Datum
    from espl_bench.types import Lineage as Lineage
    from espl_bench.types import Message as Message
    from espl_bench.types import Outcome as Outcome
    from espl_bench.types import Problem as Problem
    from espl_bench.types import Rating as Rating
    from espl_bench.types import Rejected as Rejected
    from espl_bench.types import SampleRequest as SampleRequest
    from espl_bench.types import Split as Split
    from espl_bench.types import StopReason as StopReason
    from espl_bench.types import SystemPrompt as SystemPrompt
    from espl_bench.types import Trajectory as Trajectory
    from espl_bench.types import TrajectoryGroup as TrajectoryGroup
    from espl_bench.utils.stop_signal import InterruptedRunError as InterruptedRunError
    from espl_bench.utils.stop_signal import StopSignal as StopSignal
else:
    _PUBLIC = {
        "accounting.cost_tracker": ("Budget",),
        "build": ("open_engine",),
        "config.resolve": ("resolve",),
        "config.run_config": ("RunConfig",),
        "controls": ("Control",),
        "data.dataset_spec": ("DataSource", "DataSpec"),
        "engines.engine": ("AdamParams", "Chat", "Engine", "SamplingClient", "TrainingClient"),
        "engines.engine_spec": ("EngineSpec",),
        "environment.agent_env": ("AgentEnv", "AgentTask"),
        "environment.checker": ("check_environment",),
        "environment.text_env": ("EnvironmentSpec", "SingleTurnEnv", "TextEnv", "Verdict", "Wording"),
        "errors": ("EnvError", "EsplError", "UsageError"),
        "evolution.acceptance": ("Acceptance", "Judgement", "Trial"),
        "evolution.history": ("History",),
        "evolution.operators.proposal": ("Birth", "Child", "EditLimits"),
        "evolution.operators.operator": ("Operator", "StepView"),
        "evolution.operators.editor": ("Editor",),
        "evolution.optimizer": ("Harness", "Optimizer"),
        "evolution.population": ("Population",),
        "evolution.schedule": ("Halves", "Progress", "Prompts", "Schedule"),
        "evolution.selection": ("Selector",),
        "grading.grader": ("grade",),
        "grading.rules": ("Extraction", "Grade", "GradingRules"),
        "leaderboard.board": ("Board", "build_board"),
        "leaderboard.collect": ("FoundRun", "collect", "entries_of"),
        "leaderboard.grouping": ("GroupEntry",),
        "leaderboard.render": ("to_markdown",),
        "learning.advantages": ("Baseline",),
        "learning.losses": ("Loss",),
        "learning.loss_spec": ("LossSpec",),
        "method": ("ESPL", "EditorChoice", "Method", "Shown", "Teacher"),
        "monitoring.reporter": ("EvalReport", "Reporter", "Silent", "StepReport"),
        "runner": ("resume", "run"),
        "runs.consent": ("Consent",),
        "runs.log_rows": ("EvaluationRow", "MetricsRow", "read_evaluations", "read_metrics"),
        "runs.moved": ("Moved",),
        "runs.rollout_rows": ("RolloutRow",),
        "runs.run_dir": ("Log", "RunDir"),
        "runs.summary": ("Summary", "read_summary"),
        "stats": (
            "PairedDifference",
            "difference_interval",
            "iqm",
            "iqm_interval",
            "mean_interval",
            "mean_pass_at_k",
            "p_improvement",
            "paired_difference",
            "pass_at_k",
            "permutation_p",
            "rank_ranges",
            "seed_interval",
        ),
        "sweep.in_process": ("compare",),
        "tools.tool_env": ("ToolEnv", "ToolLimits"),
        "tools.tool_spec": ("Parameter", "ToolSpec"),
        "types": (
            "Completion",
            "Datum",
            "Lineage",
            "Message",
            "Outcome",
            "Problem",
            "Rating",
            "Rejected",
            "SampleRequest",
            "Split",
            "StopReason",
            "SystemPrompt",
            "Trajectory",
            "TrajectoryGroup",
        ),
        "utils.stop_signal": ("InterruptedRunError", "StopSignal"),
    }
    """Module → the public names that it holds."""
    _HOMES = {name: module for module, names in _PUBLIC.items() for name in names}
    __all__ = sorted(_HOMES)

    def __getattr__(name: str) -> Any:
        """Load a public name. Raises AttributeError for any other."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        """List what is loaded and what can be."""
        return sorted({*globals(), *__all__})
