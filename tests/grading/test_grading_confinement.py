"""What a grading process may not do, tried in one."""

import subprocess
import sys
from pathlib import Path

import pytest
from patience import PATIENCE_S

from espl_bench.grading.confinement import FORBIDDEN_EXIT

PREPARE = "import os, sys, socket, subprocess, ctypes, shutil, tempfile\nfrom espl_bench.grading.confinement import confine\nconfine()\n"
FORBIDDEN = {
    "write": "open({mark!r}, 'w')",
    "append": "open({mark!r}, 'a')",
    "os.open": "os.open({mark!r}, os.O_CREAT | os.O_WRONLY)",
    "read something": "open('/etc/passwd')",
    "read by descriptor": "open(0)",
    "os.system": "os.system('touch ' + {mark!r})",
    "os.popen": "os.popen('touch ' + {mark!r})",
    "subprocess": "subprocess.run(['touch', {mark!r}])",
    "exec": "os.execv('/bin/true', ['true'])",
    "fork": "os.fork()",
    "socket": "socket.socket()",
    "connect": "socket.create_connection(('127.0.0.1', 9))",
    "ctypes": "ctypes.CDLL(None)",
    "mkdir": "os.mkdir({mark!r})",
    "symlink": "os.symlink('/', {mark!r})",
    "temporary file": "tempfile.NamedTemporaryFile()",
    "remove": "os.remove(__import__('espl_bench').__file__)",
    "kill": "os.kill(os.getppid(), 0)",
    "caught": "try:\n    open({mark!r}, 'w')\nexcept BaseException:\n    pass",
    "evaluated": "eval(\"__import__('os').system('touch {mark}')\")",
}


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", PREPARE + code], capture_output=True, text=True, check=False, timeout=PATIENCE_S)


@pytest.mark.parametrize("code", FORBIDDEN.values(), ids=list(FORBIDDEN))
def test_the_process_ends_where_it_tries_something_forbidden(code: str, tmp_path: Path):
    mark = tmp_path / "mark"
    assert run(code.format(mark=str(mark))).returncode == FORBIDDEN_EXIT
    assert not mark.exists()


def test_it_may_still_import_and_compute():
    done = run("import decimal, sympy.solvers\nprint(sympy.factor(sympy.Integer(12)))")
    assert (done.returncode, done.stdout) == (0, "12\n"), done.stderr


def test_a_grading_process_loads_nothing_heavy_besides_sympy():
    script = (
        "import sys\nfrom espl_bench.grading import grade_worker\ngrade_worker._load()\nprint(*filter(sys.modules.get, list(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    loaded = set(done.stdout.split())
    assert "math_verify" in loaded
    assert not loaded & {"torch", "transformers", "numpy", "gymnasium", "pydantic", "multiprocessing"}
