"""One rule of rounding, in Python and on the page."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from espl_bench.utils.formatting import count, duration, fixed, percent, points, signed_points

ASSETS = Path(__file__).parents[2] / "espl_bench" / "report" / "assets"
SHARES = [
    *(number / 800 for number in range(801)),
    0.0005,
    0.0625,
    0.2905,
    0.3625,
    0.43775,
    0.4385,
    0.5205,
    0.99949999,
    0.9995,
    1.0,
    -0.0004,
    -0.0625,
    1e-9,
    1 / 3,
    2 / 3,
]
COUNTS = [0, 0.5, 1.5, 2.5, 7.25, 999.4, 999.5, 1235, 1245, 12_345, 99_950, 1_234_500, 2.5e9]


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0625, "6.2"), (0.1875, "18.8"), (0.4375, "43.8"), (-0.0625, "-6.2"), (-0.0004, "0.0"), (0.99949999, "99.9")],
)
def test_a_half_is_rounded_to_even_and_zero_has_no_sign(share: float, text: str):
    assert (points(share), percent(share)) == (text, f"{text} %")


def test_a_difference_keeps_its_sign():
    assert [signed_points(share) for share in (0.0625, -0.0625, 0.0, -0.0004)] == ["+6.2", "-6.2", "+0.0", "-0.0"]


def test_amounts_are_rounded_alike():
    assert (count(2.5), count(1245), count(99_950), duration(2.5), duration(75)) == ("2", "1.25 k", "100 k", "2 s", "1.2 min")
    assert fixed(float("inf")) == "inf"


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_the_page_rounds_as_the_terminal_does():
    script = (
        f"import {{ decimals, duration, points, signed, tally }} from {json.dumps(str(ASSETS / 'format.js'))};"
        f"const shares = {json.dumps(SHARES)}, counts = {json.dumps(COUNTS)};"
        "const plain = (text) => text.replace('−', '-');"
        "console.log(JSON.stringify({ points: shares.map((x) => points(x)), signed: shares.map((x) => plain(signed(x))),"
        " p: shares.map((x) => plain(decimals(x, 3))), amounts: counts.map(tally), durations: counts.map(duration) }));"
    )
    done = subprocess.run(["node", "--input-type=module", "-e", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {
        "points": [points(share) for share in SHARES],
        "signed": [signed_points(share) for share in SHARES],
        "p": [fixed(share, 3) for share in SHARES],
        "amounts": [count(number) for number in COUNTS],
        "durations": [duration(number) for number in COUNTS],
    }
