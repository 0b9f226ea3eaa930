"""Refuse, in one line, models and engines that do not fit together, and options that would have no effect.

Faults within one section are refused in sections.py, those of any configuration in run_config.py. The checks here depend on which choices
were made explicitly rather than left to a default.
"""

from collections.abc import Collection, Iterator

from espl_bench.config.flat import flat_fields
from espl_bench.config.run_config import RunConfig
from espl_bench.config.sections import EndpointSection
from espl_bench.controls import find_control
from espl_bench.engines.engine_spec import find_engine
from espl_bench.engines.model_source import ModelSource
from espl_bench.errors import OptionError
from espl_bench.evolution.acceptance import ALWAYS_NAME
from espl_bench.evolution.schedule import TOGETHER, Progress, find_schedule
from espl_bench.learning.loss_spec import DEFAULT_LOSS
from espl_bench.method import Method
from espl_bench.registry import CONTROLS, LOSSES, require


def check_sources(config: RunConfig, given: Collection[str]) -> None:
    """Raise OptionError in one line for invalid sources, or for an option that would have no effect.

    Args:
        config: the resolved configuration.
        given: flat names of the fields that were set explicitly.
    """
    policy, editor = config.policy_source, config.editor_source
    if not find_engine(policy.engine).trains and config.method.learns_weights:
        raise OptionError(
            "{name} trains weights, and {engine} {frozen} cannot; use {engine} hf, or a method that freezes weights: {others}",
            {"name": config.method.name, "frozen": policy.engine, "others": ", ".join(_methods_without_training())},
        )
    if policy.is_endpoint and "model" not in given:
        raise OptionError("{engine} openai needs {model}, the name under which the endpoint serves it")
    if config.optimisation.train_quantization is not None and policy.is_endpoint:
        raise OptionError("{train_quantization} is about weights on this machine, and {engine} openai has none; leave it out")
    _check_thinking(config, policy, editor)
    if policy.is_service:
        for name in _decided_by_service():
            if name in given:
                raise OptionError(f"{{{name}}} is decided by the service with {{engine}} tinker; leave it out")
    _check_address(policy, "{engine} openai needs {base_url}")
    if editor is not None:
        if "editor" in given and config.method.editor == "current":
            raise OptionError("{editor} current means the policy's own weights, {editor_model} another model; give one of them")
        if not config.method.breeds:
            raise OptionError("{name} writes no reflections, so {editor_model} has no effect; leave it out", {"name": config.method.name})
        _check_address(editor, "{editor_engine} openai needs {editor_base_url}")
    for name in EndpointSection.model_fields:
        if name in given and not policy.is_remote and not (editor and editor.is_remote):
            raise OptionError(f"{{{name}}} is for an endpoint; add {{engine}} openai or tinker")


def check_names(config: RunConfig) -> None:
    """Raise UsageError, with the nearest known name, for a choice that is not registered."""
    config.method.require_names()
    require(LOSSES, config.optimisation.loss)
    if config.control is not None:
        require(CONTROLS, config.control)


def check_method(method: Method) -> None:
    """Raise OptionError for choices of a method's row that would have no effect, or take away what it learns."""
    name = {"name": method.name}
    if method.optimizer is not None and (method.operators or method.learns_weights):
        raise OptionError("{name} has an optimizer, which learns alone; it cannot have operators or train weights besides", name)
    if method.schedule != TOGETHER and not (method.learns_weights and method.operators):
        values = {**name, "value": method.schedule}
        raise OptionError(
            "{schedule} {value} divides learning between weights and words, but {name} does not learn both; leave it out", values
        )
    if method.acceptance != ALWAYS_NAME and not method.operators:
        values = {**name, "value": method.acceptance}
        raise OptionError("{acceptance} {value} judges child prompts, but {name} writes none; leave it out", values)


def check_learning(config: RunConfig) -> None:
    """Raise OptionError for choices with which a method could not learn anything."""
    if config.method.learns_weights and config.sampling.temperature == 0:
        raise OptionError("weights cannot learn from greedy rollouts; set {temperature} above 0, e.g. 1.0")
    if config.method.teacher is None and _distils(config):
        raise OptionError(
            "{schedule} {value} distils a prompt, and {name} has no teacher; use it with a method that has, such as distill",
            {"value": config.method.schedule, "name": config.method.name},
        )
    if config.method.is_static and find_control(config.control).changes_rewards:
        raise OptionError(
            "{name} does not learn from rewards, so {control} {value} has no effect; leave it out",
            {"name": config.method.name, "value": config.control},
        )


def check_correction(config: RunConfig) -> None:
    """Raise OptionError for a correction that the loss does not take, where weights learn on this machine."""
    chosen = config.optimisation
    if not config.method.learns_weights or config.policy_source.is_service or chosen.correction == "none" or chosen.loss == DEFAULT_LOSS:
        return
    from espl_bench.learning.losses import find_loss

    if not find_loss(chosen.loss).weighs_by_ratio:
        raise OptionError(
            "{correction} {value} truncates plain ratios, and {loss} {name} does not weigh tokens by them; leave {correction} out",
            {"value": chosen.correction, "name": chosen.loss},
        )


def _distils(config: RunConfig) -> bool:
    """Return whether the schedule distils in some iteration."""
    schedule, steps = find_schedule(config.method.schedule), range(config.iterations)
    return any(schedule(Progress(step, config.iterations, 0, 0), config.method.schedule_period).distil for step in steps)


def _check_thinking(config: RunConfig, policy: ModelSource, editor: ModelSource | None) -> None:
    """Raise OptionError for a switch of an endpoint's template, which is not rendered here, and for an editor that there is not."""
    if config.sampling.thinking is not None and policy.is_endpoint:
        raise OptionError("{thinking} is a switch of a chat template, and an endpoint renders its own; leave it out here")
    if config.editor.thinking is None:
        return
    if (editor or policy).is_endpoint:
        raise OptionError("{editor_thinking} is a switch of a chat template, and an endpoint renders its own; leave it out here")
    if not config.method.breeds:
        raise OptionError("{name} writes no reflections, so {editor_thinking} has no effect; leave it out", {"name": config.method.name})


def _check_address(source: ModelSource, needs: str) -> None:
    if source.is_endpoint and source.base_url is None:
        raise OptionError(f"{needs}, e.g. http://127.0.0.1:8000/v1")


def _decided_by_service() -> Iterator[str]:
    return (name for name, choice in flat_fields(RunConfig).items() if choice.flag.decided_by_service)


def _methods_without_training() -> list[str]:
    from espl_bench.method import find_method
    from espl_bench.registry import METHODS, names

    return [name for name in names(METHODS) if not find_method(name).learns_weights]
