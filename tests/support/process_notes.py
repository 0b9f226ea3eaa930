"""Who is told when a process begins and ends, and remembers it."""

from espl_bench.sweep.processes import Job, JobResult


class Notes:
    def __init__(self) -> None:
        self.running = 0
        self.most = 0
        self.names: list[str] = []

    def started(self, job: Job) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        self.names.append(job.name)

    def ended(self, result: JobResult) -> None:
        self.running -= 1
