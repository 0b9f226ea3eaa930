"""The process of check_apart.py: ``python -m espl_bench.environment.check_worker PIPE PULSE``, with a request on standard input."""

import json
import sys
from functools import partial
from typing import Any

from espl_bench.environment.catalogue import find_environment, make_environment
from espl_bench.environment.check_subject import Subject
from espl_bench.environment.checker import RULES, first_finding
from espl_bench.environment.pulse import Pulse
from espl_bench.errors import EsplError, UsageError
from espl_bench.utils.wire import send


def main(pipe: int, pulse: Pulse, request: dict[str, Any]) -> None:
    """Try the rules that are asked for, and send what was found."""
    pulse.beat("making the environment")
    try:
        make = partial(make_environment, find_environment(request["env"]), request["options"])
        subject = Subject(make(), make(), request["samples"], make, pulse.beat, most_items=request["items"])
        subject.env.prepare()
    except EsplError as error:
        send(pipe, {"refused": str(error), "usage": isinstance(error, UsageError)})
        return
    send(pipe, {"facts": _facts(subject)})
    for rule in RULES:
        if rule.name in request["rules"]:
            send(pipe, {"rule": rule.name})
            pulse.beat(rule.name)
            finding = first_finding(rule, subject)
            if finding is not None:
                send(pipe, {"problem": finding.problem, "remedy": finding.remedy, "level": finding.level.value})
    send(pipe, {"done": True})


def _facts(subject: Subject) -> dict[str, Any]:
    env = subject.env
    return {
        "class": f"{type(env).__module__}.{type(env).__qualname__}",
        "items": {split.value: env.size(split) for split in env.splits},
        "turns": env.turns,
        "steps_at_once": env.steps_at_once,
        "episodes_at_once": env.episodes_at_once,
    }


if __name__ == "__main__":
    main(int(sys.argv[1]), Pulse(int(sys.argv[2])), json.load(sys.stdin))
