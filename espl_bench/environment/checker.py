"""Check the contract of an environment in one call, for the tests of its author: `check_environment(MyEnv(), twin=MyEnv())`.

Beyond Gymnasium's API a benchmark needs items that are the same for every method and on every machine, splits that do not
leak, and a grader that accepts the truth and nothing less. Each rule yields its findings; `espl-bench env check` prints the same ones.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from espl_bench.environment.check_subject import Broken, Finding, Level, Rule, Subject, cannot_be_pickled
from espl_bench.environment.conduct_rules import CONDUCT_RULES
from espl_bench.environment.grading_rules import GRADING_RULES
from espl_bench.environment.item_rules import ITEM_RULES
from espl_bench.environment.text_env import TextEnv
from espl_bench.errors import EnvError, first_line

RULES: Final[tuple[Rule, ...]] = (*ITEM_RULES, *GRADING_RULES, *CONDUCT_RULES)
"""In the order they are tried; each is tried whatever the others find."""
SAMPLES: Final = 16
"""Items of each split on which the grader is tried, unless another number is asked for."""


def check_environment(env: TextEnv, *, twin: TextEnv | None = None, samples: int = SAMPLES) -> None:
    """Check the whole contract; return only if it holds.

    Args:
        env: an instance, not wrapped.
        twin: another instance made with the same options, to find items that depend on the instance. Without one, a
            pickled copy is used, which cannot show what the constructor drew at random.
        samples: items per split on which the grader is tried.

    Raises:
        EnvError: one line per broken rule.
    """
    if (why := cannot_be_pickled(env)) is not None:  # every copy that the rules need would fail
        raise EnvError(f"{type(env).__name__}: cannot be pickled ({why}); keep open files and lambdas out of it")
    subject = Subject(env, env, samples)
    subject.twin = subject.copy() if twin is None else twin
    broken = [finding for finding in examine(subject) if finding.level is Level.FAULT]
    if broken:
        raise EnvError("\n".join(f"{type(env).__name__}: {finding}" for finding in broken))


def examine(subject: Subject, rules: Iterable[Rule] = RULES) -> Iterator[Finding]:
    """Yield at most one finding of each rule."""
    for rule in rules:
        finding = first_finding(rule, subject)
        if finding is not None:
            yield finding


def first_finding(rule: Rule, subject: Subject) -> Finding | None:
    """Return the first finding of a rule, or the fault that stopped it; None if the rule is kept."""
    subject.doing = ""
    try:
        broken = next(rule.look(subject), None)
    except EnvError as fault:
        broken = Broken(str(fault), "mend what it names")
    except Exception as error:  # noqa: BLE001  # the environment's code runs here, and may raise anything
        at = subject.doing or "a call"
        broken = Broken(
            f"{at} raises {type(error).__name__}: {first_line(error)}",
            "catch it; EnvError is for a back end that failed, not for what a model wrote",
        )
    finally:
        subject.close()
    return None if broken is None else Finding.of(rule.name, broken)
