"""The CPU limit of an answer is measured exactly: the kernel's timer, which counts by ticks, decides nothing about one that ends."""

import signal
import time
from collections.abc import Iterator

import pytest

from espl_bench.grading import grade_worker
from espl_bench.grading.confinement import MemoryLimit
from espl_bench.grading.wire import GraderFinding, GraderQuestion, GraderReply


class NoLimit(MemoryLimit):
    def limit(self, mib: int) -> None:
        pass


@pytest.fixture
def _late_timer() -> Iterator[None]:
    """The timer's signal does not come while the answer is compared, as on a busy machine."""
    before = signal.signal(signal.SIGPROF, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGPROF, before)


def compare_for(cpu_s: float):
    def compare(question: GraderQuestion) -> GraderReply:
        end = time.process_time() + cpu_s
        while time.process_time() < end:
            pass
        return GraderReply(GraderFinding.DIFFERENT)

    return compare


@pytest.mark.usefixtures("_late_timer")
@pytest.mark.parametrize(("used_s", "finding"), [(0.0, GraderFinding.DIFFERENT), (0.3, GraderFinding.CPU)])
def test_an_answer_over_the_limit_has_no_grade_even_if_the_timer_is_late(used_s: float, finding: GraderFinding):
    question = GraderQuestion("1", "2", (), True, True, 6, 15, cpu_s=0.2, memory_mib=1000, describe=False)
    assert grade_worker._answer(question, NoLimit(), compare_for(used_s)).finding is finding
