"""Print what a lab model was taught to write, in fresh worlds: `python -m espl_envs.lab.fresh_text [--course NAME] [--items N] > FILE`.

For a model of 123 words this is general text: solutions, summaries, critiques and edits about worlds that no run is in. Its perplexity
says how much of the model's other skills a training has cost (`espl-bench measure --text FILE`). The examples are never trained on: their
seed is another one.
"""

import argparse
import random
import sys

from espl_bench.seeding import seed_for
from espl_envs.lab.courses import COURSES
from espl_envs.lab.skills import Course


def fresh_text(course: Course, items: int) -> str:
    """Return the targets of that many examples of all skills, one a line."""
    rng = random.Random(seed_for(0, "fresh text", course.name))
    return "".join(f"{course.draw(rng, course.full).target}\n" for _ in range(items))


def main() -> None:
    """Print the text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--course", choices=list(COURSES), default="rulebook")
    parser.add_argument("--items", type=int, default=200)
    options = parser.parse_args()
    sys.stdout.write(fresh_text(COURSES[options.course], options.items))


if __name__ == "__main__":
    main()
